"""``oga report --figures``: the results of a run as figures, PNG and SVG. One file a figure.

In: a ``Run``. Out: two files a figure. A new figure is a new file here with one function under
``@figures.register``, named as its module. Matplotlib is imported when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ogacli.base.atomic import new_file
from ogacli.base.options import path_given
from ogacli.base.registry import Registry
from ogacli.errors import ConfigError
from ogacli.run.directory import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR, MARK, LINES = "#8494a4", "#c2410c", ("#c2410c", "#1d5fbf", "#5c7a29", "#7a4d9e", "#8a6d00", "#4a4f55")
"""The colours of what is not flagged, of what is, and of several lines."""
_FORMATS = ("png", "svg")
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names of the data may contain dollars
    "svg.fonttype": "none",
    "svg.hashsalt": "oga",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "figure.dpi": 150,
}


class Draw(Protocol):
    """Draws one figure of a run."""

    __module__: str

    def __call__(self, run: Run, figure: Figure) -> str | None:
        """Draw on an empty figure.

        Returns:
            Why there is nothing to draw; None where it was drawn.
        """
        ...


figures: Registry[Draw] = Registry(__name__, "figure")


@dataclass(frozen=True, slots=True)
class Figures:
    """The written files, and the figures that the run has no data for."""

    files: tuple[Path, ...]
    left_out: Mapping[str, str]
    """From the name of a figure to the reason."""


def write_figures(run: Run | str | Path, folder: str | Path, *, overwrite: bool = False) -> Figures:
    """Draw all figures that a run has data for.

    Args:
        run: The run, or its folder.
        folder: Where to write; created if it does not exist.
        overwrite: Replace figures that exist.

    Raises:
        ConfigError: Matplotlib is not installed.
        RunError: The run cannot be read, or a file exists and ``overwrite`` is off.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ConfigError(
            "matplotlib is not installed", place="--figures", hint="pip install 'ogacli[figures]'"
        ) from None
    opened, place = Run.open(run), path_given(folder, "folder")
    files: list[Path] = []
    left_out: dict[str, str] = {}
    with matplotlib.rc_context(_STYLE):
        for name in figures.names():
            figure = Figure(figsize=(6.4, 4.2), layout="constrained")
            reason = figures.get(name)(opened, figure)
            if reason is not None:
                left_out[name] = reason
                continue
            for format in _FORMATS:
                files.append(place / f"{name}.{format}")
                with new_file(files[-1], overwrite=overwrite) as file:
                    unnamed = {"Date": None} if format == "svg" else {"Software": None}
                    figure.savefig(file, format=format, metadata=unnamed)
    return Figures(tuple(files), left_out)
