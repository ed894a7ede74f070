"""Rules of `doctor`: one module for each group of rules."""
