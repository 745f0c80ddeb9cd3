"""Samples: ids, labels, class names, and a reader of their inputs.

In: a dataset, by one of the ``sources``. Out: ``Samples``, and ``Batch``es of them by position.
"""

from ogacli.data.samples import Batch, Preview, Reader, Samples, Unreadable

__all__ = ["Batch", "Preview", "Reader", "Samples", "Unreadable"]
