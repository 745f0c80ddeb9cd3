"""Features of a table are scaled, and missing ones filled in, by statistics of the training samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ogacli
from ogacli.config import Config, parse_config
from ogacli.config.commands import plan, scan, train, verify
from ogacli.data import Samples
from ogacli.errors import CheckpointError, ConfigError
from ogacli.models.perceptron import Standardized
from ogacli.models.sources.logistic import Logistic
from ogacli.models.sources.mlp import Mlp

pandas = pytest.importorskip("pandas")
N = 220


def frame() -> Any:
    """Two features that tell the classes, in units that differ by seven orders, and a constant."""
    x = np.random.default_rng(0).normal(size=(N, 2))
    columns = {"a": x[:, 0] * 1e4 + 5e5, "b": x[:, 1] * 1e-3, "c": 7.0, "y": (x.sum(1) > 0).astype(int)}
    found = pandas.DataFrame(columns)
    found.loc[::11, "b"] = np.nan
    return found


def config(folder: Path, model: str = "", epochs: int = 8) -> Config:
    if not (folder / "t.csv").exists():
        frame().to_csv(folder / "t.csv", index=False)
    return parse_config(f"""
data: {{source: table, path: {folder}/t.csv, label: y}}
model: {{source: mlp, hidden: [8], checkpoint: {folder}/ck/epoch-{epochs:03d}.safetensors{model}}}
detector: l2
train: {{epochs: {epochs}, batch_size: 16, output: {folder}/ck}}
verify: {{seeds: 2}}
output: {folder}/run
""")


def test_tables_are_standardized_by_default(tmp_path: Path) -> None:
    setting = config(tmp_path)
    training = train(setting)
    assert training.columns is not None
    assert training.columns.features == ("a", "b", "c")
    run = scan(setting)
    assert run.summary.quarantined == N // 11, "samples with missing values, as ever"
    assert run.summary.diagnosis.fit is not None
    assert run.summary.diagnosis.fit > 0.85
    unscaled = config(tmp_path, ", standardize: false")
    assert train(unscaled, overwrite=True).epochs[-1].accuracy < 0.7  # type: ignore[operator,union-attr]
    assert scan(unscaled, overwrite=True).summary.diagnosis.fit < 0.7  # type: ignore[operator]


@pytest.mark.parametrize(("impute", "of"), [("mean", np.nanmean), ("median", np.nanmedian), ("zero", None)])
def test_missing_values_are_filled_in(impute: str, of: Any, tmp_path: Path) -> None:
    setting = config(tmp_path, f", impute: {impute}", epochs=2)
    train(setting)
    weights = load_file(tmp_path / "ck" / "epoch-002.safetensors")
    b = frame()["b"].to_numpy(np.float32)
    expected = 0.0 if of is None else float(of(b.astype(np.float64)))
    assert weights["inputs.fill"][1] == pytest.approx(expected, rel=1e-3, abs=1e-9)
    filled = np.where(np.isnan(b), np.float32(expected), b)
    assert weights["inputs.center"][1] == pytest.approx(filled.mean(), rel=1e-3, abs=1e-9)
    assert weights["inputs.scale"][1] == pytest.approx(1 / filled.std(), rel=1e-3)
    assert weights["inputs.scale"][2] == 1, "a constant is not divided by its deviation"
    assert scan(setting).summary.quarantined == 0
    planned = plan(setting, overwrite=True)
    assert planned.columns is not None


def test_statistics_are_those_of_the_training_rows(tmp_path: Path) -> None:
    setting = config(tmp_path, ", impute: mean", epochs=1)
    train(parse_with(setting, tmp_path, folds=2))
    folder = tmp_path / "ck-folds"
    values = frame()["a"].to_numpy()
    for number in (1, 2):
        rest = np.delete(values, np.load(folder / f"fold-{number}.npy"))
        center = load_file(folder / f"fold-{number}.safetensors")["inputs.center"]
        assert float(center[0]) == pytest.approx(rest.mean(), rel=1e-6)
    run = scan(setting, folds=2)
    assert run.summary.quarantined == 0
    assert verify(setting, run).test > 0


def parse_with(setting: Config, folder: Path, folds: int) -> Config:
    from dataclasses import replace

    options = setting.train.model_copy(update={"folds": folds})
    resolved = dict(setting.resolved)
    resolved["train"] = resolved["train"] | {"folds": folds}
    return replace(setting, train=options, resolved=resolved)


def test_from_python() -> None:
    samples = Samples.of(frame(), labels="y")
    assert samples.columns is not None
    found = ogacli.scan(
        samples, Logistic(impute="median"), folds=2, train={"epochs": 2, "batch_size": 16}, detector="l2"
    )
    assert found.summary.quarantined == 0
    assert found.summary.columns == samples.columns


def test_all_layers_have_the_gradients_of_the_weights_alone(tmp_path: Path) -> None:
    setting = config(tmp_path, ", impute: mean", epochs=1)
    train(setting)
    run = scan(parse_all(setting), overwrite=True)
    assert set(run.provenance["parameters"]) == {
        "hidden1.0.weight",
        "hidden1.0.bias",
        "head.weight",
        "head.bias",
    }
    assert run.summary.quarantined == 0


def parse_all(setting: Config) -> Config:
    from dataclasses import replace

    return replace(setting, gradients=setting.gradients.model_copy(update={"layers": "all"}))


def test_older_checkpoints_go_on_to_work(tmp_path: Path) -> None:
    """A checkpoint without the layer is loaded into a network without it."""
    setting = config(tmp_path, epochs=1)
    path = tmp_path / "ck" / "epoch-001.safetensors"
    path.parent.mkdir()
    weights = {
        "hidden1.0.weight": torch.randn(8, 3),
        "hidden1.0.bias": torch.zeros(8),
        "head.weight": torch.randn(2, 8),
        "head.bias": torch.zeros(2),
    }
    save_file(weights, path)
    assert scan(setting).summary.scored == N - N // 11
    for option, message in (
        ("standardize: true", r"trained with `standardize: false`[\s\S]*set `standardize: false`"),
        (
            "impute: mean",
            r"trained without `impute`\n  expected: with `impute: mean`\n  next: leave out `impute`",
        ),
    ):
        with pytest.raises(CheckpointError, match=message):
            scan(config(tmp_path, f", {option}", epochs=1), overwrite=True)


@pytest.mark.parametrize(
    ("trained", "scanned", "message"),
    [
        (", impute: mean", "", r"trained with `impute`\n  expected: without it\n  next: set `impute: mean`"),
        (", standardize: false", ", standardize: true", r"next: set `standardize: false`"),
        ("", ", standardize: false", r"next: set `standardize: true`"),
    ],
)
def test_other_options_than_in_training_are_refused(
    trained: str, scanned: str, message: str, tmp_path: Path
) -> None:
    train(config(tmp_path, trained, epochs=1))
    with pytest.raises(CheckpointError, match=message):
        scan(config(tmp_path, scanned, epochs=1))


def test_other_inputs_are_left_as_they_are() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    plain = Samples.of(x, labels=[0, 1] * 10)
    names = [name for name, _ in Mlp().network(fit_of(plain)).named_buffers()]
    assert names == []
    asked = Mlp(standardize=True).network(fit_of(plain))
    assert [name for name, _ in asked.named_buffers()] == ["inputs.center", "inputs.scale", "inputs.fill"]
    with pytest.raises(ConfigError, match=r"model.impute: only features of tables and arrays"):
        Mlp(impute="mean").prepare(Samples.of(["a", "b"], labels=[0, 1]))


def fit_of(samples: Samples) -> Any:
    from ogacli.models.sources import Fit

    return Fit.of(samples)


def test_infinite_values_are_quarantined_all_the_same() -> None:
    samples = Samples.of(pandas.DataFrame({"a": [0.5, np.inf, np.nan, 2.5], "y": [0, 1, 0, 1]}), labels="y")
    prepared = Logistic(impute="zero").prepare(samples)
    batch = prepared.read([0, 1, 2, 3])
    assert batch.rows.tolist() == [0, 2, 3]
    assert sorted(samples.read([0, 1, 2, 3]).quarantined) == [1, 2], "the samples themselves are unchanged"


def test_the_layer_computes_what_it_says() -> None:
    layer = Standardized(70)
    inputs = torch.randn(50, 70, generator=torch.Generator().manual_seed(0)) * 3 + 5
    inputs[::7, 3] = torch.nan
    assert torch.equal(layer(inputs)[:, :3], inputs[:, :3]), "nothing is changed before"
    layer.fit(inputs, scale=True, impute="mean")
    found = layer(inputs)
    assert torch.isfinite(found).all()
    assert torch.allclose(found.mean(0), torch.zeros(70), atol=1e-5)
    assert torch.allclose(found.std(0, unbiased=False), torch.ones(70), atol=1e-5)
