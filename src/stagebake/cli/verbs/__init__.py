"""Run one verb each."""
