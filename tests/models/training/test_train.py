import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

from command_line import oga
from ogacli.config import Config, parse_config
from ogacli.config.commands import train
from ogacli.errors import ConfigError, RunError
from ogacli.models.checkpoints import read_weights
from ogacli.models.training import train as trainer
from ogacli.models.training.accuracy import accuracy
from ogacli.models.training.folds import train_folds
from ogacli.models.training.history import is_training, read_history
from ogacli.models.training.loop import TrainOptions

YAML = """
data: {source: digits, split: train}
model: {source: mlp}
train: {epochs: 3, seed: 5}
output: runs/digits
"""


def config(folder: Path, *overrides: str) -> Config:
    return parse_config(YAML, overrides, base=folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_training_leaves_a_checkpoint_an_epoch_and_a_history(tmp_path):
    training = train(config(tmp_path))
    folder = tmp_path / "runs" / "digits-checkpoints"
    assert training.folder == folder
    assert names(folder) == [
        "epoch-001.safetensors",
        "epoch-002.safetensors",
        "epoch-003.safetensors",
        "history.json",
    ]
    assert names(tmp_path / "runs") == ["digits-checkpoints"], "no temporary folder is left"
    history = json.loads((folder / "history.json").read_text())
    assert history["schema_version"] == 1
    assert history["seed"] == 5
    assert history["samples"] == 1198
    assert history["skipped"] == {}
    assert set(history["versions"]) == {"ogacli", "python", "torch"}
    assert history["config"]["train"]["epochs"] == 3
    assert [epoch["number"] for epoch in history["epochs"]] == [1, 2, 3]
    assert history["epochs"][2]["loss"] < history["epochs"][0]["loss"]
    assert history["epochs"][2]["accuracy"] > history["epochs"][0]["accuracy"]
    assert is_training(folder)
    assert training.checkpoints[2] == folder / "epoch-003.safetensors"
    assert training.document()["checkpoints"] == names(folder)[:3]


def test_the_checkpoints_are_those_of_the_trained_model(tmp_path):
    training = train(config(tmp_path, "train.epochs=10"))
    test = config(tmp_path, "data.split=test", f"model.checkpoint={training.checkpoints[-1]}")
    samples = test.data.open()
    assert accuracy(test.model.load(samples).module, samples) > 0.8


def test_one_seed_gives_the_same_bytes(tmp_path):
    found = [
        train(config(tmp_path, f"train.output={tmp_path}/{name}", f"train.seed={seed}"))
        .checkpoints[-1]
        .read_bytes()
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    assert found[0] == found[1] != found[2]


def test_it_starts_from_the_checkpoint_that_is_named_for_it(tmp_path):
    first = train(config(tmp_path, "train.epochs=10")).checkpoints[-1]
    again = train(config(tmp_path, f"train.start={first}", f"train.output={tmp_path}/more"))
    fresh = train(config(tmp_path, f"train.output={tmp_path}/fresh"))
    assert again.epochs[0].loss < fresh.epochs[0].loss / 2


def test_the_checkpoint_that_will_be_scanned_need_not_exist_yet(tmp_path):
    named = train(config(tmp_path, "model.checkpoint=runs/digits-checkpoints/epoch-003.safetensors"))
    plain = train(config(tmp_path, f"train.output={tmp_path}/plain"))
    assert named.checkpoints[-1].read_bytes() == plain.checkpoints[-1].read_bytes()


def test_random_state_is_left_as_it_was(tmp_path):
    before = torch.get_rng_state()
    train(config(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_existing_training_is_replaced_only_when_asked(tmp_path):
    first = train(config(tmp_path))
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    with pytest.raises(RunError, match=r"digits-checkpoints: already exists") as caught:
        train(config(tmp_path, "train.epochs=1"))
    assert "--overwrite" in str(caught.value)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    train(config(tmp_path, "train.epochs=1"), overwrite=True)
    assert names(first.folder) == ["epoch-001.safetensors", "history.json"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    folder = tmp_path / "runs" / "digits-checkpoints"
    folder.mkdir(parents=True)
    (folder / "history.json").write_text("[]")
    with pytest.raises(RunError, match="something else stands there"):
        train(config(tmp_path), overwrite=True)
    assert (folder / "history.json").read_text() == "[]"


def test_a_training_with_something_else_in_it_is_left_alone(tmp_path):
    first = train(config(tmp_path, "train.epochs=1"))
    (first.folder / "best.pt").write_text("mine")
    with pytest.raises(RunError, match="something else stands there") as caught:
        train(config(tmp_path), overwrite=True)
    assert "best.pt" in str(caught.value)
    assert (first.folder / "best.pt").read_text() == "mine"
    (first.folder / "best.pt").unlink()
    train(config(tmp_path, "train.epochs=1"), overwrite=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_nothing(tmp_path, monkeypatch, error):
    calls = []

    def fails(module, path, **options):
        Path(path).write_bytes(b"half")
        calls.append(path)
        if len(calls) == 2:
            raise error

    first = train(config(tmp_path))
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    monkeypatch.setattr(import_module("ogacli.models.sources"), "save_weights", fails)
    with pytest.raises(error):
        train(config(tmp_path), overwrite=True)
    assert names(tmp_path / "runs") == ["digits-checkpoints"]
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before


def test_weights_are_float_and_finite(tmp_path):
    weights = read_weights(str(train(config(tmp_path)).checkpoints[-1]))
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["output=null"], r"train\.output: no output given"),
        (["train.output=s3://bucket/x"], r"train\.output: not a local folder"),
        (["model={source: precomputed, logits: l.npy}"], "model.source: this model cannot be trained"),
    ],
)
def test_what_cannot_be_trained(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train(config(tmp_path, *overrides))
    assert names(tmp_path) == []


def test_a_pattern_that_matches_nothing_does_not_lose_what_a_training_shows(tmp_path):
    """As when the checkpoints go elsewhere than the config says."""
    (tmp_path / "c.yaml").write_text(YAML.replace("mlp", "mlp, checkpoint: ck/epoch-*.safetensors"))
    run = oga("train", "c.yaml", "--set", "train={epochs: 2, output: other}", cwd=tmp_path)
    assert run.code == 0, run.err
    assert "trained on" in run.out
    assert "--set 'model.checkpoint=other/epoch-*.safetensors'" in run.out


def test_from_plain_values(tmp_path):
    given = config(tmp_path, "data.limit=60")
    samples, source, task = given.data.open(), given.model, given.loss
    options, output = TrainOptions(epochs=2, device="cpu", folds=2), tmp_path / "out"
    training = trainer.train(
        samples, source, task, options, output=output / "one", settings={"loss": "cross_entropy"}
    )
    assert [path.name for path in training.checkpoints] == ["epoch-001.safetensors", "epoch-002.safetensors"]
    assert read_history(output / "one")["config"] == {"loss": "cross_entropy"}
    found = train_folds(samples, source, task, options, output=output / "folds", settings={})
    assert [fold.held_out for fold in found.folds] == [30, 30]
    assert read_history(output / "folds")["config"] == {}
    with pytest.raises(RunError, match="already exists"):
        trainer.train(samples, source, task, options, output=output / "one", settings={})
