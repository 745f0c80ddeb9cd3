"""The run directory and all that reads it."""
