"""Write better lines into a Dockerfile: edits that make the same image, and edits that say what differs."""
