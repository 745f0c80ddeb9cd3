"""``budget: benefit``: how much to leave out is tried out without the samples that judge it."""

from importlib import import_module

import numpy as np
import pytest
import torch

import ogacli
from command_line import oga
from ogacli.config.commands import plan, scan, train
from ogacli.errors import ConfigError, RunError
from ogacli.models.sources.mlp import Mlp
from ogacli.run.directory import Run
from ogacli.run.trim.manifest import manifest_table
from small_scans import K, N, Place, contents, make_place

QUICK = {"amounts": [0.1, 0.3], "folds": 2, "seeds": 1, "probe": "head", "actions": ["trim"]}


def benefit(**options) -> str:
    return f"budget={{benefit: {QUICK | options}}}"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    """Two epochs by ``oga train``; heads are trained for two epochs."""
    probes = import_module("ogacli.scan.retraining.probes")
    monkeypatch.setattr(probes, "_TRAIN", probes._TRAIN.model_copy(update={"epochs": 2}))
    found = make_place(tmp_path / "place", detector="latent_label")
    found.write_config(
        train={"epochs": 2, "batch_size": 16, "output": "trained"},
        model={"source": "mlp", "hidden": [6], "checkpoint": "trained/epoch-*.safetensors"},
    )
    train(found.config())
    return found


def tried(run: Run) -> list[tuple[str, float]]:
    assert run.summary.benefit is not None
    return [(one.action, one.amount) for one in run.summary.benefit.trials]


@pytest.mark.parametrize("probe", ["head", "network"])
def test_the_chosen_amount_is_the_budget_of_the_run(place, probe):
    run = scan(place.config(benefit(probe=probe)))
    found = run.summary.benefit
    assert tried(run) == [("trim", 0), ("trim", 0.1), ("trim", 0.3)]
    assert (found.probe, found.folds, found.seeds, found.samples) == (probe, 2, 1, N)
    # Networks rank in two rounds of three folds, and at last all samples.
    assert found.trainings == (2 * (3 + 3) if probe == "head" else 2 * (6 + 3) + 6)
    assert run.summary.flagged + run.summary.held_back == round(found.amount * N)
    assert run.summary.budget["benefit"]["probe"] == probe
    assert found.trials[0].samples == N / 2
    best = max(found.trials, key=lambda one: one.gain - one.error)
    assert (found.action, found.amount, found.gain) == (best.action, best.amount, best.gain)


@pytest.mark.parametrize("probe", ["head", "network"])
def test_no_held_out_label_has_a_part_in_ranking_and_training(place, monkeypatch, probe):
    """With other labels in one fold, the trainings without that fold are on the same samples and labels."""
    room, found = import_module("ogacli.scan.retraining.benefit"), []
    trained_correct = room.trained_correct

    def watched(samples, held, *given, **others):
        found[-1].append((samples.positions.tolist(), samples.labels.tolist(), held.positions.tolist()))
        return trained_correct(samples, held, *given, **others)

    monkeypatch.setattr(room, "trained_correct", watched)
    samples = ogacli.Samples.of(place.arrays["x"], labels=place.arrays["y"], classes=K)
    probes = import_module("ogacli.scan.retraining.probes")
    folds = probes._folds(samples, 2)
    monkeypatch.setattr(probes, "_folds", lambda samples, count: folds)
    labels = samples.labels.clone()
    labels[folds[0]] = (labels[folds[0]] + 1) % K
    module = Mlp(hidden=(6,), checkpoint=str(place.folder / "weights.safetensors"))
    options = {"benefit": QUICK | {"probe": probe, "actions": ["trim", "relabel", "weight"]}}
    for given in (samples.labels, labels):
        found.append([])
        other = ogacli.Samples.of(place.arrays["x"], labels=given, classes=K)
        ogacli.scan(other, module, budget=options, train={"epochs": 2})
    without_first = [[one for one in several if one[2] == folds[0].tolist()] for several in found]
    assert len(without_first[0]) >= 3
    assert without_first[0] == without_first[1]
    assert all(set(one[0]).isdisjoint(one[2]) for several in found for one in several)


def test_a_network_that_was_trained_on_the_labels_is_trained_again(place):
    """Its features have learned the labels, so that a head tells nothing; others are left as they are."""
    by_default = scan(place.config("budget={benefit: {amounts: [0.1], folds: 2, seeds: 1}}"))
    found = by_default.summary.benefit
    assert (found.probe, found.ranked, found.labels_seen) == ("network", 3, False)
    assert tried(by_default) == [("trim", 0), ("trim", 0.1), ("weight", 0)]
    assert by_default.summary.diagnosis.held_out
    assert by_default.summary.estimate.by == "held out"
    elsewhere = f"model.checkpoint={place.folder}/weights.safetensors"
    other = scan(place.config(benefit(probe="auto"), elsewhere), overwrite=True).summary.benefit
    assert (other.probe, other.ranked) == ("head", None)


def test_the_second_round_is_weighted_by_the_first(place, monkeypatch):
    room, found = import_module("ogacli.models.training.again"), []
    train_folds = room.train_folds

    def watched(samples, *given, weights=None, **others):
        found.append((samples.ids.to_pylist(), weights))
        return train_folds(samples, *given, weights=weights, **others)

    monkeypatch.setattr(room, "train_folds", watched)
    run = scan(place.config(benefit(probe="network", amounts=[0.1])))
    assert len(found) == 2 * 3  # rounds of two folds, and of all samples
    for (ids, first), (again, second) in zip(found[::2], found[1::2], strict=True):
        assert ids == again
        assert first is None
        assert second.min() >= 0
        assert second.max() <= 1
        assert second.std() > 0
    assert found[-1][0] == run.scores["id"].to_pylist()


def test_actions_are_compared(place):
    run = scan(place.config(benefit(actions=["trim", "relabel", "weight"])))
    amounts = [("trim", 0.1), ("trim", 0.3), ("relabel", 0.1), ("relabel", 0.3), ("weight", 0)]
    assert tried(run) == [("trim", 0), *amounts]
    by_choice = {(one.action, one.amount): one for one in run.summary.benefit.trials}
    assert by_choice["weight", 0].samples == N / 2
    assert by_choice["trim", 0.3].samples <= by_choice["relabel", 0.3].samples <= N / 2


def test_the_table_is_in_terminal_summary_and_reports(place):
    done = oga("scan", "config.yaml", "--set", benefit(), cwd=place.folder)
    assert done.code == 0, done.err
    assert "budget: benefit trains a head on the model's features" in done.err
    assert "standard error" in done.out
    run = Run.open(place.folder / "run")
    for format in ("html", "md"):
        text = ogacli.report(run, format)
        assert "How much to leave out" in text
        for amount in ("10.0%", "30.0%"):
            assert amount in text
    html = ogacli.report(run)
    assert html.count('class="dot trim') == 3
    assert "<polyline" in html
    assert max(len(line) for line in done.out.splitlines() if not line.startswith("next")) <= 80


@pytest.mark.parametrize("probe", ["head", "network"])
def test_a_killed_probe_goes_on(place, monkeypatch, probe):
    """What was trained is not trained again, and the result is the same."""
    config = place.config(benefit(probe=probe))
    whole = scan(config, output=place.folder / "whole")
    room = import_module("ogacli.scan.retraining.benefit")
    trained_correct, calls = room.trained_correct, []

    def killed(*given, **others):
        calls.append(1)
        if len(calls) == 5:
            raise SystemExit
        return trained_correct(*given, **others)

    with monkeypatch.context() as patched:
        patched.setattr(room, "trained_correct", killed)
        with pytest.raises(SystemExit):
            scan(config, output=place.folder / "out")
    log = place.folder / "out.tried.jsonl"
    assert len(log.read_text().splitlines()) == 1 + 4
    log.write_text(log.read_text() + '{"fold": 1, "act')  # killed while it wrote
    calls.clear()
    monkeypatch.setattr(room, "trained_correct", killed)
    resumed = scan(config, output=place.folder / "out", resume=True)
    assert len(calls) == 6 - 4
    for file in ("scores.parquet", "summary.json"):
        assert contents(resumed.path)[file] == contents(whole.path)[file]
    assert not log.exists()
    assert not (place.folder / "out.partial").exists()


def test_an_unfinished_probe_of_another_config_is_not_continued(place, monkeypatch):
    room = import_module("ogacli.scan.retraining.benefit")
    with monkeypatch.context() as patched:
        patched.setattr(room, "trials", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scan(place.config(benefit()))
    with pytest.raises(RunError, match="the unfinished scan is of another config"):
        scan(place.config(benefit(seeds=2)), resume=True)
    assert scan(place.config(benefit(seeds=2)), overwrite=True).summary.benefit.seeds == 2
    assert not (place.folder / "run.tried.jsonl").exists()


def test_something_else_in_the_place_of_the_log_is_left_alone(place):
    file = place.folder / "run.tried.jsonl"
    file.write_text("mine\n")
    with pytest.raises(RunError, match="something else stands where the tried amounts are kept"):
        scan(place.config(benefit()))
    assert file.read_text() == "mine\n"


def test_another_budget_after_the_scan_trains_nothing(place, monkeypatch):
    run = scan(place.config(benefit()))
    monkeypatch.setattr(import_module("ogacli.scan.retraining.benefit"), "choose", None)
    table = manifest_table(run, budget="benefit")
    assert table["fate"].to_pylist() == manifest_table(run)["fate"].to_pylist()
    assert manifest_table(run, budget=5)["fate"].to_pylist().count("dropped") == 5


def test_whether_the_features_were_trained_on_these_labels(place):
    """A checkpoint of ``oga train`` was; one from elsewhere may be; folds and plain inputs were not."""
    seen = scan(place.config(benefit()))
    assert seen.summary.benefit.labels_seen is True
    assert "trained on the labels of the held-out samples" in " ".join(seen.summary.benefit.notes)
    elsewhere = place.config(benefit(), f"model.checkpoint={place.folder}/weights.safetensors")
    assert scan(elsewhere, overwrite=True).summary.benefit.labels_seen is None
    folds = scan(place.config(benefit()), folds=3, overwrite=True).summary.benefit
    assert (folds.labels_seen, folds.folds, folds.notes) == (False, 3, ())
    place.write_config(model={"source": "logistic", "checkpoint": "plain/epoch-002.safetensors"})
    train(place.config(f"train.output={place.folder}/plain"))
    plain = scan(place.config(benefit(), f"train.output={place.folder}/plain"), overwrite=True)
    assert plain.summary.benefit.labels_seen is False


def test_probabilities_with_features_are_enough_for_heads(place):
    x, y = place.arrays["x"], place.arrays["y"]
    rng = np.random.default_rng(0)
    probabilities = np.full((N, K), 0.1)
    probabilities[np.arange(N), y] = 0.8
    np.save(place.folder / "p.npy", probabilities + rng.normal(0, 1e-4, (N, K)) * 0)
    np.save(place.folder / "h.npy", x)
    model = {"source": "precomputed", "probabilities": "p.npy"}
    place.write_config(model=model | {"features": "h.npy"})
    assert scan(place.config(benefit())).summary.benefit.labels_seen is None
    place.write_config(model=model)
    with pytest.raises(ConfigError, match="no features that a head could be trained on") as caught:
        scan(place.config(benefit()), overwrite=True)
    assert "probe: network" in str(caught.value)
    with pytest.raises(ConfigError, match=r"budget\.benefit\.probe: this model cannot be trained"):
        scan(place.config(benefit(probe="network")), overwrite=True)


def test_samples_without_classes_are_refused(place):
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "target": "regression"}
    place.write(y=np.linspace(0, 1, N).astype(np.float32))
    place.write_config(data=data, loss="mse", detector="l2")
    with pytest.raises(ConfigError, match="right predictions can be counted only where"):
        scan(place.config(benefit()))


def test_the_cost_is_told_before(place):
    notes: list[str] = []

    class Watch:
        def bar(self, description, total, *, work=None):
            return ogacli_progress.SILENT.bar(description, total, work=work)

        def note(self, text):
            notes.append(text)

    ogacli_progress = import_module("ogacli.base.progress")
    scan(place.config(benefit(actions=["trim", "weight"])), progress=Watch())
    assert "14 times (2 folds x (3 to rank + 1 seeds x 4 choices)), each on up to 60 samples" in notes[0]
    planned = plan(place.config(benefit()), overwrite=True)
    assert planned.trainings == 12
    assert plan(place.config(), overwrite=True).trainings == 0


def test_from_python_with_a_network_in_memory(place):
    samples = ogacli.Samples.of(place.arrays["x"], labels=place.arrays["y"], classes=K)
    network = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.ReLU(), torch.nn.Linear(6, K))
    found = ogacli.scan(samples, network, budget={"benefit": QUICK})
    assert found.summary.benefit.labels_seen is None
    assert found.save(place.folder / "memory").summary.benefit == found.summary.benefit
    with pytest.raises(ConfigError, match="this model cannot be trained"):
        ogacli.scan(samples, network, budget={"benefit": QUICK | {"probe": "network"}})


def test_more_folds_than_samples_are_refused(place):
    with pytest.raises(ConfigError, match=r"budget\.benefit\.folds: more folds than samples"):
        scan(place.config(benefit(folds=N + 1)))
