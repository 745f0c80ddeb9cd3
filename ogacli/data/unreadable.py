"""The exception for a sample that cannot be read."""


class Unreadable(Exception):
    """Raised by a reader for a sample that cannot be read; the sample is quarantined with this reason."""
