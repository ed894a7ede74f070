"""What does the repository say? Its settings, git, and the tags of its image."""
