"""Find what in a Dockerfile defeats its caches, and write the lines to use instead. Pure but for `build_checks`."""
