"""What is done with the samples: trimmed, relabelled, weighted, or only looked at."""

from pathlib import Path

import numpy as np
import pytest

from command_line import oga
from ogacli.config.commands import scan, train
from ogacli.errors import ConfigError
from ogacli.run.directory import Run
from ogacli.run.trim import trim
from ogacli.run.trim.manifest import manifest_table
from small_scans import N, Place, make_place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Its network has learned something, so that suggested labels have probabilities of all sizes."""
    found = make_place(tmp_path_factory.mktemp("actions"), detector=["latent_label", "l2"])
    found.write_config(train={"epochs": 4, "batch_size": 16, "output": "trained"}, budget=0.3, protect="off")
    train(found.config("model.checkpoint=null"))
    found.write_config(model={"source": "mlp", "hidden": [6], "checkpoint": "trained/epoch-004.safetensors"})
    return found


@pytest.fixture(scope="module")
def run(place: Place) -> Run:
    return scan(place.config())


def of(table, *names):
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


@pytest.mark.parametrize("above", [0.0, 0.5, 0.8, 0.95])
def test_flagged_samples_are_relabelled_above_the_bound_and_dropped_below(place, above):
    found = scan(place.config(f"relabel.above={above}"), output=place.folder / f"bound-{above}")
    table = manifest_table(found, relabel=True)
    rows = of(found.scores, "flagged", "suggested_label", "confidence")
    for (flagged, suggested, confidence), (fate, new) in zip(
        rows, of(table, "fate", "new_label"), strict=True
    ):
        if not flagged:
            assert (fate, new) == ("kept", None)
        elif suggested is not None and confidence > above:
            assert (fate, new) == ("relabelled", suggested)
        else:
            assert (fate, new) == ("dropped", None)


def test_the_default_bound_is_kept_in_the_run_and_splits_the_flagged(run):
    assert run.config["relabel"] == {"above": 0.8}
    fates = manifest_table(run, relabel=True)["fate"].to_pylist()
    assert {"kept", "dropped", "relabelled"} == set(fates)
    assert manifest_table(run)["fate"].to_pylist().count("dropped") == 36


def test_another_budget_is_relabelled_as_well(run):
    fates = manifest_table(run, budget=0.5, relabel=True)["fate"].to_pylist()
    assert fates.count("kept") == N / 2


def test_weights_drop_nothing_and_are_the_probability_that_the_label_is_right(run):
    table = manifest_table(run, weights=True)
    assert set(table["fate"].to_pylist()) == {"kept"}
    weight = table["weight"].to_numpy()
    np.testing.assert_allclose(weight, 1 - run.scores["score"].to_numpy(), atol=1e-6)
    assert table.column_names[-1] == "weight"
    assert "weight" not in manifest_table(run).column_names


def test_without_a_label_detector_the_weight_is_the_probability_of_the_model(place):
    found = scan(place.config("detector=l2"), output=place.folder / "l2")
    weight = manifest_table(found, weights=True)["weight"].to_numpy()
    np.testing.assert_allclose(weight, found.scores["probability"].to_numpy())


def test_a_quarantined_sample_has_no_weight(tmp_path):
    place = make_place(tmp_path, detector="latent_label")
    x = place.arrays["x"]
    x[3] = np.nan
    place.write(x=x)
    table = manifest_table(scan(place.config()), weights=True)
    assert (table["fate"][3].as_py(), table["weight"][3].as_py()) == ("quarantined", None)
    assert table["weight"].null_count == 1


@pytest.mark.parametrize("options", [{"relabel": True}, {"weights": True}])
def test_decisions_overrule(run, tmp_path, options):
    flagged = run.scores["flagged"].to_numpy().nonzero()[0][:2].tolist()
    text = "".join(f"{row},{what}\n" for row, what in zip(flagged, ("keep", "drop"), strict=True))
    (tmp_path / "decisions.csv").write_text(f"id,action\n{text}")
    table = manifest_table(run, decisions=tmp_path / "decisions.csv", **options)
    assert [table["fate"][row].as_py() for row in flagged] == ["kept", "dropped"]
    if "weights" in options:
        assert [table["weight"][row].as_py() for row in flagged] == [1.0, None]


def test_for_review_nothing_is_dropped_without_a_decision(place, tmp_path):
    found = scan(place.config("budget={review: 20}"), output=tmp_path / "review")
    assert found.summary.flagged == 20
    assert found.summary.budget == {"review": 20}
    assert set(manifest_table(found)["fate"].to_pylist()) == {"kept"}
    row = int(found.scores["flagged"].to_numpy().nonzero()[0][0])
    (tmp_path / "decisions.csv").write_text(f"id,action\n{row},drop\n")
    fates = manifest_table(found, decisions=tmp_path / "decisions.csv")["fate"].to_pylist()
    assert fates.count("dropped") == 1
    assert manifest_table(found, budget=5)["fate"].to_pylist().count("dropped") == 5


def test_both_at_once_and_samples_without_classes_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="either relabel or weight"):
        manifest_table(run, relabel=True, weights=True)
    place = make_place(tmp_path / "numbers")
    place.write(y=np.linspace(0, 1, N).astype(np.float32))
    place.write_config(
        data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "target": "regression"}, loss="mse"
    )
    place.new_weights(0, "model.checkpoint=null")
    numbers = scan(place.config())
    for options in ({"relabel": True}, {"weights": True}):
        with pytest.raises(ConfigError, match="do not have one class each"):
            trim(numbers, tmp_path / "clean.csv", **options)
    assert not (tmp_path / "clean.csv").exists()


def test_on_the_command_line(run, tmp_path):
    done = oga("trim", run.path, "--to", "a.npz", "--relabel", cwd=tmp_path)
    assert done.code == 0
    assert "relabelled" in done.out
    assert oga("trim", run.path, "--to", "w.npz", "--weights", cwd=tmp_path).code == 0
    weights = np.load(tmp_path / "w.npz")["weight"]
    assert len(weights) == N
    assert ((weights >= 0) & (weights <= 1)).all()
    done = oga("trim", run.path, "--to", "b.npz", "--budget", "benefit", cwd=tmp_path)
    assert done.code == 2
    assert "did not try out" in done.err


def test_the_bound_is_an_argument_of_the_python_function(place):
    import ogacli
    from ogacli.models.sources.mlp import Mlp

    samples = ogacli.Samples.of(place.arrays["x"], labels=place.arrays["y"], classes=3)
    source = Mlp(hidden=(6,), checkpoint=str(Path(place.folder, "trained", "epoch-004.safetensors")))
    found = ogacli.scan(samples, source, budget=0.3, relabel={"above": 0.3})
    assert found.settings["relabel"] == {"above": 0.3}
    with pytest.raises(ConfigError, match=r"relabel\.above"):
        ogacli.scan(samples, source, relabel={"above": 1.5})
