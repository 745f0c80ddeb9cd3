"""Datasets: ids, labels, class names, and a reader of the inputs.

In: the options of one of the ``sources``, or an object in memory. Out: ``Samples``, and ``Batch``es of them.
"""

from ogacli.data.reading import Batch, Preview, Reader, Unreadable
from ogacli.data.samples import Samples

__all__ = ["Batch", "Preview", "Reader", "Samples", "Unreadable"]
