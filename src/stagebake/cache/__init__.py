"""Read, merge and prune BuildKit caches. Pure: stores are passed in."""
