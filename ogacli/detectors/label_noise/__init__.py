"""A model of how labels came about."""
