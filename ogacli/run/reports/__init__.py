"""``oga report``: writes a run as one document. One file a format.

In: a ``Run``. Out: the text of a report, whose size does not grow with the number of samples. A new format is
a new file here with one function under ``@formats.register``, named as its module.
"""

from pathlib import Path
from typing import Protocol

from ogacli.base.atomic import new_file
from ogacli.base.options import path_given
from ogacli.base.registry import Registry
from ogacli.run.directory import Run


class Render(Protocol):
    """Writes a run as one document; the same run gives the same text."""

    __module__: str

    def __call__(self, run: Run) -> str:
        """The text of the report."""
        ...


formats: Registry[Render] = Registry(__name__, "report format")


def report(run: Run | str | Path, format: str = "html") -> str:
    """The report of a run as text.

    Args:
        run: The run, or its folder.
        format: The name of one of ``formats``.

    Raises:
        ConfigError: There is no such format.
        RunError: The run directory cannot be read.
    """
    return formats.get(format)(Run.open(run))


def write_report(
    run: Run | str | Path,
    format: str = "html",
    destination: str | Path | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the report of a run to a file.

    Args:
        run: The run, or its folder.
        format: The name of one of ``formats``.
        destination: The file; ``report.<format>`` in the run directory where left out.
        overwrite: Replace a file that exists.

    Raises:
        ConfigError: There is no such format.
        RunError: The run directory cannot be read, or the file exists and ``overwrite`` is off.
    """
    opened = Run.open(run)
    text = report(opened, format)
    path = opened.path / f"report.{format}" if destination is None else path_given(destination, "destination")
    with new_file(path, overwrite=overwrite) as file:
        file.write(text.encode())
    return path
