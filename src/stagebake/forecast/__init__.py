"""Compute what past pushes would have cost with each caching strategy."""
