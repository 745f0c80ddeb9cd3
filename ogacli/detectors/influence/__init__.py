"""Inverse curvature of the loss, from factors."""
