"""Tags of words and boxes of objects on a device: the scores of the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ogacli
from ogacli.config import load_config
from ogacli.config.commands import scan
from tests.conftest import named
from tests.scan.test_boxes import place  # noqa: F401 - a fixture
from tests.scan.test_on_a_device import same
from tests.scan.test_tags import CLASSES, Tagger, sentences


@pytest.mark.parametrize("layers", ["layer.*", "all"])
def test_tags(layers: str, device: torch.device) -> None:
    codes, _, given = sentences(40)
    samples = ogacli.Samples.of(codes.numpy(), labels=given.numpy(), classes=CLASSES)
    several = ["latent_tags", "l2", "l1", "isolation_forest"]
    same(samples, Tagger, device, layers=layers, detector=several, loss="word_cross_entropy")


@pytest.mark.gpu
def test_boxes(place: Path, tmp_path: Path) -> None:  # noqa: F811
    """Not on the stand-in: torchvision allocates memory on the device in C++."""
    device = named("cuda")
    tables: list[Any] = []
    for name in ("cpu", str(device)):
        given = [f"gradients.device={name}", f"output={tmp_path}/{name.replace(':', '-')}", "data.workers=0"]
        tables.append(scan(load_config(place / "config.yaml", given)).scores)
    for column in [name for name in tables[0].column_names if name.startswith("score")]:
        expected, found = (table[column].to_numpy() for table in tables)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6, err_msg=column)
