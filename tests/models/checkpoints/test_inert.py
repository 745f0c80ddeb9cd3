"""Checkpoints of training scripts, which keep objects beside the weights."""

import argparse
import enum
import functools
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ogacli.errors import CheckpointError
from ogacli.models.checkpoints import put_weights, read_weights


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            OrderedDict(body=nn.Linear(4, 5), norm=nn.BatchNorm1d(5), act=nn.ReLU(), head=nn.Linear(5, 3))
        )


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class Colour(enum.Enum):
    RED = 1


class Settings(dict[str, Any]):
    """A dictionary of a class of its own, with attributes."""


class Tall(list[int]):
    pass


class Outer:
    class Inner:
        def __init__(self) -> None:
            self.size = 3


def lightning(path: Path, prefix: str = "net.", **extra: Any) -> str:
    """What Lightning writes, as far as it matters here."""
    settings = Settings(width=5)
    settings.note = "x"  # type: ignore[attr-defined]
    document = {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {prefix + name: value for name, value in net(1).state_dict().items()}
        | {"criterion.weight": torch.ones(3)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None}},
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "config": settings,
            "sizes": Tall([1, 2]),
            "colour": Colour.RED,
            "where": path,
            "inner": Outer.Inner(),
            "builder": functools.partial(nn.Linear, 4),
            "number": np.float64(3.0),
            "array": np.arange(3),
            "kinds": {Colour.RED: {Outer.Inner}},
        }
        | extra,
    }
    torch.save(document, path)
    return str(path)


def test_a_lightning_checkpoint_gives_its_network(tmp_path: Path) -> None:
    other = net(2)
    path = lightning(tmp_path / "last.ckpt")
    put_weights(other, read_weights(path), path)
    assert same(other, net(1))


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    path = lightning(tmp_path / "last.ckpt", hook=Runs(tmp_path / "ran"))
    weights = read_weights(path)
    assert "net.head.weight" in weights
    assert not (tmp_path / "ran").exists()


def test_classes_that_no_longer_exist_do_not_matter(tmp_path: Path) -> None:
    """As on a machine that does not have the training script."""
    path = lightning(tmp_path / "last.ckpt")
    code = (
        "from ogacli.models.checkpoints import read_weights; "
        f"print(sorted(read_weights({path!r}))[0]); import sys; assert 'test_inert' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "criterion.weight", done.stderr


def test_a_script_s_arguments_beside_the_weights(tmp_path: Path) -> None:
    arguments = argparse.Namespace(lr=0.1, output=Path("x"))
    torch.save({"state_dict": net(1).state_dict(), "args": arguments}, tmp_path / "w.pth.tar")
    other = net(2)
    path = str(tmp_path / "w.pth.tar")
    put_weights(other, read_weights(path), path)
    assert same(other, net(1))


def test_objects_in_files_of_unknown_origin_are_still_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": net(1).state_dict(), "args": Colour.RED}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"not a plain state dict: it holds Python objects"):
        read_weights(str(tmp_path / "w.pt"))


def test_a_lightning_checkpoint_whose_weights_are_objects(tmp_path: Path) -> None:
    torch.save({"pytorch-lightning_version": "2", "state_dict": Settings(a=1)}, tmp_path / "w.ckpt")
    with pytest.raises(CheckpointError, match="no state dict in the file"):
        read_weights(str(tmp_path / "w.ckpt"))


def test_two_networks_in_one_file_are_not_chosen_from(tmp_path: Path) -> None:
    both = {
        f"{part}.{name}": value
        for part in ("student", "teacher")
        for name, value in net().state_dict().items()
    }
    with pytest.raises(
        CheckpointError, match=r"does not fit the model[\s\S]*missing: body.weight[\s\S]*unexpected"
    ):
        put_weights(net(), both, "w.pt")


def test_an_unknown_tensor_of_the_network_itself_is_told() -> None:
    weights = {f"net.{name}": value for name, value in net(1).state_dict().items()}
    weights |= {"net.extra.weight": torch.ones(1), "loss.weight": torch.ones(3)}
    with pytest.raises(CheckpointError, match=r"1 unexpected: extra\.weight"):
        put_weights(net(), weights, "w.pt")


def test_a_part_of_a_part(tmp_path: Path) -> None:
    weights = {f"module.backbone.net.{name}": value for name, value in net(1).state_dict().items()}
    other = net(2)
    put_weights(other, weights, "w.pt")
    assert same(other, net(1))
