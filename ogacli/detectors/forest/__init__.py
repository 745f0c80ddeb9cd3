"""Isolation forests: fitted to a stream of batches, grown, scored, and their split-half stability."""
