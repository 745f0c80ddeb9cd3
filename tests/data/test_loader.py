from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ogacli.data import Preview, Reader, Samples
from ogacli.data.arrays import ArrayReader
from ogacli.data.loader import batches, worker_count
from ogacli.data.sources.image_folder import ImageFolder
from ogacli.errors import DataError

_X = np.random.default_rng(0).normal(size=(23, 2)).astype(np.float32)
_X[[3, 17]] = np.nan


def numbers(n: int = 23) -> Samples:
    return Samples(
        ids=pa.array([str(i) for i in range(n)]),
        positions=torch.arange(n),
        labels=torch.arange(n) % 2,
        classes=("a", "b"),
        reader=ArrayReader(_X),
        signature="",
    )


def read(samples: Samples, rows: Sequence[int], size: int, workers: int) -> tuple[Any, ...]:
    found = list(batches(samples, torch.tensor(rows), size, workers=workers))
    inputs = [batch.inputs for batch in found if batch.inputs is not None]
    return (
        [row for batch in found for row in batch.rows.tolist()],
        torch.cat(inputs).tolist(),
        [label for batch in found for label in batch.labels.tolist()],
        {row: reason for batch in found for row, reason in batch.quarantined.items()},
    )


@given(rows=st.permutations(range(23)).map(lambda rows: rows[:15]), size=st.integers(1, 20))
def test_batch_size_does_not_change_what_is_read(rows: list[int], size: int) -> None:
    assert read(numbers(), rows, size, 0) == read(numbers(), rows, 23, 0)


def test_batches_have_the_size_asked_for() -> None:
    sizes = [len(b.rows) + len(b.quarantined) for b in batches(numbers(), torch.arange(23), 5)]
    assert sizes == [5, 5, 5, 5, 3]
    assert list(batches(numbers(), torch.arange(0), 5)) == []


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_workers_do_not_change_what_is_read(
    kind: str, picture_folder: Path, tmp_path: Path, zipped: Callable[..., Path], encode: Any, pixels: Any
) -> None:
    for i in range(4, 20):
        (picture_folder / "cat" / f"{i:02d}.png").write_bytes(encode(pixels(i)))
    (picture_folder / "cat" / "07.png").write_bytes(b"no picture")
    (picture_folder / "dog" / "a.png").write_bytes(encode(pixels(0))[:50])
    root = picture_folder if kind == "folder" else zipped(picture_folder, tmp_path / "p.zip")
    samples = ImageFolder(root=str(root)).open()
    samples.read([0])
    alone = read(samples, range(len(samples)), 3, 0)
    assert read(samples, range(len(samples)), 3, 2) == alone
    damaged = {samples.ids[row].as_py(): reason for row, reason in alone[3].items()}
    assert set(damaged) == {"cat/07.png", "dog/a.png"}
    assert damaged["cat/07.png"] == "not an image"


class Refusing(Reader):
    """Raises a user's mistake for one position."""

    in_memory = False

    def read(self, positions: Sequence[int]) -> tuple[Any, Mapping[int, str]]:
        if 4 in positions:
            raise DataError("the bucket is gone", place="memory://x")
        return torch.zeros(len(positions), 1), {}

    def preview(self, position: int) -> Preview:
        return Preview("text", b"")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mistake_is_told_without_the_traceback_of_a_worker(workers: int) -> None:
    samples = replace(numbers(), reader=Refusing())
    with pytest.raises(DataError) as caught:
        list(batches(samples, torch.arange(6), 2, workers=workers))
    assert str(caught.value) == "memory://x: the bucket is gone"


@pytest.mark.parametrize("workers", [0, 2])
def test_global_random_state_is_left_alone(workers: int) -> None:
    before = torch.get_rng_state()
    list(batches(numbers(), torch.arange(23), 5, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_are_only_started_where_reading_costs(picture_folder: Path) -> None:
    assert worker_count(numbers(), "auto") == 0
    assert worker_count(numbers(), 3) == 3
    assert worker_count(ImageFolder(root=str(picture_folder)).open(), "auto") >= 1
