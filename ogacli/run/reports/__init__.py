"""Run directory -> a document for a person or a program: one file a format.

In: a ``Run``. Out: the text of a report. A new format is a new file here with one function under
``@formats.register``, named as its module. The size of a report does not grow with the number of samples.
"""

from pathlib import Path
from typing import Protocol

from ogacli.base.atomic import new_file
from ogacli.base.registry import Registry
from ogacli.run.directory import Run

DEFAULT = "html"
"""The format of ``oga report`` where none is named."""


class Render(Protocol):
    """Writes a run as one document; the same run gives the same text."""

    __module__: str

    def __call__(self, run: Run) -> str:
        """The text of the report."""
        ...


formats: Registry[Render] = Registry("ogacli.run.reports", "report format")


def render(run: Run, format: str = DEFAULT) -> str:
    """The report of a run as text.

    Raises:
        ConfigError: There is no such format.
        RunError: The run directory cannot be read.
    """
    return formats.get(format)(run)


def write_report(
    run: Run, format: str = DEFAULT, destination: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Write the report of a run to a file; ``report.<format>`` in the run directory by default.

    Raises:
        ConfigError: There is no such format.
        RunError: The run directory cannot be read, or the file exists and ``overwrite`` is off.
    """
    text = render(run, format)
    path = run.path / f"report.{format}" if destination is None else destination
    with new_file(path, overwrite=overwrite) as file:
        file.write(text.encode())
    return path
