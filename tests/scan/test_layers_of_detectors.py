"""Detectors that look at some of the selected layers, beside one another in one scan."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogacli.config import parse_config
from ogacli.config.commands import plan, scan
from ogacli.errors import ConfigError, GradientError
from ogacli.gradients.view import View
from small_scans import Place, make_place

FOREST = {"name": "isolation_forest", "trees": 20, "subsample": 16, "seed": 3}
GAUSSIAN = {"name": "gaussian", "projection": 8}
FIRST = ["hidden1.*"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


def test_a_view_is_some_of_the_columns() -> None:
    found = View({"a": 3, "b": 4, "c": 2, "d": 5}, ["d", "b"])
    assert found.among_all(torch.arange(9)).tolist() == [3, 4, 5, 6, 9, 10, 11, 12, 13]
    assert found.among_all(torch.tensor([8, 0])).tolist() == [13, 3]


@pytest.mark.parametrize("in_memory", [True, False])
def test_each_finds_what_it_would_find_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """Whether the gradients are held as factors, or asked as they come."""
    if not in_memory:
        monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    kinds: list[dict[str, Any]] = [{"name": "l2"}, {"name": "l1"}, FOREST]
    if in_memory:
        kinds.append(GAUSSIAN)  # nobody knows which coordinates it will ask for
    place.write_config(
        detector=["l2", *({**one, "layers": layers} for one in kinds for layers in (FIRST, "head"))],
        gradients={"layers": "all", "batch_size": 32},
    )
    run = scan(place.config(), output=place.folder / "together")
    names = [f"{one['name']}_{layers}" for one in kinds for layers in ("hidden1", "head")]
    assert list(run.summary.detectors) == ["l2", *names]
    for layers, named in ((FIRST, "hidden1"), (["head"], "head")):
        place.write_config(detector=kinds, gradients={"layers": layers, "batch_size": 32})
        alone = scan(place.config(), output=place.folder / named).scores
        for one in kinds:
            column = "score" if one["name"] == "l2" else f"score_{one['name']}"
            ours = run.scores[f"score_{one['name']}_{named}"].to_numpy()
            np.testing.assert_allclose(ours, alone[column].to_numpy(), rtol=1e-5)
    assert run.summary.consensus is not None
    agreement = run.scores["agreement"].to_numpy()
    assert 0 < agreement.max() <= 1
    whole = run.scores["score"].to_numpy() ** 2
    parts = [run.scores[f"score_l2_{name}"].to_numpy() ** 2 for name in ("hidden1", "head")]
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-5)


@pytest.mark.parametrize(
    ("selected", "layers", "message", "kind"),
    [
        ("head", "head", "cannot choose among layers", ConfigError),
        (["head"], FIRST, "none of the detector's layers", ConfigError),
        ("all", "layer9.*", "no parameter of the network", GradientError),
    ],
)
def test_layers_that_are_not_there(place: Place, selected: Any, layers: Any, message: str, kind: Any) -> None:
    place.write_config(detector=[{"name": "l2", "layers": layers}], gradients={"layers": selected})
    with pytest.raises(kind, match=message):
        plan(place.config(), output=place.folder / "run")


def test_one_of_an_ensemble_has_no_layers_of_its_own() -> None:
    text = (
        "data: {source: digits}\nmodel: {source: logistic}\n"
        "detector: {name: ensemble, of: [{name: l2, layers: head}]}\n"
    )
    with pytest.raises(ConfigError, match="not for one of several"):
        parse_config(text)
