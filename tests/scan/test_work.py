"""The work of samples, the order in which they are scored, and the time left that follows from both."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.pace import Pace
from ogacli.data import Samples
from ogacli.data.sources.text import TextReader
from ogacli.scan.work import Work, in_order

READ = 16


def texts(lengths: list[int]) -> Samples:
    reader = TextReader({"text": pa.array(["x" * length for length in lengths], pa.string())})
    n = len(lengths)
    return Samples(
        ids=pa.array([str(i) for i in range(n)]),
        positions=torch.arange(n),
        labels=torch.zeros(n, dtype=torch.int64),
        classes=("a", "b"),
        reader=reader,
        signature="",
    )


def of_many_lengths(n: int, seed: int) -> Samples:
    lengths = np.random.default_rng(seed).lognormal(5, 0.9, n).clip(15, 2_000)
    return texts(lengths.astype(int).tolist())


def cost(lengths: Int64[Tensor, " b"], quadratic: float) -> float:
    """Seconds of texts that are padded to the longest: attention takes time by the square of the length."""
    longest = float(lengths.max())
    return len(lengths) * (40 + longest + quadratic * longest**2)


def after_a_tenth(samples: Samples, order: Int64[Tensor, " n"], quadratic: float) -> float:
    """The time left as told after a tenth of the time, divided by what was left."""
    lengths, work, now = samples.lengths(order), Work(samples, order, READ), 0.0
    assert lengths is not None
    costs = [cost(one, quadratic) for one in lengths.split(READ)]
    costs[0] += 2 * float(np.median(costs))  # libraries are initialised
    pace = Pace(work.of(order), lambda: now)
    for rows, seconds in zip(order.split(READ), costs, strict=True):
        now += seconds
        pace.advance(work.of(rows))
        if now >= 0.1 * sum(costs):
            break
    assert pace.left is not None
    return pace.left / (sum(costs) - now)


@pytest.mark.parametrize("quadratic", [0.0, 1 / 18_000, 1 / 4_000])
@pytest.mark.parametrize("seed", range(5))
def test_the_time_left_is_right_after_a_tenth(quadratic, seed):
    """Also where the time grows faster than the length; 1 / 18,000 is about that of BERT, of 512 tokens."""
    samples = of_many_lengths(5_000, seed)
    order = torch.arange(5_000)
    assert after_a_tenth(samples, order, quadratic) == pytest.approx(1, rel=0.1), "as detectors are fitted"
    scored = in_order(samples, order, READ)
    assert after_a_tenth(samples, scored, quadratic) == pytest.approx(1, rel=0.1)
    if quadratic > 1e-4:
        assert after_a_tenth(samples, samples.longest_first(order), quadratic) > 1.1


def test_the_work_of_texts_is_that_of_the_longest_they_are_read_with():
    samples = texts([10, 30, 5, 100, 1])
    rows = torch.tensor([3, 0, 2, 1])
    work = Work(samples, rows, 2)
    beside = Work(samples, torch.tensor([4]), 2).of(torch.tensor([4])) - 1
    assert work.of(rows) == 2 * 100 + 2 * 30 + 4 * beside
    assert work.of(torch.tensor([1, 0])) == 30 + 100 + 2 * beside
    assert work.of(rows[:0]) == 0


def test_samples_of_one_length_are_equal_work_in_their_order():
    samples = Samples.of(torch.zeros(7, 2), torch.zeros(7, dtype=torch.int64))
    rows = torch.tensor([5, 1, 3])
    assert in_order(samples, rows, 2) is rows
    assert Work(samples, rows, 2).of(rows[1:]) == 2


@pytest.mark.parametrize("n", [1, 15, 16, 17, 32, 100, 160])
def test_reads_are_those_of_samples_sorted_by_length(n):
    samples = of_many_lengths(n, 0)
    plain = samples.longest_first(torch.arange(n)).split(READ)
    mixed = in_order(samples, torch.arange(n), READ).split(READ)
    assert {tuple(one.tolist()) for one in mixed} == {tuple(one.tolist()) for one in plain}
    assert mixed[0].equal(plain[0]), "the longest come first"
    assert mixed[-1].equal(plain[-1]) or n % READ == 0
    done = torch.cat(mixed[: len(mixed) // 2 or 1])
    left = torch.arange(n)[~torch.isin(torch.arange(n), done)]
    again = in_order(samples, left, READ).split(READ) if len(left) else ()
    assert {tuple(one.tolist()) for one in again} == {
        tuple(one.tolist()) for one in mixed[len(mixed) // 2 or 1 :]
    }
