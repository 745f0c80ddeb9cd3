"""``oga init``: a commented starter config for the user's kind of data.

In: a path to the data, or the name of a kind. Out: the text of one of the example configs, with the path and
the columns of the data filled in where the names of the columns show what they hold. The lines of an example
that begin with ``# init:`` describe its data, so that a new kind is a new file in ``configs/``.
"""

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ogacli.base.atomic import new_file
from ogacli.base.documents.json_document import read_json
from ogacli.base.options import Options, path_given
from ogacli.base.special_files import special
from ogacli.config.inputs import NOTHING, Inputs, inputs_of
from ogacli.config.starter_text import placeholders, scalar, with_truth, with_value, without
from ogacli.errors import ConfigError, OgaError

_USUAL = {
    "label": (
        *("label", "labels", "target", "targets", "class", "y", "category"),
        *("topic", "sentiment", "intent"),
    ),
    "text": ("text", "sentence", "review", "content", "comment"),
}
"""Usual names of columns; an example refers to all of them by the first."""
_PAIRS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
"""Usual names of the two columns of pairs of texts."""
_TRUTH = ("truth", "true", "true_label", "gold", "gold_label", "clean", "clean_label")
"""Usual names of a column of true labels."""
_SHARD_SAMPLES = 20
"""Samples of a shard that are read to find its columns."""
_LINE = re.compile(r"^# init: (.*)\n", re.M)


class Example(Options):
    """An example config, and which data it is for: the keys of its ``# init:`` lines."""

    kind: str
    """The name of the file."""
    text: str
    """The file without its ``# init:`` lines."""
    files: tuple[str, ...] = ()
    """Suffixes of files that hold such data."""
    folders: tuple[str, ...] = ()
    """Patterns; a folder with a file that matches one holds such data. ``**`` is any folder."""
    place: str = "path"
    """The key of the path of the data."""
    columns: Mapping[str, tuple[str, ...]] = {}
    """For each key that takes a column the possible names of that column, the most likely one first;
    ``label`` and ``text`` include all their usual names."""
    optional: tuple[str, ...] = ()
    """The keys among them that the config does without."""

    def named(self, columns: Sequence[str]) -> dict[str, list[str]]:
        """The column for each key; two columns for pairs of texts, an empty list if there is none."""
        matches = {}
        for key, names in self.columns.items():
            usual = [(name,) for known in names for name in _USUAL.get(known, (known,))]
            matches[key] = _match(columns, [*(_PAIRS if key == "text" else ()), *usual])
        return matches

    def mismatch(self, columns: Sequence[str]) -> tuple[int, int, int]:
        """How badly the example fits data with these columns; 0 is best.

        Keys without a column count first, then (negative) keys with one, then all keys.
        """
        required = [match for key, match in self.named(columns).items() if key not in self.optional]
        return sum(not match for match in required), -sum(map(bool, required)), len(self.columns)


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter config."""

    kind: str
    text: str
    columns: dict[str, str | list[str]]
    """The column found for each key that takes one; a list for pairs of texts."""
    open: tuple[str, ...]
    """The keys without a column; the user must fill them in."""
    known: tuple[str, ...]
    """The columns of the data; empty where it could not be read."""
    placeholders: tuple[str, ...] = ()
    """Dotted keys whose value is a file or name of the example, which is the user's to replace."""
    inputs: Inputs = NOTHING
    """The columns that are features."""

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
            "placeholders": list(self.placeholders),
        } | self.inputs.document()


def init(
    data: str | Path | None = None,
    kind: str | None = None,
    *,
    output: str | Path = "oga.yaml",
    overwrite: bool = False,
) -> Starter:
    """Write the starter config for some data.

    Args:
        data: Path of the data, as in :func:`starter`.
        kind: One of ``kinds()``.
        output: The file to write.
        overwrite: Replace an existing file.

    Raises:
        ConfigError: As in :func:`starter`.
        RunError: The file exists.
    """
    destination = path_given(output, "output")
    written = starter(data, kind, destination.parent)
    commands = re.sub(rf"(oga \w+) (configs/)?{written.kind}\.yaml", rf"\1 {output}", written.text)
    written = replace(written, text=commands)
    with new_file(destination, overwrite=overwrite) as file:
        file.write(written.text.encode())
    return written


def starter(data: str | Path | None = None, kind: str | None = None, folder: Path | None = None) -> Starter:
    """The starter config for some data.

    Args:
        data: Path of a table, a folder or archive of images, tar shards, or an array file.
        kind: One of ``kinds()``; default: by the name of ``data``.
        folder: The folder of the config, from which relative paths start; default: the current one.

    Raises:
        ConfigError: There is no such kind, or the name of ``data`` does not show it.
    """
    known = _examples()
    if kind is not None and kind not in known:
        raise ConfigError("no such kind of data", found=repr(kind), expected=f"one of {', '.join(known)}")
    if data is None:
        example = known[kind or "digits"]
        return _told(Starter(example.kind, example.text, {}, (), ()), folder or Path())
    path = path_given(data, "data")
    candidates = [known[kind]] if kind else _by_name(path, known)
    place = _place(path, candidates[0])
    columns = _columns_of(place) if any(example.columns for example in candidates) else []
    example = min(candidates, key=lambda one: (one.mismatch(columns), one.kind))
    if folder is not None and not path.is_absolute():
        place = os.path.relpath(place, folder)
    text = _with_split(with_value(example.text, example.place, scalar(place), count=1), path)
    filled: dict[str, str | list[str]] = {}
    open_keys = []
    for key, match in example.named(columns).items():
        if match:
            filled[key] = match if len(match) > 1 else match[0]
            values = ", ".join(map(scalar, match))
            text = with_value(text, key, values if len(match) == 1 else f"[{values}]")
        elif key in example.optional:
            text = without(text, key)
        else:
            open_keys.append(key)
    if truth := _match(columns, [(name,) for name in _TRUTH]):
        text = with_truth(text, truth[0])
    inputs = NOTHING if open_keys else inputs_of(text, str(path))
    found = Starter(example.kind, text, filled, tuple(open_keys), tuple(columns), inputs=inputs)
    return _told(found, folder or Path(), f"data.{example.place}")


def kinds() -> list[str]:
    """The kinds of data that there is a starter config for."""
    return list(_examples())


def _examples() -> dict[str, Example]:
    """The example configs by kind, sorted."""
    examples = {}
    for file in sorted(_folder().glob("*.yaml"), key=lambda path: path.stem):
        text = file.read_text(encoding="utf-8")
        described = yaml.safe_load("\n".join(_LINE.findall(text))) or {}
        described |= {"kind": file.stem, "text": _LINE.sub("", text)}
        examples[file.stem] = Example.model_validate(described)
    return examples


def _folder() -> Path:
    """The example configs: inside the package once it is installed, beside it in a checkout."""
    packaged = Path(str(resources.files("ogacli"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parent.parent / "configs"


# --- kind and columns of the data -----------------------------------------------------------------------


def _by_name(data: Path, known: Mapping[str, Example]) -> list[Example]:
    """The examples for data of this name."""
    if data.is_dir():
        patterns = {pattern: example for example in known.values() for pattern in example.folders}
        ordered = sorted(patterns, key=lambda pattern: pattern.count("*"))  # the most specific one first
        return [patterns[next(pattern for pattern in ordered if any(data.glob(pattern)))]]
    candidates = [example for example in known.values() if data.suffix.lower() in example.files]
    if not candidates:
        suffixes = dict.fromkeys(suffix for example in known.values() for suffix in example.files)
        raise ConfigError(
            "the kind of data cannot be told from the name",
            place=str(data),
            expected=f"a folder, or a file that ends in {', '.join(suffixes)}",
            hint=f"name it by --kind {'|'.join(known)}",
        )
    return candidates


def _columns_of(place: str) -> list[str]:
    """The columns of a table, arrays of a file, or endings in a shard; empty if it cannot be read."""
    data = Path(place)
    if special(data):
        return []
    try:
        if data.suffix.lower() == ".tar":
            return _endings(place)
        if data.suffix.lower() == ".npz":
            from ogacli.data.files.npy import array_names

            return array_names(place)
        if data.is_dir():
            return _saved_features(data)
        from ogacli.base.tables import column_names

        return column_names(data)
    except (OgaError, OSError, ValueError):
        return []  # `oga scan` reports what is wrong with the data


def _endings(pattern: str) -> list[str]:
    from ogacli.data.files.shards import read_shards, shard_paths

    samples = itertools.islice(read_shards(shard_paths(pattern)[:1], lambda _: False), _SHARD_SAMPLES)
    return list(dict.fromkeys(ending for sample in samples for ending in sample.spans))


def _saved_features(folder: Path) -> list[str]:
    """The columns of a dataset saved by the library ``datasets``; of the first split if it has several."""
    infos = sorted([*folder.glob("dataset_info.json"), *folder.glob("*/dataset_info.json")])
    return list(_json(infos[0]).get("features") or ()) if infos else []


def _json(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty if there is none."""
    try:
        content = read_json(file, ConfigError)
    except (OSError, OgaError):
        return {}
    return content if isinstance(content, dict) else {}


def _match(columns: Sequence[str], alternatives: Iterable[Sequence[str]]) -> list[str]:
    """The columns of the first alternative whose names all exist, ignoring case; empty if there is none."""
    lower = {column.lower(): column for column in reversed(columns)}
    complete = (names for names in alternatives if lower.keys() >= set(names))
    return [lower[name] for name in next(complete, ())]


# --- the text of the config -----------------------------------------------------------------------------


def _place(data: Path, example: Example) -> str:
    """The path as written in the config; files in a folder by a pattern such as ``*.tar``."""
    patterns = [pattern for pattern in example.folders if pattern.startswith("*.")]
    return f"{data}/{patterns[0]}" if data.is_dir() and patterns else str(data)


def _with_split(text: str, folder: Path) -> str:
    """The config with an existing split of a saved dataset; without ``split`` if it has no splits."""
    if (folder / "state.json").is_file():
        return re.sub(r"^  split:.*\n", "", text, flags=re.M)
    names = _json(folder / "dataset_dict.json").get("splits")
    return with_value(text, "split", scalar(str(names[0]))) if names and "train" not in names else text


def _told(found: Starter, folder: Path, *given: str) -> Starter:
    """The starter with a first line that names what is still to be filled in, where there is anything.

    Args:
        found: With the user's data filled in.
        folder: Of the config.
        given: Dotted keys that the user has given.
    """
    keys = placeholders(found.text, folder, given)
    everything = [*(f"data.{key}" for key in found.open), *keys]
    if not everything:
        return found
    line = f"# Fill in before the first command: {', '.join(everything)}.\n"
    return replace(found, text=line + found.text, placeholders=tuple(keys))
