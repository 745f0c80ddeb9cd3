"""``oga init``: a commented starter config for the user's kind of data.

In: a path to the data, or the name of a kind. Out: the text of one of the example configs, with the path and
those of the data's columns filled in whose names say what they are for.
"""

import itertools
import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ogacli.errors import ConfigError, OgaError

_BY_SUFFIX = {
    ".csv": "table",
    ".tsv": "table",
    ".jsonl": "table",
    ".ndjson": "table",
    ".parquet": "table",
    ".npz": "arrays",
    ".npy": "arrays",
    ".zip": "image_folder",
    ".tar": "webdataset",
    ".arrow": "huggingface",
}
_SAVED = {"dataset_dict.json", "state.json"}
"""Files by which a folder of the library datasets is known."""

_LABELS = ("label", "labels", "target", "targets", "class", "y", "category")
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
_OF_TEXTS = {"text": _TEXTS, "label": _LABELS}
_COLUMNS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "table": {"label": _LABELS},
    "sklearn": {"label": _LABELS},
    "text": _OF_TEXTS,
    "lora": _OF_TEXTS,
    "huggingface": _OF_TEXTS,
    "tagger": {"words": ("words", "tokens"), "tags": ("tags", "ner_tags", "pos_tags", *_LABELS)},
    "causal_lm": {"prompt": _PROMPTS, "completion": _COMPLETIONS, "label": ("kind", "task", *_LABELS)},
    "arrays": {"x": ("x", "x_train", "images", "data", "inputs"), "y": ("y", "y_train", *_LABELS)},
    "webdataset": {"image": ("jpg", "jpeg", "png", "webp", "bmp"), "label": ("cls", *_LABELS)},
}
"""For each kind of data the keys that name a column, and what such columns are usually called."""
_OPTIONAL = {("causal_lm", "label")}
"""Keys that the config of a kind does without."""
_SHARD_SAMPLES = 20
"""Samples of a shard that are looked into."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter config."""

    kind: str
    text: str
    columns: dict[str, str | list[str]]
    """For each key that names a column the one that was found in the data; several for pairs of texts."""
    open: tuple[str, ...]
    """The keys for which none was found; the user must fill them in."""
    known: tuple[str, ...]
    """The columns of the data; none where it could not be looked into."""

    @property
    def trains(self) -> bool:
        """Whether the model is to be trained before a scan."""
        return "\ntrain:" in self.text


def starter(data: str | Path | None = None, kind: str | None = None, folder: Path | None = None) -> Starter:
    """The starter config for some data.

    Args:
        data: Where the data lies: a table, a folder or archive of pictures, tar shards, an array file.
        kind: One of ``kinds()``; told by ``data`` where left out.
        folder: Where the config will lie, which relative paths are relative to; here where left out.

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
    place = _place(path, chosen)
    if folder is not None and not path.is_absolute():
        place = os.path.relpath(place, folder)
    text = _filled(_example(chosen), "(?:path|root|y)", _scalar(place), count=1)
    if chosen == "huggingface":
        text = _with_split(text, path)
    found: dict[str, str | list[str]] = {}
    lost = []
    for key, names in _COLUMNS.get(chosen, {}).items():
        own = (_pair(columns) if key == "text" else []) or _first(columns, names)
        if own:
            found[key] = own if len(own) > 1 else own[0]
            values = [_scalar(name) for name in own]
            text = _filled(text, key, values[0] if len(values) == 1 else f"[{', '.join(values)}]")
        elif (chosen, key) in _OPTIONAL:
            text = _without(text, key)
        else:
            lost.append(key)
    return Starter(chosen, text, found, tuple(lost), tuple(columns))


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
    if _first(columns, _PROMPTS) and _first(columns, _COMPLETIONS) and not _first(columns, _LABELS):
        return "causal_lm"
    return "text" if _first(columns, _TEXTS) or _pair(columns) else "table"


def _columns_of(data: Path, kind: str) -> list[str]:
    """What can be named of the data: columns, arrays of a file, endings in a shard; none where not known."""
    try:
        if kind == "webdataset":
            return _endings(_place(data, kind))
        if kind == "arrays":
            with zipfile.ZipFile(data) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        if kind == "huggingface" and data.is_dir():
            return _saved_features(data)
        if kind in _COLUMNS:
            from ogacli.base.tables import column_names

            return column_names(data)
    except (OgaError, OSError, ValueError, zipfile.BadZipFile):
        pass  # `oga scan` tells what is the matter with the data
    return []


def _endings(pattern: str) -> list[str]:
    from ogacli.data.shards import read_shards, shard_paths

    samples = itertools.islice(read_shards(shard_paths(pattern)[:1], lambda _: False), _SHARD_SAMPLES)
    return list(dict.fromkeys(ending for sample in samples for ending in sample.spans))


def _saved_features(folder: Path) -> list[str]:
    """The columns of a dataset that the library datasets saved: of its first split, where it has some."""
    infos = sorted([*folder.glob("dataset_info.json"), *folder.glob("*/dataset_info.json")])
    return list(_document(infos[0]).get("features") or ()) if infos else []


def _document(file: Path) -> dict[str, Any]:
    """What is in a file of JSON; nothing where it is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _first(columns: Sequence[str], names: Iterable[str]) -> list[str]:
    """The column that has the first of these names that there is; none where there is none."""
    return next((own for name in names if (own := _all(columns, [name]))), [])


def _pair(columns: Sequence[str]) -> list[str]:
    """The two columns of pairs of texts; none where there are none."""
    return next((own for pair in _PAIRS if (own := _all(columns, pair))), [])


def _all(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of all these names, in whatever case; none where one is missing."""
    lower = {column.lower(): column for column in reversed(columns)}
    return [lower[name] for name in names] if lower.keys() >= set(names) else []


# --- its place in the example -------------------------------------------------------------------------


def _place(data: Path, kind: str) -> str:
    return f"{data}/*.tar" if kind == "webdataset" and data.is_dir() else str(data)


def _with_split(text: str, folder: Path) -> str:
    """The config with a split that the saved dataset has, or none where it has no splits."""
    if (folder / "state.json").is_file():
        return re.sub(r"^  split:.*\n", "", text, flags=re.M)
    names = _document(folder / "dataset_dict.json").get("splits")
    return _filled(text, "split", _scalar(str(names[0]))) if names and "train" not in names else text


def _without(text: str, key: str) -> str:
    """The config with the lines of such a key, and the groups that are made by it, as comments."""
    return re.sub(rf"^(  {key}: |attribute: {{group: {key})", r"# \1", text, flags=re.M)


def _filled(text: str, key: str, value: str, count: int = 0) -> str:
    """The text with another value of such a key in its sections; ``count`` times at most, unless 0."""
    return re.sub(rf"^(  {key}: +)\S+", lambda match: match[1] + value, text, count=count, flags=re.M)


def _scalar(text: str) -> str:
    """As a YAML scalar."""
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "''") + "'"
