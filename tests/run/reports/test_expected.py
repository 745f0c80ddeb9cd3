"""How many of the first samples are wrong is told in every output, also where nothing is to be trimmed."""

import numpy as np
import pytest

import ogacli
from ogacli.config.commands import scan
from ogacli.run.directory import Run
from run_outputs import OUTPUTS, terminal
from small_scans import make_place

K, N = 5, 1200


def scanned(folder, *, wrong: float, accuracy: float, budget="auto") -> tuple[Run, np.ndarray]:
    """Held-out probabilities of a model that is right so often, on labels of which so many are wrong."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, N)
    given = np.where(rng.random(N) < wrong, (truth + rng.integers(1, K, N)) % K, truth)
    logits = rng.normal(size=(N, K))
    logits[np.arange(N), truth] += 5 if accuracy > 0.9 else 1.2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    place = make_place(folder, detector="latent_label")
    np.save(folder / "y.npy", given)
    np.save(folder / "p.npy", probabilities.astype(np.float32))
    place.write_config(
        data={"source": "arrays", "y": "y.npy"},
        budget=budget,
        model={"source": "precomputed", "probabilities": "p.npy", "held_out": True},
    )
    return scan(place.config()), given != truth


@pytest.mark.parametrize("output", OUTPUTS)
def test_where_labels_are_wrong(tmp_path, output):
    run, wrong = scanned(tmp_path, wrong=0.1, accuracy=0.95)
    told = output(run)
    first = run.scores["rank"].to_numpy().argsort()
    assert [one.first for one in run.summary.expected] == [50, 100, 500, 1000]
    for one in run.summary.expected:
        assert (
            f"{round(one.wrong):,} of the first {one.first:,} ({round(one.low)} to {round(one.high)})" in told
        )
        assert abs(one.wrong - wrong[first[: one.first]].sum()) <= 0.1 * one.first


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("accuracy", [0.95, 0.6])
def test_where_there_is_nothing_to_trim(tmp_path, output, accuracy):
    """A strong model tells at most how many are wrong, a weak one that it cannot be told."""
    run, _ = scanned(tmp_path, wrong=0.0, accuracy=accuracy)
    told = output(run)
    assert run.summary.flagged == 0
    assert "expected to have a wrong label" not in told.lower()
    assert "worth a look" in told
    last = run.summary.expected[-1]
    if accuracy > 0.9:
        assert f"0 to {round(last.high)} of the first 1,000" in told
    else:
        assert "cannot be told: worth a look" in told or f"of the first {last.first:,} have" in told


@pytest.mark.parametrize("output", OUTPUTS)
def test_samples_that_are_only_to_be_looked_at(tmp_path, output):
    run, _ = scanned(tmp_path, wrong=0.1, accuracy=0.95, budget={"review": 100})
    told = output(run)
    assert "without decisions, oga trim drops none of them" in told.replace("`", "")
    if output is terminal:
        assert "--decisions decisions.json" in told
    ogacli.trim(run, to=tmp_path / "kept.npy")
    assert len(np.load(tmp_path / "kept.npy")) == N
