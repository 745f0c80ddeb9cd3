"""Datasets: ids, labels, class names, and a reader of the inputs.

In: the options of one of the ``sources``, or an object in memory. Out: ``Samples``, and ``Batch``es of them.
Each name is imported when it is first used, so that the files of a dataset can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ogacli.data.reading import Batch as Batch
    from ogacli.data.reading import Preview as Preview
    from ogacli.data.reading import Reader as Reader
    from ogacli.data.samples import Samples as Samples
    from ogacli.data.unreadable import Unreadable as Unreadable

_HOMES = {
    "Batch": "reading",
    "Preview": "reading",
    "Reader": "reading",
    "Samples": "samples",
    "Unreadable": "unreadable",
}
"""The module of each name."""

__all__ = ["Batch", "Preview", "Reader", "Samples", "Unreadable"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ogacli.data' has no attribute {name!r}")
    return getattr(import_module(f"ogacli.data.{_HOMES[name]}"), name)
