"""Labels of several annotators, tags of words and boxes of objects on a device: the results of the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import ogacli
from device_scans import annotated, pictures, same
from ogacli.config import load_config
from ogacli.config.commands import scan
from small_networks import Pictures, seeded_weights
from small_tags import CLASSES, Tagger, sentences


@pytest.mark.parametrize("layers", ["layer.*", "all"])
def test_tags(layers: str, device: torch.device) -> None:
    codes, _, given = sentences(40)
    samples = ogacli.Samples.of(codes.numpy(), labels=given.numpy(), classes=CLASSES)
    several = ["latent_tags", "l2", "l1", "isolation_forest"]
    same(samples, Tagger, device, layers=layers, detector=several, loss="word_cross_entropy")


@pytest.mark.parametrize("layers", ["head", "all"])
def test_annotators(layers: str, device: torch.device) -> None:
    same(annotated(36), Pictures, device, layers=layers, detector=["latent_consensus", "l2"])


def test_what_is_looked_for(device: torch.device) -> None:
    """Of two equal pictures one is a near-duplicate."""
    given = pictures()
    found: list[Any] = []
    for name in ("cpu", str(device)):
        options: dict[str, Any] = {"look_for": ["near_duplicates", "far"], "workers": 0, "device": name}
        found.append(ogacli.scan(given, seeded_weights(Pictures), detector="l2", **options).table())
    for table in found:
        # Which one of the two stays depends on the last digit of their scores.
        pairs = [{row, int(of)} for row, of in enumerate(table["near_duplicate_of"].to_pylist()) if of]
        assert pairs == [{3, 7}]
    expected, other = (
        np.array(table["far"].to_pylist(), dtype=float) if "far" in table.column_names else np.empty(0)
        for table in found
    )
    np.testing.assert_allclose(other, expected, rtol=1e-4)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_boxes(layers: str, box_folder: Path, tmp_path: Path, device: torch.device) -> None:
    tables: list[Any] = []
    for name in ("cpu", str(device)):
        given = [f"gradients.device={name}", f"output={tmp_path}/{name.replace(':', '-')}", "data.workers=0"]
        run = scan(load_config(box_folder / "config.yaml", [*given, f"gradients.layers={layers}"]))
        tables.append((run.scores, pq.read_table(run.path / "issues.parquet")))
    for column in [name for name in tables[0][0].column_names if name.startswith("score")]:
        expected, found = (table[column].to_numpy() for table, _ in tables)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6, err_msg=column)
    if device.type == "standin":  # a GPU may find another box where two are equally good
        for column in ("id", "cell", "given", "suggested"):
            assert tables[1][1][column].to_pylist() == tables[0][1][column].to_pylist()
