"""Per-stage Docker build caches that work."""
