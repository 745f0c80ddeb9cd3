"""A weak network on pictures with right labels: trimming harms it, and verify says so without a test set."""

import csv
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ogacli
from ogacli.models.sources.mlp import Mlp

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[4] / "shared" / "data")) / "cifar10n"


def pictures(file: str, positions: range) -> np.ndarray:
    from PIL import Image

    with zipfile.ZipFile(DATA / file) as archive:
        opened = (Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg"))) for i in positions)
        small = [np.asarray(one.resize((16, 16), Image.Resampling.BILINEAR)) for one in opened]
    return (np.stack(small).astype(np.float32) / 255 - 0.47) / np.float32(0.25)


def samples_of(positions: range) -> ogacli.Samples:
    with (DATA / "labels.csv").open(encoding="utf-8") as file:
        labels = np.array([int(row["clean"]) for row in csv.DictReader(file)])[positions]
    return ogacli.Samples.of(pictures("images_train.zip", positions), labels=labels, classes=10, truth=labels)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"no data at {DATA}; set OGA_DATA")
def test_harm_is_said_where_an_outside_test_set_says_harm(tmp_path):
    """2,000 pictures of 16 x 16 pixels, a perceptron of 64, 6 epochs; half of the samples are trimmed."""
    samples, outside = samples_of(range(2000)), samples_of(range(10_000, 14_000))
    network, options = Mlp(hidden=(64,)), {"epochs": 6}
    training = ogacli.train(samples, network, output=tmp_path / "epochs", options=options)
    paths = [str(path) for path in training.checkpoints]
    found = ogacli.scan(samples, network, checkpoint=paths, budget=0.5, protect="off")
    run = found.save(tmp_path / "run")
    with_test = ogacli.verify(samples, run, network, train=options, test=outside)
    own = ogacli.verify(samples, run, network, train=options)
    assert (with_test.verdict, own.verdict) == ("harmed", "harmed")
    assert (own.parts, own.test, own.labels) == (5, 2000, "true")
    gap, outer = own.differences[0], with_test.differences[0]
    assert gap.low < outer.mean < gap.high
