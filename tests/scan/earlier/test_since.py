"""``--since``: an earlier run's results for what is as it was, new ones for the rest, all decided anew."""

import json
import shutil
from importlib import import_module

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from command_line import oga
from ogacli.config import parse_config
from ogacli.config.commands import scan, train
from ogacli.detectors.isolation_forest import Isolation
from ogacli.detectors.norm import Norm
from ogacli.errors import RunError
from ogacli.run.directory import STATE, Run, is_run
from ogacli.run.gate import gate
from ogacli.run.issues import issues_of
from ogacli.scan.collected.inputs import PROBED, InputNotes
from small_scans import WIDTH, H, N, make_place
from small_transformers import reviews, write_network, write_rows

FOREST = {"name": "isolation_forest", "trees": 20, "subsample": 32, "seed": 3}


def grown(place, *, more=30, changed=(3, 50), relabelled=(7,)):
    """The dataset with samples at its end, and with some that were changed."""
    rng = np.random.default_rng(9)
    arrays = place.arrays
    x, y, truth = (np.array(arrays[name]) for name in ("x", "y", "truth"))
    x[list(changed)] += 1
    y[list(relabelled)] = (y[list(relabelled)] + 1) % 3
    extra = rng.integers(0, 3, more)
    far = rng.normal(size=(more, H)).astype(np.float32) * 4
    place.write(
        x=np.concatenate([x, far]), y=np.concatenate([y, extra]), truth=np.concatenate([truth, extra])
    )
    return more + len(changed) + len(relabelled)


def scanned(place, name, *overrides, **options):
    return scan(place.config(*overrides), output=place.folder / name, **options)


def counting(monkeypatch):
    """The rows that the norms are computed of."""
    rows = []
    score = Norm.score
    monkeypatch.setattr(
        Norm, "score", lambda self, batch: rows.extend(batch.rows.tolist()) or score(self, batch)
    )
    return rows


def same_tables(one: Run, other: Run) -> None:
    assert one.scores.schema == other.scores.schema
    for name in one.scores.column_names:
        a, b = one.scores[name].to_pylist(), other.scores[name].to_pylist()
        if name.startswith(("score", "confidence", "probability", "given")):
            a, b = ([np.nan if value is None else value for value in column] for column in (a, b))
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=name)
        else:
            assert a == b, name


def same_summaries(one: Run, other: Run) -> None:
    a, b = (run.summary.model_dump(mode="json") for run in (one, other))
    flat = [json.dumps(each, sort_keys=True) for each in (a, b)]
    numbers = [np.array([float(n) for n in _numbers(each)]) for each in (a, b)]
    np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-6)
    assert len(flat[0].split('"')) == len(flat[1].split('"'))


def _numbers(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.parametrize("detector", ["l2", ["l2", "loss"], {"name": "l2", "per_class": True}])
def test_without_fitting_it_equals_a_full_scan(tmp_path, monkeypatch, detector):
    place = make_place(tmp_path, detector=detector)
    first = scanned(place, "first")
    new = grown(place)
    whole = scanned(place, "whole")
    rows = counting(monkeypatch)
    found = scanned(place, "since", since=first.path)
    assert sorted(rows) == [3, 7, 50, *range(N, N + 30)], "only what is new or changed was scored"
    same_tables(found, whole)
    same_summaries(found, whole)
    assert found.provenance["since"] == {"copied": N + 30 - new, "new_or_changed": new}
    assert found.beside.equals(whole.beside)
    assert found.summary.flagged == 15 != first.summary.flagged
    assert gate(found, policy={"max_flagged": None, "max_flagged_per_class": None}).passed
    assert is_run(found.path)


def test_detectors_are_those_that_were_fitted_there(tmp_path, monkeypatch):
    place = make_place(tmp_path, detector=["latent_label", FOREST, "l2"])
    first = scanned(place, "first")
    grown(place)
    monkeypatch.setattr(Isolation, "fit", lambda *arguments: pytest.fail("fitted again"))
    found = scanned(place, "since", since=first)
    old, new = first.scores, found.scores
    kept = [i for i in range(N) if i not in (3, 7, 50)]
    for name in ("score", "score_l2", "score_isolation_forest", "probability"):
        assert [old[name][i] for i in kept] == [new[name][i] for i in kept], name
    assert new["score"].null_count == 0
    assert found.summary.flagged == 15
    again = scanned(place, "again", since=found.path)
    assert again.provenance["since"]["new_or_changed"] == 0
    same_tables(again, found)


def test_labels_that_are_numbers(tmp_path):
    place = make_place(tmp_path)
    y = np.random.default_rng(3).normal(size=N).astype(np.float32)
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "target": "regression"}
    place.write(y=y)
    place.write_config(loss="mse", data=data)
    place.new_weights(1, "model.checkpoint=null")
    first = scanned(place, "first")
    place.write(y=y + (np.arange(N) == 9))
    found = scanned(place, "since", since=first)
    assert found.provenance["since"] == {"copied": N - 1, "new_or_changed": 1}
    same_tables(found, scanned(place, "whole"))


def test_the_cells_of_samples_that_are_as_they_were_stay(tmp_path):
    place = make_place(tmp_path)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5 * N, place.arrays["x"].shape[1])).astype(np.float32)
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "classes": ["ant", "bee"]}
    place.write_config(loss="bce_with_logits", data=data, model={"source": "logistic"})
    y = (x[:, :2] > x[:, :2].mean(0)).astype(np.float32)
    place.write(y=y, x=x)
    place.write_config(
        train={"epochs": 20, "learning_rate": 0.1, "output": "trained"}, detector="latent_label_set"
    )
    train(place.config("model.checkpoint=null"))
    place.write_config(model={"source": "logistic", "checkpoint": "trained/epoch-020.safetensors"})
    y = np.where(rng.random(y.shape) < 0.1, 1 - y, y)
    place.write(y=y, x=x)
    first = scanned(place, "first")
    assert sum(sum(one.wrong.values()) for one in first.summary.cells) > 3
    place.write(y=np.concatenate([y, y[:5]]), x=np.concatenate([x, x[:5]]))
    found = scanned(place, "since", since=first)
    assert found.provenance["since"]["copied"] == len(y)
    tables = (pa.concat_tables(issues_of(run)).to_pylist() for run in (first, found))
    doubted = [{(one["position"], one["cell"]) for one in table} for table in tables]
    assert doubted[0] <= doubted[1]
    assert {position for position, _ in doubted[1] - doubted[0]} <= set(range(len(y), len(y) + 5))


def test_samples_that_are_gone_or_in_another_place(tmp_path):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    place.write(**{name: values[:80] for name, values in place.arrays.items()})
    whole = scanned(place, "whole")
    found = scanned(place, "since", since=first)
    same_tables(found, whole)
    assert found.provenance["since"] == {"copied": 80, "new_or_changed": 0}


def test_a_sample_that_can_be_read_now_is_scored(tmp_path):
    place = make_place(tmp_path)
    x = np.array(place.arrays["x"])
    broken = x.copy()
    broken[5] = np.nan
    place.write(x=broken)
    first = scanned(place, "first")
    assert first.summary.quarantined == 1
    place.write(x=x)
    found = scanned(place, "since", since=first)
    assert found.provenance["since"] == {"copied": N - 1, "new_or_changed": 1}
    same_tables(found, scanned(place, "whole"))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["gradients.layers=all"], "gradients.layers: head there, all here"),
        (["detector=l1"], "detector[0].name: l2 there, l1 here"),
        (["loss={name: cross_entropy, label_smoothing: 0.1}"], "loss.label_smoothing"),
        (["gradients.layers=all", "detector=l1"], "detector[0].name: l2 there, l1 here"),
    ],
)
def test_other_options_are_refused_at_once(tmp_path, overrides, told):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    with pytest.raises(RunError, match="the earlier run was made otherwise") as error:
        scanned(place, "since", *overrides, since=first)
    assert told in str(error.value)
    assert str(error.value).count(" there, ") == len(overrides)
    assert not (place.folder / "since").exists()


def test_what_does_not_matter_for_scores_may_differ(tmp_path):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    found = scanned(place, "since", "budget=0.2", "gradients.batch_size=7", "protect=off", since=first)
    assert found.summary.flagged == 24
    assert found.provenance["since"]["new_or_changed"] == 0


def test_another_checkpoint(tmp_path):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    place.new_weights(1, "model.checkpoint=null")
    with pytest.raises(RunError, match=r"checkpoint: \w{12} there, \w{12} here"):
        scanned(place, "since", since=first)


def test_other_classes(tmp_path):
    place = make_place(tmp_path)
    first = scanned(place, "first", "data.classes=[a, b, c]")
    with pytest.raises(RunError, match="classes: a, b, c there, a, b, d here"):
        scanned(place, "since", "data.classes=[a, b, d]", since=first)


def test_runs_that_hold_no_state(tmp_path):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    (first.path / STATE).write_bytes(b"mine")
    with pytest.raises(RunError, match="not the state of detectors"):
        scanned(place, "since", since=first.path)
    (first.path / STATE).unlink()
    with pytest.raises(RunError, match="does not hold the state of its detectors"):
        scanned(place, "since", since=first.path)
    with pytest.raises(RunError, match="no such run directory"):
        scanned(place, "since", since=place.folder / "nowhere")


@pytest.mark.parametrize(
    ("sections", "options", "reason"),
    [
        ({"gradients": {"residual": "neighbours"}}, {}, "new samples become neighbours of old ones"),
        (
            {
                "model": {
                    "source": "mlp",
                    "hidden": [WIDTH],
                    "checkpoint": ["weights.safetensors", "z.safetensors"],
                }
            },
            {},
            "the model has 2 checkpoints",
        ),
        (
            {"model": {"source": "precomputed", "probabilities": "p.npy"}},
            {},
            "precomputed outputs are read without",
        ),
        ({}, {"folds": 2}, "folds are drawn from all samples"),
    ],
)
def test_where_it_is_not_possible_the_reason_is_told_first(tmp_path, sections, options, reason):
    place = make_place(tmp_path)
    shutil.copy(tmp_path / "weights.safetensors", tmp_path / "z.safetensors")
    np.save(tmp_path / "p.npy", np.full((N, 3), 1 / 3, np.float32))
    place.write_config(**sections)
    with pytest.raises(RunError, match=r"^--since is not possible here: ") as error:
        scanned(place, "since", since=place.folder / "first", **options)
    assert reason in str(error.value)
    assert not (place.folder / "since").exists()


def test_texts(tmp_path):
    rows = reviews()
    write_network(tmp_path / "net", "bert", head=2)
    write_rows(tmp_path / "t.jsonl", rows)
    text = (
        "data: {source: text, path: t.jsonl, text: text, label: label}\n"
        "model: {source: transformers, name: net}\ndetector: [l2, loss]\nbudget: 3\n"
    )
    config = parse_config(text, base=tmp_path)
    first = scan(config, output=tmp_path / "first")
    rows[3]["text"] += " good"
    write_rows(tmp_path / "t.jsonl", [*rows, *reviews(5)])
    found = scan(config, output=tmp_path / "since", since=first)
    assert found.provenance["since"] == {"copied": len(rows) - 1, "new_or_changed": 6}
    same_tables(found, scan(config, output=tmp_path / "whole"))


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)

    def draw(name):
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file)

    for i in range(20):
        draw(f"{'ant' if i % 2 else 'bee'}/{i:02d}.png")
    text = (
        "data: {source: image_folder, root: pictures, transform: {resize: 8}}\n"
        "model: {source: logistic}\ndetector: [l2, loss]\nbudget: 3\n"
        "train: {epochs: 2, output: trained}\n"
    )
    config = parse_config(text, base=tmp_path)
    train(config)
    config = parse_config(text.replace("logistic", "logistic, checkpoint: trained/*002*"), base=tmp_path)
    first = scan(config, output=tmp_path / "first")
    draw("bee/04.png")
    draw("ant/00.png")
    (tmp_path / "pictures/ant/01.png").rename(tmp_path / "pictures/bee/01.png")
    found = scan(config, output=tmp_path / "since", since=first)
    assert found.provenance["since"] == {"copied": 18, "new_or_changed": 3}
    same_tables(found, scan(config, output=tmp_path / "whole"))


def test_an_interrupted_one_is_resumed(tmp_path, monkeypatch):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    grown(place)
    whole = scanned(place, "whole")
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SHARE", 0)
    score, calls = Norm.score, []

    def interrupted(self, batch):
        calls.append(len(batch.rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, batch)

    small = "gradients.batch_size=8"
    with monkeypatch.context() as patched:
        patched.setattr(Norm, "score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scanned(place, "since", small, since=first)
    rows = counting(monkeypatch)
    found = scanned(place, "since", small, since=first, resume=True)
    assert len(rows) < 33, "what was scored before the interruption was not scored again"
    same_tables(found, whole)


def test_a_budget_that_is_tried_out(tmp_path):
    place = make_place(tmp_path)
    place.write_config(train={"epochs": 2, "output": "trained"})
    first = scanned(place, "first")
    grown(place)
    found = scanned(place, "since", "budget=benefit", since=first)
    whole = scanned(place, "whole", "budget=benefit")
    same_tables(found, whole)


def test_a_run_that_was_edited(tmp_path):
    place = make_place(tmp_path)
    first = scanned(place, "first")
    file = first.path / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"flagged": 0}))
    with pytest.raises(RunError, match="the earlier run is not as its scan wrote it"):
        scanned(place, "since", since=first.path)


def test_on_the_command_line(tmp_path):
    place = make_place(tmp_path)
    assert oga("scan", "config.yaml", "--output", "first", cwd=tmp_path).code == 0
    new = grown(place)
    done = oga("scan", "config.yaml", "--output", "next", "--since", "first", cwd=tmp_path)
    assert done.code == 0, done.err
    assert f"{new} of {N + 30} samples are new or changed since" in done.err
    done = oga(
        "scan", "config.yaml", "--set", "detector=l1", "--output", "x", "--since", "first", cwd=tmp_path
    )
    assert done.code == 2
    assert "detector[0].name: l2 there, l1 here" in done.err


def test_the_samples_whose_features_are_kept_stay_the_same_where_others_are_added():
    device = torch.device("cpu")
    before, after = (set(InputNotes(n, device).rows.tolist()) for n in (20_000, 21_000))
    assert len(before) == len(after) == PROBED
    assert len([row for row in after if row < 20_000 and row not in before]) == 0
    spread = torch.tensor(sorted(after)).double()
    assert abs(spread.mean() / 21_000 - 0.5) < 0.02
    assert InputNotes(100, device).rows.tolist() == list(range(100))
