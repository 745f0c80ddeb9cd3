"""How much each sample counts in a training, from a table or a run.

In: samples, and a table with the columns ``id`` and ``weight``, such as a manifest of ``oga trim --weights``;
or a run directory, whose weights are the probabilities that the given labels are right. Out: the samples with
weights.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.tables import check_columns, read_table
from ogacli.base.wording import listed
from ogacli.data.ids import arrow_ids
from ogacli.data.samples import Samples
from ogacli.errors import DataError

WEIGHT = "weight"
_RUN, _PROBABILITY = "scores.parquet", "given_label_probability"
"""In a run directory: the file, and the column that holds the weights."""
_EXPECTED = "id and weight, as `oga trim --weights` writes them; or a run directory"


def weighted(samples: Samples, place: str | Path) -> Samples:
    """The samples with the weights of a table or run, matched by id.

    Weights that the samples have already are multiplied with these. A sample without a value in the table has
    the weight 1.

    Args:
        samples: The samples.
        place: A csv, jsonl or parquet file with the columns ``id`` and ``weight``; or a run directory.

    Raises:
        DataError: A sample is not in it, an id occurs twice, or a weight is negative or not finite; or all
            weights are 0.
    """
    run = Path(place).is_dir()
    path = Path(place) / _RUN if run else place
    name = _PROBABILITY if run else WEIGHT
    table = read_table(path, text=("id",))
    check_columns(table, ("id", name), path, _EXPECTED)
    found = weights_of(samples, table, name, str(path))
    return replace(samples, weights=found if samples.weights is None else samples.weights * found)


def weights_of(samples: Samples, table: pa.Table, column: str, place: str) -> Float[Tensor, " n"]:
    """The weights of the samples in a column of a table with ids; float32.

    Raises:
        DataError: As of :func:`weighted`.
    """
    ids = table.column("id").cast(pa.string()).combine_chunks()
    if len(twice := pc.filter(counts := ids.value_counts(), pc.greater(counts.field("counts"), 1))):
        raise DataError("an id occurs twice", place=place, found=repr(twice[0]["values"].as_py()))
    own = arrow_ids(samples.ids)
    where = pc.index_in(own, ids)
    if where.null_count:
        missing = own.filter(where.is_null()).to_pylist()
        raise DataError(
            f"{len(missing):,} of {len(samples):,} samples have no row in the table of weights",
            place=place,
            found=f"ids such as {ids[0].as_py()!r}" if len(ids) else "no rows",
            expected=f"a row for {listed([repr(name) for name in missing], 3)}",
            hint="take the table that was written for this data, or leave the samples out by `data.manifest`",
        )
    try:
        values = table.column(column).cast(pa.float64()).take(where).fill_null(1.0).to_numpy().copy()
    except pa.ArrowInvalid as error:
        raise DataError(
            "weights that are not numbers", place=f"{place}: {column}", found=str(error)
        ) from None
    return checked(values, samples, place)


def checked(values: Any, samples: Samples, place: str) -> Float[Tensor, " n"]:
    """Weights in the order of the samples, as float32; NaN, a probability that is not known, counts as 1.

    Raises:
        DataError: Their number is another one, a weight is negative or infinite, or all are 0.
    """
    array: np.ndarray[Any, Any] = np.array(values, dtype=np.float64)
    if array.shape != (len(samples),):
        raise DataError(
            "not one weight a sample", place=place, found=str(list(array.shape)), expected=f"[{len(samples)}]"
        )
    array[np.isnan(array)] = 1.0
    bad = ((array < 0) | np.isinf(array)).nonzero()[0]
    if len(bad):
        raise DataError(
            "not a weight",
            place=f"{place}: sample {samples.ids[int(bad[0])].as_py()!r}",
            found=float(array[bad[0]]),
            expected="a number from 0",
        )
    if not array.any():
        raise DataError("all weights are 0", place=place, expected="a sample that counts")
    return torch.from_numpy(array).float()
