import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ogacli.data import Preview, Reader, Samples
from ogacli.data.arrays import ArrayReader, picture
from ogacli.data.ids import numbered
from ogacli.errors import DataError


class Halves(Reader):
    """Reads its positions as numbers; odd ones cannot be read."""

    in_memory = True

    def read(self, positions: Sequence[int]) -> tuple[Any, Mapping[int, str]]:
        even = [position for position in positions if position % 2 == 0]
        failures = {i: f"{position} is odd" for i, position in enumerate(positions) if position % 2}
        return (torch.tensor(even, dtype=torch.float32)[:, None] if even else None), failures

    def preview(self, position: int) -> Preview:
        return Preview("text", str(position).encode())


def samples(n: int = 6, **changes: Any) -> Samples:
    given: dict[str, Any] = {
        "ids": pa.array([f"id {i}" for i in range(n)]),
        "positions": torch.arange(n),
        "labels": torch.arange(n) % 3,
        "classes": ("a", "b", "c"),
        "reader": Halves(),
        "signature": "halves",
    }
    return Samples(**given | changes)


def test_rows_that_cannot_be_read_are_left_out() -> None:
    batch = samples().read([4, 1, 2, 5])
    assert batch.rows.tolist() == [4, 2]
    assert batch.inputs.tolist() == [[4.0], [2.0]]
    assert batch.labels.tolist() == [1, 2]
    assert batch.quarantined == {1: "1 is odd", 5: "5 is odd"}


@settings(deadline=None)
@given(st.data())
def test_select_composes(data: st.DataObject) -> None:
    whole = samples(8, truth=torch.arange(8) % 2)
    first = data.draw(st.permutations(range(8)).map(lambda rows: rows[:6]))
    second = data.draw(st.permutations(range(6)).map(lambda rows: rows[:4]))
    twice = whole.select(torch.tensor(first)).select(torch.tensor(second))
    once = whole.select(torch.tensor(first)[torch.tensor(second)])
    assert twice.fingerprint == once.fingerprint
    assert torch.equal(twice.positions, once.positions)
    a, b = twice.read(range(4)), once.read(range(4))
    assert torch.equal(a.rows, b.rows)
    assert a.quarantined == b.quarantined
    assert twice.ids.to_pylist() == [f"id {position}" for position in twice.positions.tolist()]


def test_fingerprint_sees_every_column() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"ids": numbered(6)},
        {"labels": torch.zeros(6, dtype=torch.int64)},
        {"classes": ("a", "b", "d")},
        {"signature": "other"},
        {"truth": torch.zeros(6, dtype=torch.int64)},
    ]
    assert len({samples(**change).fingerprint for change in changes}) == len(changes)
    assert samples().fingerprint == samples().fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": pa.array([], pa.string())}, "the dataset is empty"),
        (
            {"positions": torch.arange(5), "labels": torch.zeros(5, dtype=torch.int64)},
            "6 ids but 5 positions",
        ),
        ({"ids": pa.array(["a", "b", "a", "c", "b", "d"])}, r"2 ids occur more than once\n  found: 'a', 'b'"),
        ({"ids": pa.array(["a", None, "b", "c", "d", "e"])}, "row 1: an id is missing"),
        (
            {"labels": torch.tensor([0, 1, 3, 0, -1, 0])},
            r"sample 'id 2': label out of range, as in 1 more samples",
        ),
        ({"truth": torch.full((6,), 3)}, r"sample 'id 0': truth out of range(.|\n)*0 to 2 \(3 classes\)"),
        ({"labels": torch.tensor([[0.0]] * 5 + [[torch.nan]]), "classes": ()}, r"'id 5': label out of range"),
    ],
)
def test_inconsistent_samples_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        samples(**changes)


def test_batches_move_between_devices() -> None:
    batch = samples().read([0, 2])
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.inputs, batch.inputs)
    assert moved.to(torch.device("meta")).inputs.device.type == "meta"
    assert batch.nbytes == 8


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4), (5, 4, 1), (3, 5, 4), (5, 4, 3)])
def test_arrays_are_shown_as_pictures(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).uniform(-3, 7, shape).astype(np.float32)
    with Image.open(io.BytesIO(picture(values).content)) as image:
        assert (image.format, image.size) == ("PNG", (4, 5))
        assert image.getextrema() == ((0, 255),) * 3 or 3 in shape


def test_rows_are_shown_as_text() -> None:
    reader = ArrayReader(np.arange(20, dtype=np.float32)[None])
    assert reader.preview(0).content.decode() == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …"
