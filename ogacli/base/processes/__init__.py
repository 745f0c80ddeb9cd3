"""Processes: those that share the work of a command, and those that may write to the same output."""
