"""Inverse curvature of the loss, block by block, and quadratic forms of it."""
