"""A dataset of the library ``datasets``: from its own folder, from files, or from the hub.

Inputs stay on disk and are read when a batch needs them. The library is optional: ``pip install
'ogacli[hf]'``.
"""

import functools
import glob
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from ogacli.base.options import Location
from ogacli.base.special_files import refuse_special, refuse_special_in, special
from ogacli.base.user_code import optional
from ogacli.data.files import Content, Files
from ogacli.data.ids import numbered
from ogacli.data.images import ImageReader, Transform
from ogacli.data.rows import Rows, silent
from ogacli.data.samples import Samples
from ogacli.data.sources import sources
from ogacli.data.sources._columns import check_column
from ogacli.data.sources.text import Texts
from ogacli.data.streamed import copied
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

_BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}
_CHUNK = 4096


@sources.register
class HuggingFace(Texts):
    """A dataset of texts or of pictures."""

    path: Location | None = None
    """A folder that ``save_to_disk`` wrote; or parquet, arrow, json or csv files: a folder, one file, or a
    pattern with ``*``."""
    name: str | None = None
    """Instead of ``path``: the dataset's name on the hub. Without a network it is read from the library's
    cache."""
    config: str | None = None
    """The configuration of a dataset on the hub that has several."""
    split: str | None = None
    """The split, such as ``train``; may be left out where there is only one."""
    revision: str | None = None
    """Of a dataset on the hub: the branch, tag or commit."""
    streaming: bool = False
    """Read the dataset once, in order, without a copy of all of it: the columns that are needed, of the rows
    that ``limit: N`` asks for, are kept in a temporary file."""
    image: str | None = None
    """The column of the pictures."""
    transform: Transform = Transform()
    """Of pictures: ``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``."""

    inputs: ClassVar[tuple[str, ...]] = ("text", "completion", "words", "image")

    @model_validator(mode="after")
    def _one_place(self) -> "HuggingFace":
        if (self.path is None) == (self.name is None):
            raise ValueError("give either `path`, a place on this machine, or `name`, a name on the hub")
        return self

    def load(self) -> Samples:
        """All rows of the split."""
        dataset = self.dataset()
        place = self._place
        named = (*self.label_columns, *self.truth_columns, self.id, self.words, self.tags)
        wanted = {name for name in named if name is not None}
        if self.streaming:
            dataset = self._copied(dataset, wanted)
        if not len(dataset):
            raise DataError("the dataset has no rows", place=place)
        table = _columns(dataset, [_known(dataset, name, place) for name in sorted(wanted)])
        table, names = _named(table, dataset.features)
        if self.words is not None:
            return self.tagged(table, place, names)
        if self.image is not None:
            files = StoredFiles(dataset, _known(dataset, self.image, place))
            rows = numbered(len(dataset))
            reader = ImageReader(files, rows, self.transform, limits=self.bounds)
            return self.samples(table, place, reader, files.signature(rows), names)
        columns = {name: StoredTexts(dataset, _known(dataset, name, place)) for name in self.text_columns}
        return self.samples(table, place, *self.reader(columns), names)

    def rows(self) -> Rows:
        """The rows of the split."""
        if self.streaming:
            raise DataError(
                "a streamed dataset is not written again",
                place=self._place,
                hint="write a manifest (--to kept.csv), or leave out `streaming` where its rows are wanted",
            )
        return Rows(self.dataset(), self.label if isinstance(self.label, str) else None)

    @property
    def _place(self) -> str:
        return f"{self.path or self.name}" + (f", split {self.split}" if self.split else "")

    def dataset(self) -> Any:
        """The split.

        Raises:
            ConfigError: The library is not installed.
            DataError: There is no such dataset or split, or it cannot be read or reached.
        """
        self._refuse_scripts()
        library = optional("datasets", "hf", "data.source huggingface")
        problems = (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError, pa.ArrowException)
        try:
            with silent():
                found = self._opened(library)
        except problems as error:
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
            if "trust_remote_code" in str(cause) or "Dataset scripts are no longer" in str(cause):
                raise _script(self._place, reason) from None
            hint = (
                "check `path` and `split`"
                if self.name is None
                else "check `name`, `config` and `split`; without a network, write it by `save_to_disk` "
                "where there is one, and give that folder as `path`"
            )
            raise DataError("cannot be loaded", place=self._place, found=reason, hint=hint) from None
        if not isinstance(found, dict):
            if self._saved_alone and self.split is not None:
                raise DataError(
                    "the folder holds one dataset without splits",
                    place=self.path,
                    found=f"split: {self.split}",
                    hint="leave out `split`, or name the folder of that split",
                )
            return found
        if self.split in found or (self.split is None and len(found) == 1):
            return found[self.split or next(iter(found))]
        raise DataError(
            "several splits" if self.split is None else f"no split {self.split!r}",
            place=self.path or self.name,
            found=", ".join(found),
            hint="name one as `split`",
        )

    def _copied(self, stream: Any, wanted: set[str]) -> Any:
        """The columns that are needed of a stream, on disk.

        Raises:
            DataError: A column does not exist, or the stream cannot be read.
        """
        if stream.features is None:
            stream = stream._resolve_features()
        several = (*wanted, *self.text_columns, *([] if self.image is None else [self.image]))
        columns = sorted({_known(stream, name, self._place) for name in several})
        first = self.limit if isinstance(self.limit, int) else None
        chosen = self.flip is not None or self.manifest is not None  # among all rows, before the limit
        return copied(stream, columns, self._place, limit=None if chosen else first)

    @property
    def _saved_alone(self) -> bool:
        """Whether the folder was written by `save_to_disk` of a single dataset."""
        return self.path is not None and (Path(self.path) / "state.json").is_file()

    def _refuse_scripts(self) -> None:
        """Refuse a script with the name of its folder, which older versions of the library run."""
        place = Path(self.path or self.name or "")
        script = place if place.suffix == ".py" else place / f"{place.name}.py"
        if script.is_file():
            raise _script(str(script), "a dataset script")

    def _opened(self, library: Any) -> Any:
        """The split or a mapping of all splits; scripts of the dataset are never run."""
        load = functools.partial(
            library.load_dataset, split=self.split, trust_remote_code=False, streaming=self.streaming
        )
        if self.path is None:
            return load(self.name, self.config, revision=self.revision)
        folder = Path(self.path)
        refuse_special_in(folder, DataError)
        saved = self._saved_alone or (folder / "dataset_dict.json").is_file()
        if saved and self.streaming:
            raise ValueError("it is on this machine already; leave out `streaming`")
        if saved:
            return library.load_from_disk(self.path)
        if folder.is_dir():
            return load(self.path, self.config)
        files = sorted(glob.glob(self.path)) if "://" not in self.path else [self.path]
        for file in files:
            refuse_special(file, DataError)
        builder = _BUILDERS.get(Path(self.path).suffix.lower())
        if not files or builder is None:
            raise FileNotFoundError(
                "no such file or folder" if not files else f"not one of {', '.join(_BUILDERS)}"
            )
        return load(builder, data_files=files, split=self.split or "train")


class StoredTexts:
    """A column of texts on disk."""

    def __init__(self, dataset: Any, name: str) -> None:
        self.name = name
        self.dataset = dataset.select_columns([name]).with_format("arrow")
        kind = self.dataset[:1].schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise DataError(f"column {name!r} holds no text", found=kind, expected="strings")

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, rows: pa.Array) -> pa.Array:
        """Some rows; a missing text is empty."""
        return self._texts(self.dataset[rows.to_pylist()])

    def slice(self, offset: int, length: int) -> pa.Array:
        """Consecutive rows."""
        return self._texts(self.dataset[offset : offset + length])

    def _texts(self, table: pa.Table) -> pa.Array:
        return pc.fill_null(table.column(self.name).cast(pa.string()), "")


class StoredFiles(Files):
    """A column of pictures on disk, as files named by their row."""

    def __init__(self, dataset: Any, name: str) -> None:
        library = optional("datasets", "hf", "data.source huggingface")
        self.name = name
        bare = dataset.select_columns([name])
        try:
            self.dataset = bare.cast_column(name, library.Image(decode=False)).with_format(None)
            self.dataset[0]
        except (TypeError, ValueError, pa.ArrowException):
            raise DataError(
                f"column {name!r} holds no pictures", found=dataset.features[name], expected="Image"
            ) from None

    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """The bytes of each picture, from the file where the dataset holds only its path."""
        for found in self.dataset[[int(name) for name in names]][self.name]:
            try:
                if found is None or (found["bytes"] is None and not found["path"]):
                    yield Unreadable("no picture in this row")
                elif found["bytes"] is None and (what := special(found["path"])) is not None:
                    yield Unreadable(f"{what}, no file")
                else:
                    yield Path(found["path"]).read_bytes() if found["bytes"] is None else found["bytes"]
            except OSError as error:
                yield Unreadable((error.strerror or str(error)).lower())

    def signature(self, names: pa.StringArray) -> str:
        """A hash of the sizes and paths of the pictures, which are not read."""
        digest = hashlib.sha256()
        for part in self.dataset.with_format("arrow").iter(batch_size=_CHUNK):
            column = part.column(self.name).combine_chunks()
            digest.update(repr(pc.binary_length(column.field("bytes")).to_pylist()).encode())
            digest.update(repr(column.field("path").to_pylist()).encode())
        return digest.hexdigest()


def _script(place: str, found: str) -> DataError:
    return DataError(
        "the dataset is loaded by Python code of its author, which is never run",
        place=place,
        found=found,
        expected="parquet, arrow, json or csv files, or a folder that `save_to_disk` wrote",
        hint="where you trust the code, run it yourself and write its rows by `save_to_disk`; "
        "otherwise remove the script from the folder",
    )


def _known(dataset: Any, name: str, place: str) -> str:
    check_column(dataset.column_names, name, place)
    return name


def _columns(dataset: Any, names: Sequence[str]) -> pa.Table:
    """Some columns in memory; without names, a table with the right number of rows."""
    if not names:
        return pa.table({"": pa.nulls(len(dataset))})
    found: pa.Table = dataset.select_columns(list(names)).with_format("arrow")[:]
    return found


def _named(table: pa.Table, features: Mapping[str, Any]) -> tuple[pa.Table, dict[str, tuple[str, ...]]]:
    """Replace class indices by the class names of the dataset, where -1 means no label; and these names."""
    names = {}
    for i, column in enumerate(table.column_names):
        kind = features.get(column)
        inner = getattr(kind, "feature", kind)
        known = getattr(inner, "names", None)
        if known is None:
            continue
        names[column] = tuple(known)
        found = table.column(column).combine_chunks()
        if inner is kind:
            found = _class_names(found, names[column])
        else:
            values = _class_names(pc.list_flatten(found), names[column])
            lengths = pc.fill_null(pc.list_value_length(found), 0).to_numpy(zero_copy_only=False)
            offsets = [0, *lengths.cumsum().tolist()]
            found = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=found.is_null())
        table = table.set_column(i, column, found)
    return table, names


def _class_names(indices: pa.Array, names: Sequence[str]) -> pa.Array:
    known = pc.and_(pc.greater_equal(indices, 0), pc.less(indices, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(known, indices, None))
