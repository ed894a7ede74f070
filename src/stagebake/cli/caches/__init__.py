"""The actions of the verb `cache`, one module each."""
