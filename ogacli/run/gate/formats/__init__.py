"""A gate as a document for other programs: one file a format.

In: a ``Gate``. Out: text. A new format is a new file here with one function under ``@formats.register``,
named as its module. ``MARK`` stands in the first lines of its documents, so that they are known again.
"""

from pathlib import Path
from typing import Protocol

from ogacli.base.atomic import new_file
from ogacli.base.registry import Registry
from ogacli.base.special_files import refuse_special
from ogacli.errors import RunError
from ogacli.run.gate.outcome import Gate

MARK = "oga gate"
"""A file that has this text near its beginning was written here, and may be replaced."""
_BEGINNING = 200


class Render(Protocol):
    """Writes a gate as one document."""

    __module__: str

    def __call__(self, gate: Gate) -> str:
        """The text of the document; ``MARK`` is in its first lines."""
        ...


formats: Registry[Render] = Registry(__name__, "gate format")


def write(gate: Gate, format: str, file: Path, *, overwrite: bool = False) -> None:
    """Write a gate as a document; one that was written here before is replaced.

    Args:
        gate: The gate.
        format: The name of a format.
        file: Where.
        overwrite: Replace any other file too.

    Raises:
        ConfigError: There is no such format.
        RunError: Another file stands there, or it cannot be written.
    """
    text = formats.get(format)(gate)
    with new_file(file, overwrite=overwrite or _written_here(file)) as opened:
        opened.write(text.encode())


def _written_here(file: Path) -> bool:
    if not file.is_file() or file.is_symlink():
        return False
    refuse_special(file, RunError)
    with file.open("rb") as opened:
        return MARK.encode() in opened.read(_BEGINNING)
