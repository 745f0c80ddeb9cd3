"""A commented starter config for the user's kind of data.

In: a path to the data, or the name of a kind. Out: the text of one of the example configs, with the path and
those of the data's columns filled in whose names say what they are for. Each example says in lines that begin
with ``# init:`` which data it is for, so that a new kind is a new file in ``configs/`` and no edit here.
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

import yaml

from ogacli.base.atomic import new_file
from ogacli.base.options import Options
from ogacli.errors import ConfigError, OgaError

_USUAL = {
    "label": ("label", "labels", "target", "targets", "class", "y", "category"),
    "text": ("text", "sentence", "review", "content", "comment"),
}
"""Names of columns that stand for more than themselves in an example, and what such columns are called."""
_PAIRS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
"""What the two columns of pairs of texts are called."""
_SHARD_SAMPLES = 20
"""Samples of a shard that are looked into."""
_LINE = re.compile(r"^# init: (.*)\n", re.M)


class Example(Options):
    """The ``# init:`` lines of an example config: which data it is for."""

    files: tuple[str, ...] = ()
    """Suffixes of files that hold such data."""
    folders: tuple[str, ...] = ()
    """Patterns; a folder with a file that matches one holds such data. ``**`` is any folder."""
    place: str = "path"
    """The key of the data's place."""
    columns: Mapping[str, tuple[str, ...]] = {}
    """For each key that names a column what such columns are called, the most likely name first; ``label``
    and ``text`` stand for all their usual names."""
    optional: tuple[str, ...] = ()
    """Those keys that the config does without."""

    def named(self, columns: Sequence[str]) -> dict[str, list[str]]:
        """For each key the column of the data, two for pairs of texts; empty where there is none."""
        found = {}
        for key, names in self.columns.items():
            known = [usual for name in names for usual in _USUAL.get(name, (name,))]
            found[key] = (_pair(columns) if key == "text" else []) or _first(columns, known)
        return found

    def fit(self, columns: Sequence[str]) -> tuple[int, int, int]:
        """How well it fits data with such columns; less is better.

        Keys that find no column count first, then those that find one, then all keys.
        """
        found = [own for key, own in self.named(columns).items() if key not in self.optional]
        return sum(not own for own in found), -sum(map(bool, found)), len(self.columns)


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

    def document(self, file: Path) -> dict[str, Any]:
        """As JSON, with the file that it was written to."""
        return {
            "schema_version": 1,
            "config": str(file),
            "kind": self.kind,
            "label": self.columns.get("label"),
            "columns": self.columns,
            "open": list(self.open),
        }


def init(
    data: str | Path | None = None,
    kind: str | None = None,
    *,
    output: str | Path = "oga.yaml",
    overwrite: bool = False,
) -> Starter:
    """Write the starter config for some data.

    Args:
        data: Where the data lies; the arguments are those of ``starter``.
        kind: One of ``kinds()``.
        output: The file to write.
        overwrite: Replace it where it exists.

    Raises:
        ConfigError: As in ``starter``.
        RunError: The file exists.
    """
    found = starter(data, kind, Path(output).parent)
    with new_file(Path(output), overwrite=overwrite) as file:
        file.write(found.text.encode())
    return found


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
        return Starter(kind, _text(kind), {}, (), ())
    path = Path(data)
    candidates = [kind] if kind else _by_name(path)
    place = _place(path, _example(candidates[0]))
    columns = _columns_of(place) if any(_example(name).columns for name in candidates) else []
    chosen = min(candidates, key=lambda name: (_example(name).fit(columns), name))
    example, text = _example(chosen), _text(chosen)
    if folder is not None and not path.is_absolute():
        place = os.path.relpath(place, folder)
    text = _filled(text, example.place, _scalar(place), count=1)
    text = _with_split(text, path)
    found: dict[str, str | list[str]] = {}
    lost = []
    for key, own in example.named(columns).items():
        if own:
            found[key] = own if len(own) > 1 else own[0]
            values = [_scalar(name) for name in own]
            text = _filled(text, key, values[0] if len(values) == 1 else f"[{', '.join(values)}]")
        elif key in example.optional:
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


def _text(kind: str) -> str:
    """The example config without its lines for this module."""
    return _LINE.sub("", _written(kind))


def _example(kind: str) -> Example:
    lines = "\n".join(_LINE.findall(_written(kind)))
    return Example.model_validate(yaml.safe_load(lines) or {})


def _written(kind: str) -> str:
    return (_folder() / f"{kind}.yaml").read_text(encoding="utf-8")


# --- what the data is ---------------------------------------------------------------------------------


def _by_name(data: Path) -> list[str]:
    """The kinds of data that may lie under such a name."""
    examples = {kind: _example(kind) for kind in kinds()}
    if data.is_dir():
        patterns = {pattern: kind for kind, example in examples.items() for pattern in example.folders}
        ordered = sorted(patterns, key=lambda pattern: pattern.count("*"))  # the most specific one first
        return [patterns[next(pattern for pattern in ordered if any(data.glob(pattern)))]]
    suffix = data.suffix.lower()
    found = [kind for kind, example in examples.items() if suffix in example.files]
    if not found:
        known = dict.fromkeys(suffix for example in examples.values() for suffix in example.files)
        raise ConfigError(
            "the kind of data cannot be told from the name",
            place=str(data),
            expected=f"a folder, or a file that ends in {', '.join(known)}",
            hint=f"say it by --kind {'|'.join(kinds())}",
        )
    return found


def _columns_of(place: str) -> list[str]:
    """What can be named in the data: columns, arrays of a file, endings in a shard; nothing where unknown."""
    data = Path(place)
    try:
        if data.suffix.lower() == ".tar":
            return _endings(place)
        if data.suffix.lower() == ".npz":
            with zipfile.ZipFile(data) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        if data.is_dir():
            return _saved_features(data)
        from ogacli.base.tables import column_names

        return column_names(data)
    except (OgaError, OSError, ValueError, zipfile.BadZipFile):
        return []  # `oga scan` says what is wrong with the data


def _endings(pattern: str) -> list[str]:
    from ogacli.data.shards import read_shards, shard_paths

    samples = itertools.islice(read_shards(shard_paths(pattern)[:1], lambda _: False), _SHARD_SAMPLES)
    return list(dict.fromkeys(ending for sample in samples for ending in sample.spans))


def _saved_features(folder: Path) -> list[str]:
    """The columns of a dataset that the library datasets saved; of its first split where it has several."""
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


def _place(data: Path, example: Example) -> str:
    """The data as the config names it: files in a folder by a pattern such as ``*.tar``."""
    patterns = [pattern for pattern in example.folders if pattern.startswith("*.")]
    return f"{data}/{patterns[0]}" if data.is_dir() and patterns else str(data)


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
