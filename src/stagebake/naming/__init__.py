"""What is the image called? Its name, its tags and its labels."""
