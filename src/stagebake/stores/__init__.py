"""Read and write caches where they are stored: registry, folder, GitHub's cache service."""
