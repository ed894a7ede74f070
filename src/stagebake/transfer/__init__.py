"""Foretell which bytes a build pulls, unpacks and pushes, and which step needs them."""
