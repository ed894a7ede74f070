"""Know what the instructions of a Dockerfile do, as far as an edit needs to be sure of it."""
