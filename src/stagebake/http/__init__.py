"""How is a server reached? Route, login, retries."""
