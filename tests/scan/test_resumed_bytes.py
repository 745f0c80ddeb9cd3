"""A resumed scan writes the same bytes: any detector, checkpoints, folds, precision and interruption."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ogacli.detectors as room
from ogacli.base.registry import described
from ogacli.config import Config
from ogacli.config.commands import scan, train
from ogacli.config.folds import folded
from ogacli.scan.scorers import Scorers
from small_scans import K, Place, contents, make_place

BATCH = ("gradients.batch_size=16", "data.workers=0")
SAME = (
    "scores.parquet",
    "summary.json",
    "beside.parquet",
    "gradient_map.parquet",
    "previews.parquet",
    "issues.parquet",
)
MORE: dict[str, list[dict[str, Any]]] = {
    "isolation_forest": [{"trees": 20, "subsample": 32}, {"trees": 10, "per_class": True}],
    "ensemble": [
        {"of": ["l2", "gaussian"], "compared": 50},
        {"of": [{"name": "isolation_forest", "trees": 10}]},
    ],
    "gaussian": [{"projection": 7, "fit_samples": 50}],
    "pyod": [{"model": "KNN", "fit_samples": 50}],
    "l2": [{"per_class": True}],
}
"""Other options than the defaults."""
LOSSES = {"latent_label_set": "bce_with_logits", "latent_target": "mse"}
"""Of detectors that judge another kind of label than one class."""
OTHER_SAMPLES = ("latent_boxes", "latent_mask", "latent_tags")
"""Detectors whose samples have boxes, masks or tags, which these arrays have not."""
SETTINGS = ("one", "several", "folds", "neighbours", "bfloat16", "all layers")


class Killed(BaseException):
    """What nothing in the program handles."""


def cases() -> list[Any]:
    found = []
    for name in (one for one in room.detectors.names() if one not in OTHER_SAMPLES):
        found += [{"name": name}, *({"name": name} | options for options in MORE.get(name, ()))]
    return found


def name_of(case: Any) -> str:
    return "-".join(f"{value}" for value in case.values()) if isinstance(case, dict) else str(case)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    resume = import_module("ogacli.scan.earlier.resume")
    monkeypatch.setattr(resume, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(resume, "_SHARE", 0)
    return make_place(tmp_path / "place")


def config_of(place: Place, case: dict[str, Any], setting: str) -> Config:
    """The scan of a detector beside another one, whose state and scores are saved with it."""
    options = {name: value for name, value in case.items() if name != "name"}
    resolved = described(room.detectors.get(case["name"]).model_validate(options), "name")
    loss = LOSSES.get(case["name"], "cross_entropy")
    if loss != "cross_entropy":
        one_hot = np.eye(K, dtype=np.float32)
        place.write(y=one_hot[place.arrays["y"]], truth=one_hot[place.arrays["truth"]])
        place.write_config(
            data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "truth": "truth"}
            | ({"classes": list("abc")} if loss == "bce_with_logits" else {"target": "regression"})
        )
    place.write_config(
        detector=[resolved, "loss"] if loss == "cross_entropy" else [resolved, "l2"], loss=loss
    )
    more = {
        "neighbours": ["gradients.residual=neighbours", "gradients.neighbours={count: 5}"],
        "bfloat16": ["gradients.precision=bfloat16"],
        "all layers": ["gradients.layers=all"],
    }.get(setting, [])
    if setting in ("several", "bfloat16"):
        folder = place.folder / "epochs"
        if not folder.exists():
            train(place.config("train={epochs: 2, batch_size: 16}", f"train.output={folder}"))
        more.append(f"model.checkpoint={folder}/epoch-*.safetensors")
    config = place.config(*BATCH, *more)
    return folded(place.config(*BATCH, "train.epochs=1"), 2) if setting == "folds" else config


def interrupted(place: Place, config: Config, error: type[BaseException], call: int, after: bool) -> bool:
    """Whether a scan was interrupted at the scoring of a batch, before or after it."""
    score, calls = Scorers.score, []

    def scored(self: Scorers, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == call and not after:
            raise error
        found = score(self, batch)
        if len(calls) == call:
            raise error
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scorers, "score", scored)
        try:
            scan(config, output=place.folder / "out", resume=True)
        except error:
            return True
    return False


def check(place: Place, config: Config, whole: dict[str, bytes], stops: list[tuple[Any, int, bool]]) -> None:
    for error, call, after in stops:
        if not interrupted(place, config, error, call, after):
            break
    else:
        scan(config, output=place.folder / "out", resume=True)
    found = contents(place.folder / "out")
    different = [name for name in SAME if found[name] != whole[name]]
    assert not different
    for path in (place.folder / "out").iterdir():
        path.unlink()
    (place.folder / "out").rmdir()
    assert not list(place.folder.glob("out.*"))


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_any_detector(place, case):
    """Of two checkpoints, interrupted by a signal while held batches are scored, and killed later."""
    config = config_of(place, case, "several")
    whole = contents(scan(config, output=place.folder / "whole").path)
    check(
        place, config, whole, [(KeyboardInterrupt, 3, True), (Killed, 4, False), (KeyboardInterrupt, 5, True)]
    )


@pytest.mark.parametrize("setting", ["one", "several", "folds"])
def test_what_is_looked_for_beside_labels(place, setting):
    arrays = place.arrays
    np.savez(place.folder / "test.npz", x=arrays["x"][:30], y=arrays["y"][:30])
    place.write_config(
        look_for=["near_duplicates", "far"],
        against={"source": "arrays", "path": "test.npz", "x": "x", "y": "y"},
    )
    config = config_of(place, {"name": "latent_label"}, setting)
    whole = scan(config, output=place.folder / "whole")
    assert whole.summary.leaks == 30
    check(place, config, contents(whole.path), [(KeyboardInterrupt, 3, True), (Killed, 4, False)])


@pytest.mark.slow
@pytest.mark.parametrize("held", [True, False], ids=["held", "not held"])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_any_detector_in_any_setting(place, monkeypatch, case, setting, held):
    if not held:
        monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
        monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_KEPT_BYTES", 0)
    config = config_of(place, case, setting)
    whole = contents(scan(config, output=place.folder / "whole").path)
    for error in (KeyboardInterrupt, Killed):
        for call in (1, 2, 5, 8, 9, 14):
            check(place, config, whole, [(error, call, call % 2 == 0)])
