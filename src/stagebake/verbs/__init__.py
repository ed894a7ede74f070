"""One file for each verb: its flags, and what it does. `inputs` and `flags` are what they share."""
