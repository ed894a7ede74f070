"""Read what the repository and its CI say: settings, git, GitHub's run, tags of the image."""
