"""What a user may do wrong, through the command line: one clear message, exit 2, nothing half-written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import Done, oga
from ogacli.models.checkpoints import read_weights
from small_scans import WIDTH, H, K, N, Place, contents, make_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


def refused(place: Place, *expected: str, command: tuple[object, ...] = ("scan", "config.yaml")) -> str:
    """The message of a command that is refused and changes nothing."""
    before = contents(place.folder)
    done = oga(*command, cwd=place.folder)
    assert done.code == 2, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "bug in oga" not in done.err
    assert done.err.startswith("error: ")
    for text in expected:
        assert text in done.err
    assert contents(place.folder) == before
    assert sorted(path.name for path in place.folder.iterdir()) == sorted(
        {Path(name).parts[0] for name in before}
    ), "not even an empty folder is left"
    return done.err


# --- the config --------------------------------------------------------------------------------------------


def test_yaml_that_does_not_parse(place):
    with place.config_file.open("a") as file:
        file.write("train: {epochs: 3\n")
    refused(place, "config.yaml:16: not valid YAML")


def test_wrong_keys_are_told_all_at_once(place):
    place.config_file.write_text(
        "data:\n  source: arrays\n  pth: data.npz\nmodel: {source: mlp, hiden: [3]}\nbuget: 0.1\n"
    )
    err = refused(
        place,
        "config.yaml:3: data.pth: unknown key; did you mean 'path'?",
        "data.y: missing",
        "config.yaml:4: model.hiden: unknown key; did you mean 'hidden'?",
        "config.yaml:5: buget: unknown key; did you mean 'budget'?",
    )
    assert err.count("error:") == 1


def test_a_wrong_override(place):
    refused(
        place,
        "--set: detector.name: unknown detector",
        command=("scan", "config.yaml", "--set", "detector.name=l9"),
    )
    refused(place, "--set: not an override", command=("scan", "config.yaml", "--set", "budget"))


def test_no_such_config(place):
    refused(place, "nowhere.yaml: no such config file", "oga init", command=("scan", "nowhere.yaml"))
    refused(place, "no such config file", command=("train", "nowhere.yaml"))


def test_an_automatic_budget_without_classes(place):
    place.write(y=np.eye(K, dtype=np.float32)[place.arrays["y"]])
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y"}
    place.write_config(data=data, loss="bce_with_logits", budget="auto", detector="l2")
    refused(place, "budget: wrong labels can be counted only where each sample has one class", "a share")


# --- the checkpoint ----------------------------------------------------------------------------------------


def weights(place: Place) -> dict[str, torch.Tensor]:
    return read_weights(str(place.folder / "weights.safetensors"))


def with_checkpoint(place: Place, state: object, **options: object) -> None:
    torch.save(state, place.folder / "other.pt")
    place.write_config(model={"source": "mlp", "hidden": [WIDTH], "checkpoint": "other.pt"}, **options)


def test_no_checkpoint_at_all(place):
    place.write_config(model={"source": "mlp"})
    refused(place, "model.checkpoint: the model has no checkpoint", "oga train")


def test_a_checkpoint_that_is_not_there(place):
    place.write_config(model={"source": "mlp", "checkpoint": "nowhere.pt"})
    refused(place, "nowhere.pt: no such checkpoint")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state.pop("head.bias"), "1 missing: head.bias"),
        (lambda state: state.update(extra=torch.zeros(2)), "1 unexpected: extra"),
        (
            lambda state: state.update({"hidden1.0.weight": torch.zeros(WIDTH, H + 1)}),
            f"hidden1.0.weight [{WIDTH}, {H + 1}], not [{WIDTH}, {H}]",
        ),
    ],
    ids=["missing", "unexpected", "another shape"],
)
def test_tensors_that_do_not_fit_are_named(place, change, expected):
    state = weights(place)
    change(state)
    with_checkpoint(place, state)
    refused(place, "other.pt: the checkpoint does not fit the model", expected)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_the_usual_prefixes_are_understood(place, prefix):
    assert oga("scan", "config.yaml", "--output", "plain", cwd=place.folder).code == 0
    with_checkpoint(place, {"state_dict": {prefix + name: t for name, t in weights(place).items()}})
    done = oga("scan", "config.yaml", "--output", "wrapped", cwd=place.folder)
    assert done.code == 0, done.err
    scores = [(place.folder / name / "scores.parquet").read_bytes() for name in ("plain", "wrapped")]
    assert scores[0] == scores[1]


class Runs:
    """What unpickles into running a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("way", ["torch.save", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(place, tmp_path, way):
    target = tmp_path / "it-ran"
    state = {"head.weight": Runs(target)}
    with_checkpoint(place, state)
    if way == "pickle":
        (place.folder / "other.pt").write_bytes(pickle.dumps(state))
    refused(place, "other.pt: not a plain state dict", "would run their code")
    assert not target.exists()


def test_what_is_no_checkpoint(place):
    place.write_config(model={"source": "mlp", "checkpoint": "config.yaml"})
    refused(place, "config.yaml: not a checkpoint")


# --- the data ----------------------------------------------------------------------------------------------


def test_labels_out_of_range(place):
    y = place.arrays["y"]
    y[[7, 8]] = -1
    place.write(y=y)
    refused(place, "sample '7'", "label")


def test_more_classes_than_outputs(place):
    y = place.arrays["y"]
    y[3] = K + 1
    place.write(y=y)
    refused(
        place,
        "more classes in the data than the checkpoint's head has outputs",
        f"found: {K} outputs",
        f"expected: at least {K + 2}",
    )


def test_fewer_labels_than_samples(place):
    place.write(y=place.arrays["y"][:-1])
    refused(place, f"{N - 1} labels but {N} rows")


def test_repeated_ids(place):
    ids = np.arange(N)
    ids[[5, 9]] = 1
    place.write(ids=ids)
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "ids": "ids"}
    place.write_config(data=data)
    refused(place, "1 ids occur more than once", "found: '1'", "expected: unique ids")


@pytest.mark.parametrize("name", ["data.npz", "z"])
def test_a_missing_file_or_array(place, name):
    if name == "z":
        place.write_config(data={"source": "arrays", "path": "data.npz", "x": "z", "y": "y"})
    else:
        (place.folder / name).unlink()
        refused(place, "data.npz", "no such file")
        return
    refused(place, "data.npz", "z")


# --- the output --------------------------------------------------------------------------------------------


def test_an_existing_output(place):
    assert oga("scan", "config.yaml", cwd=place.folder).code == 0
    refused(place, "run: already exists", "add --overwrite")
    refused(place, "run: already exists", command=("scan", "config.yaml", "--dry-run"))
    for name in ("clean.csv", "clean.npz"):
        (place.folder / name).write_text("mine")
    refused(place, "clean.npz: already exists", command=("trim", "run", "--to", "clean.npz"))
    refused(place, "clean.csv: already exists", command=("trim", "run", "--manifest", "clean.csv"))
    report = ("report", "run", "--format", "md", "--output", "clean.csv")
    refused(place, "clean.csv: already exists", command=report)
    assert oga("scan", "config.yaml", "--overwrite", cwd=place.folder).code == 0


def test_an_output_that_is_not_ours(place):
    (place.folder / "run").mkdir()
    (place.folder / "run" / "thesis.txt").write_text("precious")
    refused(place, "something else stands there", command=("scan", "config.yaml", "--overwrite"))


def test_an_output_is_looked_at_before_folds_are_trained(place):
    (place.folder / "run.partial").mkdir()
    (place.folder / "run.partial" / "thesis.txt").write_text("precious")
    folds = ("scan", "config.yaml", "--folds", "2")
    refused(place, "run.partial: something else stands where", command=folds)
    assert not (place.folder / "run-checkpoints-folds").exists()


def test_a_training_that_exists(place):
    train = ("train", "config.yaml", "--set", "train.epochs=1")
    assert oga(*train, "--set", "model.checkpoint=null", cwd=place.folder).code == 0
    refused(place, "run-checkpoints: already exists", command=train)


# --- the other commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("report", "nowhere"), "nowhere: no such run directory"),
        (("gate", "nowhere"), "nowhere: no such run directory"),
        (("trim", "nowhere", "--to", "clean.csv"), "nowhere: no such run directory"),
        (("verify", "config.yaml"), "run: no such run directory"),
        (("gate", "run", "--max-flagged", "lots"), "--max-flagged: not a limit"),
        (("gate", "run", "--baseline", "config.yaml"), "config.yaml: no such run directory"),
        (("gate", "run", "--policy", "nowhere.yaml"), "nowhere.yaml: no such policy file"),
        (("report", "run", "--format", "pdf"), "unknown report format 'pdf'"),
        (("trim", "run", "--to", "clean.docx"), "the format cannot be told from the name"),
        (("trim", "run", "--to", "c.npz", "--budget", "x"), "--budget: not a budget"),
        (("trim", "run", "--to", "c.npz", "--decisions", "d.csv"), "d.csv: no such file"),
        (("scan", "run/config.yaml"), "no output given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_of_other_commands(place, command, expected):
    if "nowhere" not in command and command[0] != "verify":
        assert oga("scan", "config.yaml", cwd=place.folder).code == 0
    refused(place, expected, command=command)


# --- what is quarantined -----------------------------------------------------------------------------------


def told_everywhere(folder: Path, done: Done, count: int, reason: str) -> None:
    """Scan, summary, gate and report say it; the scan itself succeeds."""
    assert done.code == 0, done.err
    assert f"{count} could not be scored (quarantined)" in done.out
    assert f"{count} sample" in done.err
    assert "could not be scored (quarantined)" in done.err
    summary = json.loads((folder / "run/summary.json").read_text())
    assert summary["quarantined"] == count
    assert "could not be scored" in " ".join(summary["diagnosis"]["warnings"])
    gate = oga("gate", "run", "--json", cwd=folder)
    conditions = {one["name"]: one for one in json.loads(gate.out)["conditions"]}
    assert f"{count} of" in conditions["max_quarantined"]["found"]
    assert gate.code == 1
    for text in (
        (folder / "run/report.html").read_text(),
        oga("report", "run", "--format", "md", cwd=folder).out,
        oga("report", "run", "--format", "json", cwd=folder).out,
    ):
        assert reason in text


def test_an_unreadable_picture(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "photos" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos/dog/5.png").write_bytes(b"no picture")
    place = Place(tmp_path)
    place.config_file.write_text(
        "data: {source: image_folder, root: photos}\n"
        "model: {source: logistic, checkpoint: weights.safetensors}\n"
        "detector: l2\noutput: run\n"
    )
    place.new_weights(0, "model.checkpoint=null")
    told_everywhere(tmp_path, oga("scan", "config.yaml", cwd=tmp_path), 1, "dog/5.png")


def test_gradients_that_are_not_finite(place):
    logits = np.zeros((N, K), dtype=np.float32)
    logits[[4, 9]] = np.nan
    np.save(place.folder / "z.npy", logits)
    place.write_config(model={"source": "precomputed", "logits": "z.npy"})
    told_everywhere(place.folder, oga("scan", "config.yaml", cwd=place.folder), 2, "non-finite gradient")
