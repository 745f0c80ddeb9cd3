"""Samples in tar shards, in the layout of webdataset: ``0001.jpg``, ``0001.cls``, ``0001.json``, ..

Labels and texts are read in one walk through the shards, pictures when a batch needs them. Remote shards are
copied during the walk, as far as there is room, so that they travel once.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base.documents.json_document import parse_json
from ogacli.base.options import Location
from ogacli.base.tables.json_lines import typed_column
from ogacli.data.copies import Copies
from ogacli.data.files.shard_files import Shards
from ogacli.data.files.shards import Sample, read_shards, shard_paths, short_names
from ogacli.data.ids import numbered
from ogacli.data.images import ImageReader, Transform
from ogacli.data.samples import Samples
from ogacli.data.sources import sources
from ogacli.data.sources.text import Texts, text_column
from ogacli.errors import DataError

_ID = "__key__"


@sources.register
class WebDataset(Texts):
    """Tar shards of pictures or of texts.

    A column of other sources is here the suffix of a file's name, such as ``cls`` or ``txt``, or a key of the
    ``json`` file.
    """

    path: Location
    """The tar files: one, ``train-{000..009}.tar``, or ``train-*.tar``; paths or fsspec URLs."""
    image: str | tuple[str, ...] | None = None
    """The suffix of the pictures' names, such as ``jpg``, or several."""
    transform: Transform = Transform()
    """Of pictures: ``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in
    training."""

    inputs: ClassVar[tuple[str, ...]] = ("text", "completion", "words", "image")

    def load(self) -> Samples:
        """All samples, named by shard and key."""
        paths = shard_paths(self.path, self.bounds)
        read = (*self.label_columns, *self.text_columns, *self.truth_columns)
        named = (*read, self.id, self.words, self.tags)
        wanted = {name for name in named if name is not None}
        copies = None if self.image is None else Copies()
        members = list(read_shards(paths, lambda kind: kind in wanted or kind == "json", copies))
        if not members:
            raise DataError("the shards hold no samples", place=self.path)
        names = short_names(paths)
        columns: dict[str, Any] = {_ID: pa.array([f"{names[one.shard]}/{one.key}" for one in members])}
        fields = [_fields(one, columns[_ID][i].as_py()) for i, one in enumerate(members)]
        labels = {*self.label_columns, *self.truth_columns}
        for name in sorted(wanted & {name for one in fields for name in one}):
            columns[name] = _column(
                name, [one.get(name) for one in fields], columns[_ID], whole=name in labels
            )
        table, source = pa.table(columns), self.model_copy(update={"id": self.id or _ID})
        if self.words is not None:
            return source.tagged(table, self.path)
        if self.image is None:
            texts = {name: text_column(table, name, self.path) for name in self.text_columns}
            return source.samples(table, self.path, *self.reader(texts))
        places = _places(members, (self.image,) if isinstance(self.image, str) else self.image)
        files = Shards(paths, places, copies)
        if (files.places[:, 1] < 0).all():
            kinds = sorted({kind for one in members[:1000] for kind in one.spans})
            raise DataError("no sample has a picture", place=self.path, found=f"files {', '.join(kinds)}")
        rows = numbered(len(members))
        reader = ImageReader(files, rows, self.transform, limits=self.bounds)
        return source.samples(table, self.path, reader, files.signature(rows))


def _fields(sample: Sample, name: str) -> dict[str, Any]:
    """The contents of the sample's small files, by suffix or by key."""
    found: dict[str, Any] = {}
    if "json" in sample.texts:
        found = parse_json(sample.texts["json"], f"{name}.json", DataError, finite=False)
        if not isinstance(found, dict):
            raise DataError("not a JSON object", place=f"{name}.json", found=type(found).__name__)
    for kind, content in sample.texts.items():
        if kind != "json":
            found[kind] = content.decode(errors="replace")
    return found


def _column(name: str, values: Sequence[Any], ids: pa.StringArray, *, whole: bool) -> pa.Array:
    """The values of one name; as labels, texts of whole numbers become integers, unless one begins with 0."""
    column = typed_column(name, values, lambda row: f"sample {ids[row].as_py()!r}")
    if whole and pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        if pc.all(pc.match_substring_regex(column, r"^(0|[1-9][0-9]{0,17})$")).as_py():
            column = column.cast(pa.int64())
    return column


def _places(samples: Sequence[Sample], kinds: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The place in each sample of the first member of one of these kinds."""
    nowhere = (-1, -1)
    return np.array(
        [
            (one.shard, *next((one.spans[kind] for kind in kinds if kind in one.spans), nowhere))
            for one in samples
        ],
        dtype=np.int64,
    )
