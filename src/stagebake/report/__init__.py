"""Show a result to people: tables, live progress, GitHub's step summary."""
