"""Take over what an existing build of the image has: settings, workflow parts, and a decision for each line."""
