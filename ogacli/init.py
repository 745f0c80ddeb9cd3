"""``oga init``: a commented starter config for the user's kind of data.

In: a path to the data, or the name of a kind. Out: the text of one of the example configs, with the path and,
where it is plain, the label column filled in.
"""

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ogacli.errors import ConfigError, DataError

_BY_SUFFIX = {
    ".csv": "table",
    ".tsv": "table",
    ".jsonl": "table",
    ".parquet": "table",
    ".npz": "arrays",
    ".npy": "arrays",
    ".zip": "image_folder",
}
_STUDIES = {"cifar10n", "compare"}
"""Example configs that measure something and are no start for data of one's own."""
_LABELS = ("label", "labels", "target", "class", "y", "category")


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter config."""

    kind: str
    text: str
    label: str | None
    """The label column that was found, for a table."""


def starter(data: str | Path | None = None, kind: str | None = None) -> Starter:
    """The starter config for some data.

    Args:
        data: Where the data lies: a table, a folder or archive of pictures, an array file.
        kind: One of ``kinds()``; told by ``data`` where left out.

    Raises:
        ConfigError: There is no such kind, or it cannot be told.
    """
    known = kinds()
    chosen = kind or (_kind_of(Path(data)) if data is not None else "digits")
    if chosen not in known:
        raise ConfigError("no such kind of data", found=repr(chosen), expected=f"one of {', '.join(known)}")
    text = (_folder() / f"{chosen}.yaml").read_text(encoding="utf-8")
    label = None
    if data is not None:
        text = re.sub(r"^(  (?:path|root|y): +)\S+", rf"\g<1>{_quoted(str(data))}", text, count=1, flags=re.M)
        if chosen == "table":
            label = _label_column(Path(data))
    if label is not None:
        text = re.sub(r"^(  label: +)\S+", rf"\g<1>{_quoted(label)}", text, count=1, flags=re.M)
    return Starter(chosen, text, label)


def kinds() -> list[str]:
    """The kinds of data that there is a starter config for."""
    return sorted(
        file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")
    )


def _folder() -> Path:
    """The example configs: inside the package once it is installed, beside it in a checkout."""
    packaged = Path(str(resources.files("ogacli"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parent.parent / "configs"


def _kind_of(data: Path) -> str:
    if data.is_dir():
        return "image_folder"
    found = _BY_SUFFIX.get(data.suffix.lower())
    if found is None:
        raise ConfigError(
            "the kind of data cannot be told from the name",
            place=str(data),
            expected=f"a folder, or a file that ends in {', '.join(_BY_SUFFIX)}",
            hint=f"say it by --kind {'|'.join(kinds())}",
        )
    return found


def _label_column(table: Path) -> str | None:
    """The column that is plainly the label; None where none is, or the table cannot be read."""
    from ogacli.tables import read_table

    try:
        names = read_table(table).column_names
    except DataError:
        return None
    return next((name for name in names if name.lower() in _LABELS), None)


def _quoted(text: str) -> str:
    """As a YAML scalar, and as the replacement of a regular expression."""
    plain = re.fullmatch(r"[\w./-]+", text) is not None
    return (text if plain else "'" + text.replace("'", "''") + "'").replace("\\", "\\\\")
