"""Find what in a Dockerfile defeats its caches, and write the lines to use instead."""
