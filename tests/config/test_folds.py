"""Cross-validation: who was trained on what, and who scores whom."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from command_line import oga
from ogacli.config.commands import plan, scan, train
from ogacli.config.folds import folded, rehearsed
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.models.sources import Snapshot
from ogacli.models.training.accuracy import accuracy
from small_scans import N, Place, make_place


@pytest.fixture
def place(tmp_path) -> Place:
    return make_place(tmp_path, detector=[{"name": "l2"}, {"name": "isolation_forest", "subsample": 16}])


def test_more_folds_than_samples(place):
    with pytest.raises(ConfigError, match="more folds than samples"):
        train(place.config("train.folds=30", "data.limit=20", "train.epochs=1"))
    assert not (place.folder / "run-checkpoints-folds").exists()


def test_each_network_was_trained_on_the_others(place):
    config = place.config("train.folds=3", "train.epochs=2")
    found = train(config)
    assert [fold.samples + fold.held_out for fold in found.folds] == [N] * 3
    held = np.concatenate([np.load(found.folder / fold.positions) for fold in found.folds])
    assert sorted(held.tolist()) == list(range(N))
    samples = config.data.open()
    for fold in found.folds:
        path = found.folder / fold.checkpoint
        network = config.model.model_copy(update={"checkpoint": str(path)}).load(samples)
        own = samples.select(torch.from_numpy(np.load(found.folder / fold.positions)))
        assert accuracy(network.module, own) == fold.accuracy
    history = json.loads((found.folder / "history.json").read_text())
    assert history["config"]["train"]["folds"] == 3


def test_every_sample_is_scored_by_the_network_that_has_not_seen_it(place):
    config = folded(place.config("train.epochs=2"), 3)
    run = scan(config, output=place.folder / "folds")
    score = run.scores["score"].to_numpy()
    for number in (1, 2, 3):
        base = place.folder / "run-checkpoints-folds"
        alone = scan(
            place.config(f"model.checkpoint={base}/fold-{number}.safetensors"),
            output=place.folder / f"alone-{number}",
        )
        rows = np.load(base / f"fold-{number}.npy")
        np.testing.assert_allclose(score[rows], alone.scores["score"].to_numpy()[rows], rtol=1e-6)
    again = scan(config, output=place.folder / "again")
    assert again.scores.equals(run.scores)
    assert len(run.provenance["checkpoints"]) == 3
    assert run.config["model"]["checkpoint"]["folds"][0]["samples"].endswith("fold-1.npy")


def test_a_training_of_the_same_config_is_used_again(place):
    folder = place.folder / "run-checkpoints-folds"
    folded(place.config("train.epochs=1"), 2)
    before = (folder / "fold-1.safetensors").stat().st_mtime_ns
    folded(place.config("train.epochs=1", "budget=0.3"), 2)
    assert (folder / "fold-1.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="exists"):
        folded(place.config("train.epochs=2"), 2)
    folded(place.config("train.epochs=2"), 2, overwrite=True)
    assert (folder / "fold-1.safetensors").stat().st_mtime_ns != before


def test_folds_that_leave_samples_out_or_hold_them_out_twice(place):
    folded(place.config("train.epochs=1"), 2)
    base = place.folder / "run-checkpoints-folds"
    rows = np.load(base / "fold-1.npy")
    for changed, words in ((rows[1:], "held out by no fold"), (np.arange(N), "held out by several folds")):
        np.save(base / "fold-1.npy", changed)
        with pytest.raises(ConfigError, match=words):
            scan(folded(place.config("train.epochs=1"), 2), output=place.folder / "out")
    np.save(base / "fold-1.npy", rows.astype(float))
    with pytest.raises(ConfigError, match="not positions of samples"):
        scan(folded(place.config("train.epochs=1"), 2), output=place.folder / "out")
    assert not (place.folder / "out").exists()


def test_a_limit_takes_of_each_fold_what_is_left(place):
    config = folded(place.config("train.epochs=1"), 3)
    samples = config.data.model_copy(update={"limit": 40}).open()
    found: list[Snapshot] = config.model.snapshots(samples)
    counts = Counter(row for snapshot in found for row in snapshot.rows.tolist())
    assert counts == Counter(range(40))


def test_the_commands(place):
    trained = oga(
        "train", str(place.config_file), "--folds", "2", "--set", "train.epochs=1", "--json", cwd=place.folder
    )
    assert trained.code == 0, trained.err
    assert [fold["number"] for fold in json.loads(trained.out)["folds"]] == [1, 2]
    scanned = oga("scan", str(place.config_file), "--folds", "2", "--set", "train.epochs=1", cwd=place.folder)
    assert scanned.code == 0, scanned.err
    assert "flagged" in scanned.out


def test_a_dry_run_needs_no_folds_and_makes_none(place):
    asked = ("scan", str(place.config_file), "--folds", "3", "--dry-run")
    never = place.folder / "never-*.safetensors"
    before = sorted(place.folder.rglob("*"))
    found = oga(*asked, "--set", f"model.checkpoint={never}", "--json", cwd=place.folder)
    assert found.code == 0, found.err
    planned = json.loads(found.out)
    assert planned["checkpoints"] == 3
    assert planned["samples"] == N
    assert "trained first" in found.err
    assert sorted(place.folder.rglob("*")) == before


def test_a_rehearsal_takes_the_folds_that_are_there(place):
    config = place.config("train.epochs=1")
    there = folded(config, 2)
    with rehearsed(config, 2) as found:
        assert found.model == there.model
    with pytest.raises(RunError, match="exists"), rehearsed(place.config("train.epochs=2"), 2):
        pass
    with rehearsed(place.config("train.epochs=2"), 2, overwrite=True) as found:
        assert plan(found, overwrite=True).checkpoints == 2
        assert found.model != there.model


@pytest.mark.parametrize("command", ["train", "scan"])
def test_one_fold_is_none(place, command):
    found = oga(command, str(place.config_file), "--folds", "1", cwd=place.folder)
    assert found.code == 2
    assert "--folds" in found.err
    assert "2" in found.err


def test_folds_of_a_dataset_that_has_changed(place):
    """The config is the same, so that the folds would be taken for those of the new labels."""
    config = place.config("train.epochs=1")
    scan(config, folds=2)
    y = place.arrays["y"]
    place.write(y=(y + 1) % 3)
    for go in (scan, plan):
        with pytest.raises(DataError, match="the dataset has changed since these folds were trained"):
            go(config, folds=2, output=place.folder / "second")
    run = scan(config, folds=2, overwrite=True)
    assert len(run.summary.checkpoints) == 2
    assert all(one.counts for one in run.summary.checkpoints)
