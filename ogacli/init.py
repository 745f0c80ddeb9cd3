"""``oga init``: a commented starter config for the user's kind of data.

In: a path to the data, or the name of a kind. Out: the text of one of the example configs, with the path and
those of the data's columns filled in whose names say what they are for.
"""

import itertools
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ogacli.errors import ConfigError, OgaError

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

_LABELS = ("label", "labels", "target", "class", "y", "category")
_TEXTS = ("text", "sentence", "review", "content", "comment")
_PAIRS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
_PROMPTS = ("prompt", "instruction", "question")
_COMPLETIONS = ("completion", "answer", "response", "output")
_COLUMNS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "table": {"label": _LABELS},
    "text": {"text": _TEXTS, "label": _LABELS},
    "causal_lm": {"prompt": _PROMPTS, "completion": _COMPLETIONS, "label": ("kind", "task", *_LABELS)},
    "huggingface": {"text": _TEXTS, "label": _LABELS},
    "arrays": {"x": ("x", "x_train", "images", "data", "inputs", "features"), "y": ("y_train", *_LABELS)},
    "webdataset": {"image": ("jpg", "jpeg", "png", "webp", "bmp"), "label": ("cls", *_LABELS)},
}
"""For each kind of data the keys that name a column, and what such columns are usually called."""
_SHARD_SAMPLES = 20
"""Samples of a shard that are looked into."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter config."""

    kind: str
    text: str
    columns: dict[str, str]
    """For each key that names a column the one that was found in the data."""
    open: tuple[str, ...]
    """The keys for which none was found, though the data has columns; the user must fill them in."""
    known: tuple[str, ...]
    """The columns of the data."""


def starter(data: str | Path | None = None, kind: str | None = None) -> Starter:
    """The starter config for some data.

    Args:
        data: Where the data lies: a table, a folder or archive of pictures, tar shards, an array file.
        kind: One of ``kinds()``; told by ``data`` where left out.

    Raises:
        ConfigError: There is no such kind, or it cannot be told.
    """
    known = kinds()
    if kind is not None and kind not in known:
        raise ConfigError("no such kind of data", found=repr(kind), expected=f"one of {', '.join(known)}")
    if data is None:
        kind = kind or "digits"
        return Starter(kind, _example(kind), {}, (), ())
    path = Path(data)
    chosen = kind or _by_name(path)
    columns = _columns_of(path, chosen)
    if kind is None and chosen == "table":
        chosen = _by_columns(columns)
    text = _filled(_example(chosen), "(?:path|root|y)", _scalar(_place(path, chosen)), count=1)
    wanted = _COLUMNS.get(chosen, {}) if columns else {}
    found: dict[str, str] = {}
    for key, names in wanted.items():
        own = (_pair(columns) if key == "text" else []) or _first(columns, names)
        if own:
            found[key] = " + ".join(own)
            values = [_scalar(name) for name in own]
            text = _filled(text, key, values[0] if len(values) == 1 else f"[{', '.join(values)}]")
    return Starter(chosen, text, found, tuple(key for key in wanted if key not in found), tuple(columns))


def kinds() -> list[str]:
    """The kinds of data that there is a starter config for."""
    return sorted(
        file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")
    )


def _folder() -> Path:
    """The example configs: inside the package once it is installed, beside it in a checkout."""
    packaged = Path(str(resources.files("ogacli"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parent.parent / "configs"


def _example(kind: str) -> str:
    return (_folder() / f"{kind}.yaml").read_text(encoding="utf-8")


# --- what the data is ---------------------------------------------------------------------------------


def _by_name(data: Path) -> str:
    """The kind of data that lies under such a name."""
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
    return found


def _by_columns(columns: Sequence[str]) -> str:
    """What a table with such columns holds."""
    if _first(columns, _PROMPTS) and _first(columns, _COMPLETIONS):
        return "causal_lm"
    return "text" if _first(columns, _TEXTS) or _pair(columns) else "table"


def _columns_of(data: Path, kind: str) -> list[str]:
    """What can be named of the data: columns, arrays of a file, endings in a shard; none where not known."""
    try:
        match kind:
            case "table" | "text" | "causal_lm":
                from ogacli.tables import read_table

                return list(read_table(data).column_names)
            case "arrays" if data.suffix == ".npz":
                with zipfile.ZipFile(data) as archive:
                    return [name.removesuffix(".npy") for name in archive.namelist()]
            case "webdataset":
                return _endings(_place(data, kind))
            case "huggingface":
                return _saved_features(data)
    except (OgaError, OSError, ValueError, zipfile.BadZipFile):
        pass  # `oga scan` tells what is the matter with the data
    return []


def _endings(pattern: str) -> list[str]:
    from ogacli.data.shards import read_shards, shard_paths

    samples = itertools.islice(read_shards(shard_paths(pattern)[:1], lambda _: False), _SHARD_SAMPLES)
    return list(dict.fromkeys(ending for sample in samples for ending in sample.spans))


def _saved_features(folder: Path) -> list[str]:
    """The columns of a dataset that the library datasets saved: of its first split, where it has some."""
    first = next(iter(sorted(folder.rglob("dataset_info.json"))), None)
    return [] if first is None else list(json.loads(first.read_text(encoding="utf-8"))["features"])


def _first(columns: Sequence[str], names: Iterable[str]) -> list[str]:
    """The column that has the first of these names that there is; none where there is none."""
    return next((own for name in names if (own := _all(columns, [name]))), [])


def _pair(columns: Sequence[str]) -> list[str]:
    """The two columns of pairs of texts; none where there are none."""
    return next((own for pair in _PAIRS if (own := _all(columns, pair))), [])


def _all(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of all these names, in whatever case; none where one is missing."""
    lower = {column.lower(): column for column in columns}
    return [lower[name] for name in names] if lower.keys() >= set(names) else []


# --- its place in the example -------------------------------------------------------------------------


def _place(data: Path, kind: str) -> str:
    return f"{data}/*.tar" if kind == "webdataset" and data.is_dir() else str(data)


def _filled(text: str, key: str, value: str, count: int = 0) -> str:
    """The text with another value of such a key in its sections; ``count`` times at most, unless 0."""
    return re.sub(rf"^(  {key}: +)\S+", lambda match: match[1] + value, text, count=count, flags=re.M)


def _scalar(text: str) -> str:
    """As a YAML scalar."""
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "''") + "'"
