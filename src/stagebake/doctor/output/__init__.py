"""Choose the findings that are shown, and show them to GitHub and to code scanners."""
