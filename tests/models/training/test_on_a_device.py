"""Training, folds and ``verify`` on a device: the weights and accuracies of the CPU, up to rounding.

Each test runs on the stand-in of ``stand_in.py``; with ``-m gpu`` on a GPU as well.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ogacli
from ogacli.models.checkpoints import read_weights
from small_training import TRAIN, N, Small, samples


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd"}, {"precision": "bfloat16"}])
def test_training_gives_the_weights_of_the_cpu(options: Any, device: torch.device, tmp_path: Path) -> None:
    weights = []
    for name in ("cpu", str(device)):
        given = TRAIN | options | {"device": name}
        training = ogacli.train(samples(), Small, output=tmp_path / name.replace(":", "-"), options=given)
        weights.append(read_weights(str(training.checkpoints[-1])))
    rough = 0.05 if options.get("precision") == "bfloat16" else 1e-4
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=rough, atol=rough)


def test_the_same_training_again_gives_the_same_bits(device: torch.device, tmp_path: Path) -> None:
    once, again = (
        ogacli.train(samples(), Small, output=tmp_path / name, options=TRAIN | {"device": str(device)})
        for name in ("once", "again")
    )
    assert once.checkpoints[-1].read_bytes() == again.checkpoints[-1].read_bytes()


def test_folds_are_trained_and_scored_on_the_device(device: torch.device) -> None:
    scores = [
        ogacli.scan(
            samples(),
            Small,
            folds=3,
            train=TRAIN | {"device": name},
            device=name,
            detector="l2",
            workers=0,
        ).table()["score"]
        for name in ("cpu", str(device))
    ]
    np.testing.assert_allclose(scores[1].to_numpy(), scores[0].to_numpy(), rtol=1e-3)


def test_verify_trains_on_the_device(device: torch.device, tmp_path: Path) -> None:
    training = ogacli.train(samples(), Small, output=tmp_path / "trained", options=TRAIN)
    run = ogacli.scan(
        samples(), Small, checkpoint=training.checkpoints[-1], device=str(device), detector="l2", budget=6
    ).save(tmp_path / "run")
    found = [
        ogacli.verify(
            samples(),
            run,
            Small,
            train=TRAIN | {"device": name},
            options={"seeds": 2},
            test=samples(),
            workers=0,
        )
        for name in ("cpu", str(device))
    ]
    for one, other in zip(found[0].arms, found[1].arms, strict=True):
        assert (one.name, one.samples) == (other.name, other.samples)
        np.testing.assert_allclose(other.accuracies, one.accuracies, atol=2.5 / N)
