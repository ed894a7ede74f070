"""Compute what each stage depends on, from a folder or from a commit."""
