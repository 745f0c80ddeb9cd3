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
    ".tar": "webdataset",
    ".arrow": "huggingface",
}
_SAVED = {"dataset_dict.json", "state.json"}
"""Files by which a folder of the library datasets is known."""
_TEXTS = ("text", "sentence", "review", "content", "comment")
_LABELS = ("label", "labels", "target", "class", "y", "category")


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter config."""

    kind: str
    text: str
    label: str | None
    """The label column that was found, for a table or texts."""


def starter(data: str | Path | None = None, kind: str | None = None) -> Starter:
    """The starter config for some data.

    Args:
        data: Where the data lies: a table, a folder or archive of pictures, tar shards, an array file.
        kind: One of ``kinds()``; told by ``data`` where left out.

    Raises:
        ConfigError: There is no such kind, or it cannot be told.
    """
    known = kinds()
    chosen = kind or (_kind_of(Path(data)) if data is not None else "digits")
    if chosen not in known:
        raise ConfigError("no such kind of data", found=repr(chosen), expected=f"one of {', '.join(known)}")
    text = (_folder() / f"{chosen}.yaml").read_text(encoding="utf-8")
    if data is None:
        return Starter(chosen, text, None)
    text = _filled(text, "(?:path|root|y)", _place(Path(data), chosen))
    if chosen not in ("table", "text"):
        return Starter(chosen, text, None)
    columns = _columns(Path(data))
    label = _first(columns, _LABELS)
    if label is not None:
        text = _filled(text, "label", label)
    if chosen == "text" and (found := _first(columns, _TEXTS)) is not None:
        text = _filled(text, "text", found)
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
        if any((data / name).is_file() for name in _SAVED):
            return "huggingface"
        return "webdataset" if any(data.glob("*.tar")) else "image_folder"
    found = _BY_SUFFIX.get(data.suffix.lower())
    if found is None:
        raise ConfigError(
            "the kind of data cannot be told from the name",
            place=str(data),
            expected=f"a folder, or a file that ends in {', '.join(_BY_SUFFIX)}",
            hint=f"say it by --kind {'|'.join(kinds())}",
        )
    if found == "table" and _first(_columns(data), _TEXTS) is not None:
        return "text"
    return found


def _place(data: Path, kind: str) -> str:
    return f"{data}/*.tar" if kind == "webdataset" and data.is_dir() else str(data)


def _columns(table: Path) -> list[str]:
    """The columns of a table; none where it cannot be read."""
    from ogacli.tables import read_table

    try:
        return list(read_table(table).column_names)
    except DataError:
        return []


def _first(columns: list[str], names: tuple[str, ...]) -> str | None:
    """The column that plainly is what these names are for."""
    return next((column for column in columns if column.lower() in names), None)


def _filled(text: str, key: str, value: str) -> str:
    """The first such key of the ``data`` section with another value."""
    return re.sub(rf"^(  {key}: +)\S+", rf"\g<1>{_quoted(value)}", text, count=1, flags=re.M)


def _quoted(text: str) -> str:
    """As a YAML scalar, and as the replacement of a regular expression."""
    plain = re.fullmatch(r"[\w./-]+", text) is not None
    return (text if plain else "'" + text.replace("'", "''") + "'").replace("\\", "\\\\")
