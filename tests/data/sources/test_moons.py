import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ogacli.data.sources.moons import Moons


@pytest.mark.parametrize(("kind", "n", "wrong"), [("moons", 250, 20), ("linear", 150, 10)])
@pytest.mark.parametrize("seed", [0, 7])
def test_sizes_are_those_of_the_paper(kind: str, n: int, wrong: int, seed: int) -> None:
    train = Moons(kind=kind, seed=seed).open()  # type: ignore[arg-type]
    test = Moons(kind=kind, seed=seed, split="test").open()  # type: ignore[arg-type]
    assert (len(train), len(test)) == (n, 100)
    assert train.truth is not None
    assert test.truth is not None
    assert int((train.labels != train.truth).sum()) == wrong
    assert torch.equal(test.labels, test.truth)
    assert train.truth.bincount().tolist() == [n // 2, n // 2]


@pytest.mark.parametrize("kind", ["moons", "linear"])
def test_one_seed_is_one_set(kind: str) -> None:
    first, again, other = (Moons(kind=kind, seed=seed).open() for seed in (3, 3, 4))  # type: ignore[arg-type]
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint
    assert first.fingerprint != Moons(kind=kind, seed=3, split="test").open().fingerprint  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_a_line_separates_the_linear_set_and_not_the_moons(seed: int) -> None:
    accuracy = {}
    for kind in ("linear", "moons"):
        samples = Moons(kind=kind, seed=seed).open()  # type: ignore[arg-type]
        points = samples.read(range(len(samples))).inputs.numpy()
        truth = np.asarray(samples.truth)
        accuracy[kind] = LogisticRegression(C=1e6, max_iter=1000).fit(points, truth).score(points, truth)
        neighbours = KNeighborsClassifier(5).fit(points, truth)
        assert neighbours.score(points, truth) > 0.98
    assert accuracy["linear"] == 1.0
    assert accuracy["moons"] < 0.95
