"""Outputs of a model of any framework: probabilities or logits, and optionally features, as npy files.

In: one row a sample, in the order of the source. Out: a ``Model`` that looks its logits up. With features its
gradients are those of the head; without, those with respect to the logits.
"""

from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import model_validator
from torch import Tensor

from ogacli.base.blocks import blocks, numbered
from ogacli.base.options import Location
from ogacli.base.tables import FORMATS
from ogacli.data import Batch, Samples
from ogacli.data.files.npy_shards import open_rows
from ogacli.data.files.shards import is_pattern, shard_paths
from ogacli.errors import DataError
from ogacli.models.network import Outputs
from ogacli.models.sources import ModelSource, Snapshot, sources
from ogacli.models.sources._exported import names_classes, read_exported


def is_table(path: str) -> bool:
    """Whether a file is a table rather than an array, by its suffix."""
    return PurePath(path).suffix.lower() in FORMATS


_CHECKED = 1 << 18
"""Values that are checked before anything is computed."""
_NOT_SAID = (
    "the config does not say whether the answers are of models that were trained on these samples, which "
    "decisions rest on: `model: {held_out: true}` if not (cross-validation), else `false`"
)
_SUM = 1e-2
"""Largest difference of the sum of probabilities from 1; exports in half precision need it."""


@sources.register
class PrecomputedSource(ModelSource):
    """Probabilities or logits of every sample of the source, and the inputs of the head."""

    probabilities: Location | None = None
    """npy file [n, k], or several as ``p-{000..009}.npy`` or ``p-*.npy``, one below the other: a row for each
    sample of the source; rows sum to 1 where each sample has one class. Or a table (csv, jsonl, parquet):
    columns with the names of classes are matched with these, and rows by a column ``id``."""
    logits: Location | None = None
    """The same, instead of probabilities."""
    features: Location | None = None
    """npy files or table [n, h]: the inputs of the last linear layer."""
    bias: bool = True
    """Whether that layer has a bias; used with ``features``."""
    held_out: bool | None = None
    """True where each sample's row comes from a model that was not trained on it (out of fold). Otherwise it
    is inferred, but an underconfident model that was trained on the samples looks held out, too. Where
    nothing is said, a note asks."""

    @model_validator(mode="after")
    def _one_file(self) -> "PrecomputedSource":
        if (self.probabilities is None) == (self.logits is None):
            raise ValueError("give either `probabilities` or `logits`")
        return self

    @property
    def gives_features(self) -> bool:
        """Whether ``features`` is given."""
        return self.features is not None

    def load(self, samples: Samples) -> "Precomputed":
        """The files, mapped into memory and checked.

        Raises:
            DataError: A file cannot be read, is not [n, k], has too few rows or columns, or probabilities
                do not sum to 1.
        """
        path = self.probabilities or self.logits
        assert path is not None
        table = Rows(path, samples, outputs=True)
        needed = samples.label_type.outputs(samples.labels, samples.classes)
        if table.width < needed:
            raise DataError(
                "too few columns",
                place=path,
                found=f"{table.width} columns",
                expected=f"at least {needed}: one for each class or target of the data",
            )
        one_class = samples.class_index is not None
        if self.probabilities is not None:  # the other rows are checked when they are read
            first = np.arange(min(len(table), max(1, _CHECKED // table.width)))
            check_probabilities(table.take(first), first, path, together=one_class)
        features = None
        if self.features is not None:
            features = Rows(self.features, samples)
            if len(features) != len(table):
                raise DataError(
                    "the files differ in length",
                    place=self.features,
                    found=f"{len(features)} rows",
                    expected=f"{len(table)}, as in {path}",
                )
        table.check_length(samples)
        return Precomputed(
            samples.positions,
            table,
            features,
            are_probabilities=self.probabilities is not None,
            one_class=one_class,
            bias=self.bias,
            notes=(_NOT_SAID,) if one_class and self.held_out is None else (),
        )

    def names_classes(self, samples: Samples) -> bool:
        """Whether the columns of a table have the names of the classes."""
        path = self.probabilities or self.logits
        assert path is not None
        return is_table(path) and names_classes(path, samples.classes)

    def snapshots(self, samples: Samples) -> list[Snapshot]:
        """One, of all samples."""
        return [Snapshot(self, torch.from_numpy(numbered(len(samples))), bool(self.held_out))]

    def checkpoint_files(self) -> tuple[str, ...]:
        """The npy files."""
        given = [path for path in (self.probabilities, self.logits, self.features) if path is not None]
        return tuple(one for path in given for one in (shard_paths(path) if is_pattern(path) else [path]))


@dataclass
class Precomputed:
    """A model whose logits are looked up by the position of a sample in its source."""

    reads_inputs = False
    head_name = "head"

    positions: Int64[Tensor, " n"]
    """Of the samples in the source."""
    table: "Rows"
    """Logits or probabilities."""
    features: "Rows | None"
    are_probabilities: bool
    one_class: bool
    """Whether a row is one distribution over the classes; else each value is the probability of a class."""
    bias: bool
    notes: tuple[str, ...] = ()
    """For the user."""
    device: torch.device = field(default=torch.device("cpu"), init=False)

    def to(self, device: torch.device) -> None:
        """Put the outputs on a device."""
        self.device = device

    def outputs(self, batch: Batch) -> Outputs:
        """The rows of the batch's samples, values that are not finite included."""
        positions = self.positions[batch.rows].numpy()
        logits = self.table.take(positions)
        if self.are_probabilities:
            check_probabilities(logits, positions, self.table.path, together=self.one_class)
            # Zeros become the smallest positive number, so that the logarithm is finite.
            tiny = torch.finfo(torch.float32).tiny
            absent = None if self.one_class else (1 - logits).clamp_min(tiny).log()
            logits = logits.clamp_min(tiny).log()
            if absent is not None:
                logits = logits - absent
        features = None if self.features is None else self.features.take(positions).to(self.device)
        return Outputs(logits.to(self.device), features, bias=self.bias)


class Rows:
    """A matrix in an npy file with a row for each sample, read a few rows at a time.

    Raises:
        DataError: It is no matrix of numbers, or has fewer rows than the source has samples.
    """

    def __init__(self, path: str, samples: Samples, *, outputs: bool = False) -> None:
        self.path = path
        self.values = read_exported(path, samples, outputs=outputs) if is_table(path) else open_rows(path)
        if len(self.values.shape) != 2:
            raise DataError(
                "not a matrix", place=path, found=list(self.values.shape), expected="one row a sample, [n, k]"
            )
        if self.values.dtype.kind not in "fiu":
            raise DataError("not numbers", place=path, found=self.values.dtype)
        needed = int(samples.positions.max()) + 1
        if len(self) < needed:
            raise DataError(
                "too few rows",
                place=path,
                found=f"{len(self)} rows",
                expected=f"at least {needed}: one for each sample of the source, in its order",
            )

    def check_length(self, samples: Samples) -> None:
        """Check that there is a row for each row of the source, or for each sample where these are the first.

        Raises:
            DataError: There are more.
        """
        first = all(
            bool((samples.positions[block] == torch.arange(block.start, block.stop)).all())
            for block in blocks(len(samples))
        )
        if len(self) == samples.source_rows or (first and len(self) == len(samples)):
            return
        limited = (
            f" (or {len(samples):,}, with its `limit`)"
            if first and len(samples) < samples.source_rows
            else ""
        )
        raise DataError(
            "another number of rows than the source has samples",
            place=self.path,
            found=f"{len(self):,} rows",
            expected=f"{samples.source_rows:,}: one for each sample of the source, in its order{limited}",
            hint="export the outputs for this dataset; a table with a column `id` is matched by it",
        )

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.values.shape[1]

    def take(self, positions: Int64[np.ndarray, " b"] | slice) -> Float[Tensor, "b k"]:
        """Some rows, in float32."""
        return torch.from_numpy(np.asarray(self.values[positions], dtype=np.float32))


def check_probabilities(
    values: Float[Tensor, "b k"], positions: Int64[np.ndarray, " b"], path: str, *, together: bool = True
) -> None:
    """Check that every finite row holds probabilities.

    Args:
        values: The rows.
        positions: Their places in the file.
        path: The file, for the message.
        together: Whether a row is one distribution over the classes.

    Raises:
        DataError: A value is negative or above 1, or a row does not sum to 1.
    """
    sums = values.sum(1)
    wrong = (values.amin(1) < 0) | (values.amax(1) > 1 + _SUM)
    if together:
        wrong |= sums.isfinite() & ((sums - 1).abs() > _SUM)
    if wrong.any():
        i = int(wrong.int().argmax())
        raise DataError(
            "not probabilities",
            place=f"{path}: row {positions[i]}",
            found=f"sum {float(sums[i]):.4g}, smallest value {float(values[i].min()):.4g}",
            expected=f"values from 0 to 1{' that sum to 1' if together else ''}",
            hint="give unnormalised values as `logits` instead",
        )
