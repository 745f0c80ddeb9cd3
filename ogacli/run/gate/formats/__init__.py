"""A gate as a document for other programs: one file a format.

In: a ``Gate``. Out: text. A new format is a new file here with one function under ``@formats.register``,
named as its module.
"""

from typing import Protocol

from ogacli.base.registry import Registry
from ogacli.run.gate.outcome import Gate


class Render(Protocol):
    """Writes a gate as one document."""

    __module__: str

    def __call__(self, gate: Gate) -> str:
        """The text of the document."""
        ...


formats: Registry[Render] = Registry(__name__, "gate format")
