"""Scores -> flags: budget, protection, estimate, reasons, diagnosis, evaluation."""
