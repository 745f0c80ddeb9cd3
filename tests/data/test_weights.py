"""Weights of samples: from a manifest, another table or a run; matched by id."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import ogacli
from ogacli.config.commands import scan
from ogacli.data.weights import weighted
from ogacli.errors import DataError
from small_scans import N, make_place


def samples(*ids: str) -> ogacli.Samples:
    n = len(ids)
    return ogacli.Samples.of(
        np.arange(n, dtype=np.float32)[:, None], labels=np.arange(n) % 2, classes=2, ids=list(ids)
    )


def table(path, text: str):
    path.write_text(text)
    return path


def test_by_id(tmp_path):
    path = table(tmp_path / "w.csv", "id,weight\nc,0.5\na,2\nb,\nother,7\n")
    assert weighted(samples("a", "b", "c"), path).weights.tolist() == [2, 1, 0.5]
    twice = weighted(weighted(samples("a", "b", "c"), path), path)
    assert twice.weights.tolist() == [4, 1, 0.25]
    assert twice.select(twice.labels.nonzero()[:, 0]).weights.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,weight\na,1\n", r"1 of 2 samples have no row(.|\n)*'b'"),
        ("id,weight\na,1\na,2\nb,1\n", r"an id occurs twice(.|\n)*'a'"),
        ("id,weight\na,-1\nb,1\n", r"sample 'a': not a weight(.|\n)*-1"),
        ("id,weight\na,inf\nb,1\n", "not a weight"),
        ("id,weight\na,0\nb,0\n", "all weights are 0"),
        ("id,weight\na,much\nb,1\n", "weights that are not numbers"),
        ("id,label\na,0\nb,1\n", "weight"),
    ],
)
def test_mistakes_are_told(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        weighted(samples("a", "b"), table(tmp_path / "w.csv", text))


def test_of_a_run_and_of_its_manifest(tmp_path):
    """The weights are the probabilities that the labels are right."""
    place = make_place(tmp_path / "place", detector="latent_label")
    run = scan(place.config())
    expected = run.scores["given_label_probability"].to_numpy()
    opened = place.config().data.open()
    np.testing.assert_allclose(weighted(opened, run.path).weights, expected, rtol=1e-6)
    ogacli.trim(run, manifest=tmp_path / "clean.csv", weights=True)
    found = place.config(f"data.manifest={tmp_path}/clean.csv").data.open()
    assert len(found) == N
    np.testing.assert_allclose(found.weights, expected, rtol=1e-5)
    assert found.fingerprint == opened.fingerprint


def test_a_probability_that_is_not_known_counts_as_one(tmp_path):
    pa.parquet.write_table(pa.table({"id": ["a", "b"], "weight": [np.nan, 0.5]}), tmp_path / "w.parquet")
    assert weighted(samples("a", "b"), tmp_path / "w.parquet").weights.tolist() == [1, 0.5]
