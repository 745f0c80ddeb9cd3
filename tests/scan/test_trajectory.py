"""Several checkpoints of one training: what their scores become together."""

from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.config.commands import plan, scan, train
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.snapshots import files
from ogacli.run.directory import Run
from ogacli.scan.collected.collect import Rows, Totals
from ogacli.scan.passes import CheckpointPass
from ogacli.scan.scoring import Scoring
from small_scans import N, Place, make_place

CPU = torch.device("cpu")


@pytest.fixture
def place(tmp_path) -> Place:
    place = make_place(tmp_path, detector=[{"name": "l2"}, {"name": "isolation_forest", "subsample": 16}])
    train(place.config("train={epochs: 11, batch_size: 16}", f"train.output={tmp_path}/epochs"))
    return place


def scanned(place: Place, checkpoint: str, name: str, *overrides: str) -> Run:
    return scan(place.config(f"model.checkpoint={checkpoint}", *overrides), output=place.folder / name)


def epochs(place: Place, *numbers: int) -> list[str]:
    return [f"{place.folder}/epochs/epoch-{number:03d}.safetensors" for number in numbers]


def test_the_score_is_the_mean_weighted_by_the_square_of_the_unlearned_share(place):
    chosen = epochs(place, 6, 7, 11)
    together = scanned(place, f"[{', '.join(chosen)}]", "together")
    assert all(one.counts for one in together.summary.checkpoints)
    alone = [scanned(place, path, f"alone-{i}") for i, path in enumerate(chosen)]
    weights = [(1 - run.summary.diagnosis.fit) ** 2 for run in alone]
    assert len(set(weights)) > 1
    for column in ("score", "score_isolation_forest"):
        each = np.stack([run.scores[column].to_numpy() for run in alone])
        np.testing.assert_allclose(
            together.scores[column].to_numpy(), np.average(each, axis=0, weights=weights), rtol=1e-9
        )
    assert list(together.provenance["checkpoints"]) == chosen
    assert together.config["model"]["checkpoint"] == chosen


def test_only_the_best_checkpoints_count(place):
    """A fresh one decides neither the verdict nor the scores, and what it says is kept."""
    chosen = epochs(place, 1, 7, 11)
    together = scanned(place, f"[{', '.join(chosen)}]", "together", "budget=0.1")
    verdicts = [one.diagnosis.verdict for one in together.summary.checkpoints]
    assert verdicts == ["fresh", "useful", "useful"]
    assert [one.counts for one in together.summary.checkpoints] == [False, True, True]
    assert [one.name for one in together.summary.checkpoints] == [Path(path).name for path in chosen]
    rest = scanned(place, f"[{', '.join(chosen[1:])}]", "rest", "budget=0.1")
    assert together.scores.equals(rest.scores)
    assert together.summary.diagnosis == rest.summary.diagnosis
    assert together.summary.diagnosis.verdict != "fresh"
    assert together.summary.estimate == rest.summary.estimate
    assert together.summary.flagged == rest.summary.flagged > 0


def test_a_list_of_one_is_that_checkpoint(place):
    [path] = epochs(place, 3)
    assert scanned(place, f"[{path}]", "list").scores.equals(scanned(place, path, "plain").scores)


def test_a_pattern_takes_its_checkpoints_in_the_order_of_their_numbers(place):
    folder = Path(place.folder) / "epochs"
    for path in list(folder.glob("epoch-*.safetensors")):
        path.rename(folder / f"epoch-{int(path.stem.partition('-')[2])}.safetensors")
    named = files(f"{folder}/epoch-*.safetensors")
    assert [Path(path).stem for path in named] == [f"epoch-{i}" for i in range(1, 12)]
    assert plan(place.config(f"model.checkpoint={folder}/epoch-*.safetensors")).checkpoints == 11
    odd = folder / "best[1].safetensors"
    (folder / "epoch-1.safetensors").rename(odd)
    assert files(str(odd)) == (str(odd),)


def test_a_pattern_that_nothing_matches(place):
    with pytest.raises(CheckpointError, match="no checkpoint has such a name"):
        scanned(place, f"{place.folder}/none-*.safetensors", "out")
    assert not (place.folder / "out").exists()


@pytest.mark.parametrize("stop", [1, 5, 9])
def test_an_interrupted_trajectory_goes_on_where_it_was(place, monkeypatch, stop):
    pattern = f"{place.folder}/epochs/epoch-00*.safetensors"
    size = f"gradients.batch_size={N // 2}"
    whole = scanned(place, pattern, "whole", size)
    scored, calls = Scoring.score, Counter[str]()

    def interrupted(self: CheckpointPass, *arguments: object) -> None:
        calls["score"] += 1
        if calls["score"] == 2 * stop:
            raise KeyboardInterrupt
        scored(self, *arguments)

    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(Scoring, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scanned(place, pattern, "resumed", size)
    assert not (place.folder / "resumed").exists()
    calls.clear()
    config = place.config(f"model.checkpoint={pattern}", size)
    calls["score"] = 1000
    resumed = scan(config, output=place.folder / "resumed", resume=True)
    assert resumed.scores.equals(whole.scores)
    assert calls["score"] - 1000 <= 2 * (9 - stop + 1), "checkpoints that were done are not done again"
    assert not list(place.folder.glob("*.partial"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.34, 1.0)), min_size=1, max_size=6))
def test_the_class_with_most_of_the_votes_wins(votes):
    gathered, rows = Totals(1, 0, CPU), torch.arange(1)
    for predicted, confidence in votes:
        found = Rows(1, 0, CPU)
        found.predictions[:], found.prediction_probability[:], found.probability[:] = (
            predicted,
            confidence,
            0.5,
        )
        found.true_class[:], found.confidence[:] = predicted, confidence
        gathered.add(found, rows)
    total = sum(confidence for _, confidence in votes)
    per_class = Counter[int]()
    for predicted, confidence in votes:
        per_class[predicted] += confidence
    winner, most = per_class.most_common(1)[0]
    lead = float(gathered.lead) / len(votes)
    if most > total / 2 + 1e-6:
        assert int(gathered.predictions) == winner
        assert 0 <= lead <= max(confidence for _, confidence in votes) + 1e-6
    if len(per_class) == 1:
        assert lead == pytest.approx(total / len(votes))
    assert torch.equal(gathered.true_class, gathered.predictions)
    assert torch.equal(gathered.true_class_lead, gathered.lead)
    sure = float(gathered.confidence) / len(votes)
    assert lead - 1e-6 <= sure <= per_class[int(gathered.true_class)] / len(votes) + 1e-6
    if len(per_class) == 1:
        assert sure == pytest.approx(lead)


def test_a_row_that_one_checkpoint_cannot_score_is_quarantined():
    gathered, rows = Totals(2, 1, CPU), torch.arange(2)
    for broken in (False, True):
        found = Rows(2, 1, CPU)
        found.scores[:] = 1.0
        if broken:
            found.scores[0, 1] = torch.nan
        gathered.add(found, rows)
    findings = gathered.findings(("l2",))
    assert list(findings.quarantined) == [1]
    assert findings.scores["l2"].tolist()[0] == 1.0
