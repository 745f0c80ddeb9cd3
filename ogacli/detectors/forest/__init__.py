"""Isolation forests: grown, scored, and how stable they are."""
