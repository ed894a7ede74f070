"""Say what an image's repository holds, what is broken in it, and what may be deleted. Pure: stores are passed in."""
