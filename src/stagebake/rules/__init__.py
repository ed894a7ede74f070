"""The rules of doctor: what in a Dockerfile defeats its caches. Pure."""
