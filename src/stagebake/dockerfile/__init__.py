"""Read a Dockerfile into stages, variables and copied files. Pure."""
