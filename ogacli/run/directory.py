"""The run directory: written by ``scan``, read by every later command.

config.yaml       the resolved settings; ``oga scan`` can run them again
provenance.json   versions, seeds, device, precision, fingerprints
scores.parquet    a row a sample
summary.json      the result in figures
previews.parquet  pictures or texts of the most anomalous samples and of those beside them
ask_again.parquet the samples to ask annotators about again, where several labelled them
beside.parquet    the samples that a person compares with them: nearest ones, the same inputs
issues.parquet    the cells of labels that are probably wrong, where labels have cells
gradient_map.parquet  two coordinates of the gradients of some samples, for a figure
timing.json       start and duration of each step; the only file that differs between reruns
state.safetensors the fitted detectors, by which ``oga scan --since`` scores new samples
report.html       the result as a page
manifest.parquet  the fate of each sample, after ``oga trim``
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import ValidationError

from ogacli.base.arrow import empty, unpacked, value
from ogacli.base.atomic import holds_only
from ogacli.base.documents.json_document import read_bytes, read_json
from ogacli.base.documents.yaml_values import plain_values
from ogacli.base.tables.parquet_file import length_of, open_parquet, read_all
from ogacli.errors import ConfigError, RunError
from ogacli.run.annotators import FILE as ASK_AGAIN
from ogacli.run.beside import BESIDE, MAP
from ogacli.run.counts import Counts
from ogacli.run.held import HeldFiles, hold
from ogacli.run.issues import FILE as ISSUES
from ogacli.run.issues import ISSUE_COLUMNS
from ogacli.run.origin import check_provenance
from ogacli.run.scores import PREVIEW_COLUMNS, SCORE_COLUMNS, check_filled, check_types
from ogacli.run.summary import SCHEMA_VERSION, Summary

ROWS_TOGETHER = 1 << 15
"""Rows in a row group of ``scores.parquet``."""
SCORES = "scores.parquet"
"""A row a sample."""
STATE = "state.safetensors"
"""What ``oga scan --since`` takes from a run beside its scores; read by nothing else."""
MANIFEST = "manifest.parquet"
"""The fate of every sample, as the last ``oga trim`` of the run had it."""
_FILES = (
    STATE,
    "config.yaml",
    "provenance.json",
    SCORES,
    "summary.json",
    "previews.parquet",
    "beside.parquet",
    "gradient_map.parquet",
    ISSUES,
    ASK_AGAIN,
    "timing.json",
    "report.html",
    MANIFEST,
)


Part = TypeVar("Part", pa.Table, pa.RecordBatch)


@dataclass(frozen=True)
class Run:
    """A complete run directory. Each file is read when it is first used.

    An opened run stays the same while a later scan replaces the directory, except on Windows.
    """

    path: Path
    held: HeldFiles = field(default_factory=HeldFiles, repr=False, compare=False)
    """Its files, where they were opened together."""

    @classmethod
    def open(cls, path: Run | str | Path) -> Run:
        """A run directory that exists and is of a version that can be read; a ``Run`` is returned as it is.

        Raises:
            RunError: There is none, or it is of another version.
        """
        if isinstance(path, Run):
            return path
        if not isinstance(path, str | os.PathLike):
            raise RunError(
                "not a run",
                found=type(path).__name__,
                expected="a run directory",
                hint="`.save(folder)` of the result of a scan writes one",
            )
        folder = Path(path)
        held = hold(folder, _FILES)
        if not os.path.isdir(folder):
            raise RunError("no such run directory", place=str(path), hint="`oga scan CONFIG` writes one")
        run = cls(folder, held)
        run.summary  # noqa: B018
        return run

    @cached_property
    def summary_document(self) -> dict[str, Any]:
        """``summary.json`` as it is in the file."""
        return self._json("summary.json")

    @cached_property
    def summary(self) -> Summary:
        """``summary.json``."""
        document = self.summary_document
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise RunError(
                "written by another version of oga",
                place=str(self.path / "summary.json"),
                found=f"schema version {version}",
                expected=f"schema version {SCHEMA_VERSION}",
                hint="scan again with this version",
            )
        try:
            return Summary.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(
                "not a summary that oga wrote",
                place=str(self.path / "summary.json"),
                found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            ) from None

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """``provenance.json``."""
        return check_provenance(self._json("provenance.json"), str(self.path / "provenance.json"))

    @cached_property
    def timing(self) -> dict[str, Any]:
        """``timing.json``."""
        return self._json("timing.json")

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.yaml`` as plain values."""
        try:
            with self._named("config.yaml") as place:
                found = plain_values(read_bytes(place, RunError), str(self.config_file))
        except FileNotFoundError:
            raise RunError("no config.yaml in the run directory", place=str(self.path)) from None
        except ConfigError as error:
            raise RunError(str(error)) from None
        if not isinstance(found, dict):
            raise RunError("not a config", place=str(self.config_file), found=type(found).__name__)
        return found

    def check_fits(self) -> None:
        """Check that the scores have as many rows as the summary has samples, and a column a detector.

        Raises:
            RunError: They have not.
        """
        more = [f"score_{name}" for name in self.summary.detectors[1:]]
        with self._parquet(SCORES, [*SCORE_COLUMNS, *more]) as file:
            rows = file.metadata.num_rows
        if rows != self.summary.samples:
            raise RunError(
                "the files of the run do not fit together",
                place=str(self.path / SCORES),
                found=f"{rows:,} rows",
                expected=f"{self.summary.samples:,}, the samples of summary.json",
                hint="scan again; or copy the whole run directory again",
            )

    def file(self, name: str) -> Path:
        """From where one of its files is read."""
        return self.held.place(self.path / name)

    @contextmanager
    def _named(self, name: str) -> Iterator[Path]:
        """From where a file is read; an error names its own path."""
        place = self.file(name)
        try:
            yield place
        except RunError as error:
            if error.place is None or not error.place.startswith(str(place)):
                raise
            named = error.place.replace(str(place), str(self.path / name), 1)
            raise RunError(
                error.problem, place=named, found=error.found, expected=error.expected, hint=error.hint
            ) from None

    @property
    def config_file(self) -> Path:
        """Where the resolved config lies."""
        return self.path / "config.yaml"

    @cached_property
    def scores(self) -> pa.Table:
        """``scores.parquet``: a row a sample."""
        self.check_fits()
        return self._whole(SCORES, SCORE_COLUMNS)

    def rows(
        self,
        where: Callable[[pa.Table], pa.ChunkedArray],
        columns: Sequence[str],
        limit: int,
        by: str | None = None,
    ) -> pa.Table:
        """The first rows of ``scores.parquet`` that meet a condition.

        One row group is in memory at a time, and only those are read whole that hold such rows.

        Args:
            where: Tells of each row of a part of the table whether it meets the condition.
            columns: The columns that it reads.
            limit: How many rows.
            by: A column of numbers: the rows with its smallest values, in their order; by default the first
                rows of the file.
        """
        self.check_fits()
        with self._parquet(SCORES) as file:
            wanted = list(dict.fromkeys([*columns, *([] if by is None else [by])]))
            found, highest = list[pa.Table](), None
            kept = [_met(where, file.read_row_group(i, columns=wanted)) for i in range(file.num_row_groups)]
            if by is not None and sum(map(len, kept)) > limit:
                values = unpacked(pa.concat_tables(kept)[by].combine_chunks())
                highest = value(int(np.partition(values, limit - 1)[limit - 1]))
            for i, one in enumerate(kept):
                if not len(one) or (
                    highest is not None and not pc.any(pc.less_equal(one[by], highest)).as_py()
                ):
                    continue
                table = _met(where, self._filled(file.read_row_group(i)))
                found.append(table if highest is None else table.filter(pc.less_equal(table[by], highest)))
                if by is None and sum(map(len, found)) >= limit:
                    break
            table = pa.concat_tables([empty(file.schema_arrow), *found])
            # `sort_by` imports pandas, as `filter` by an expression does.
            ordered = table if by is None else table.take(pc.sort_indices(table, [(by, "ascending")]))
            return ordered.slice(0, limit)

    def parts(self) -> Iterator[pa.Table]:
        """All columns of ``scores.parquet``, in order, a row group at a time."""
        with self._parquet(SCORES) as file:
            for number in range(file.num_row_groups):
                yield self._filled(file.read_row_group(number))

    @cached_property
    def counts(self) -> Counts:
        """The figures of ``scores.parquet``, counted from its rows."""
        return Counts.of(self)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of ``scores.parquet``, which is not read."""
        with self._parquet(SCORES) as file:
            return file.schema_arrow

    @cached_property
    def digests(self) -> dict[bytes, bytes]:
        """The metadata of ``scores.parquet``, with the digests of ``ogacli.run.digest``."""
        with self._parquet(SCORES) as file:
            return dict(file.metadata.metadata or {})

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of ``scores.parquet``, in order; one part of the rows is in memory at a time."""
        with self._parquet(SCORES) as file:
            for batch in file.iter_batches(batch_size=ROWS_TOGETHER, columns=list(columns)):
                yield self._filled(batch)

    @cached_property
    def previews(self) -> pa.Table:
        """``previews.parquet``: position, kind and content of some samples."""
        return self._whole("previews.parquet", PREVIEW_COLUMNS)

    @cached_property
    def beside(self) -> pa.Table:
        """``beside.parquet``: the samples that a person compares with the most anomalous ones."""
        return self._later("beside.parquet", BESIDE)

    @cached_property
    def gradient_map(self) -> pa.Table:
        """``gradient_map.parquet``: two coordinates of the gradients of some samples."""
        return self._later("gradient_map.parquet", MAP)

    def issue_parts(self) -> Iterator[pa.Table]:
        """``issues.parquet``: the cells that are probably wrong, a row group at a time."""
        with self._parquet(ISSUES, ISSUE_COLUMNS) as file:
            for number in range(file.num_row_groups):
                yield self._filled(file.read_row_group(number), ISSUES)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the result: SHA-256 over the summary and the fingerprints of data and weights."""
        digest = hashlib.sha256(self.file("summary.json").read_bytes())
        shared = [self.provenance.get("dataset"), self.provenance.get("checkpoints")]
        digest.update(json.dumps(shared, sort_keys=True).encode())
        return digest.hexdigest()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            with self._named(name) as place:
                document = read_json(place, RunError)
        except FileNotFoundError:
            raise RunError(
                f"not a run directory: no {name}", place=str(self.path), hint="`oga scan CONFIG` writes one"
            ) from None
        if not isinstance(document, dict):
            raise RunError("not a document that oga wrote", place=str(self.path / name))
        return document

    def _later(self, name: str, schema: pa.Schema) -> pa.Table:
        """All rows of a file that runs of earlier versions do not have: none of these."""
        if not os.path.lexists(self.file(name)):
            return schema.empty_table()
        return self._whole(name, schema.names)

    def _whole(self, name: str, columns: Sequence[str]) -> pa.Table:
        place = self.path / name
        with self._parquet(name, columns) as file:
            return self._filled(read_all(file, length_of(self.file(name)), str(place), RunError), name)

    @contextmanager
    def _parquet(self, name: str, columns: Sequence[str] = SCORE_COLUMNS) -> Iterator[pa.parquet.ParquetFile]:
        place = self.path / name
        try:
            with open_parquet(self.file(name), str(place), RunError) as file:
                check_types(file.schema_arrow, columns, str(place))
                yield file
        except FileNotFoundError:
            raise RunError(
                f"no {name} in the run directory",
                place=str(self.path),
                hint="copy the whole directory again, or scan again",
            ) from None

    def _filled(self, part: Part, name: str = SCORES) -> Part:
        check_filled(part, str(self.path / name))
        return part


def _met(where: Callable[[pa.Table], pa.ChunkedArray], table: pa.Table) -> pa.Table:
    return table.filter(where(table))


def is_run(folder: Path) -> bool:
    """Whether a folder is one that a scan wrote, and holds nothing else: it may be replaced then.

    The marks are its summary, with its schema version, and the columns of its scores.
    """
    if not holds_only(folder, _FILES):
        return False
    try:
        with Run.open(folder)._parquet(SCORES):
            return True
    except (RunError, OSError):
        return False
