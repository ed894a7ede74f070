"""Parse the flags of each verb and call the package that does the work: one module per verb."""
