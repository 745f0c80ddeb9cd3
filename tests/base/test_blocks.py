"""Long columns are on disk, and read in blocks."""

import numpy as np
import pytest

from ogacli.base import blocks as module
from ogacli.base.blocks import blocks, column, numbered, release, taken
from ogacli.base.distribution import Distribution
from ogacli.errors import RunError


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "MEMORY", 100)


def test_a_column_on_disk_keeps_its_values_when_pages_are_released():
    found = column(1000, np.float32, np.nan)
    assert np.isnan(found).all()
    found[::2] = 1
    release()
    assert np.nansum(found) == 500


def test_rows_are_covered_once():
    assert [(one.start, one.stop) for one in blocks(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert (numbered(1000) == np.arange(1000)).all()
    assert taken(numbered(1000), np.array([3, 5, 999])).tolist() == [3, 5, 999]


def test_a_full_disk_is_an_error_that_names_the_folder(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"no room for the results of a scan[^$]*TMPDIR="):
        column(1000, np.int64)


def test_a_distribution_in_bins_is_nearly_the_exact_one(monkeypatch):
    values = np.random.default_rng(0).beta(0.3, 2.0, 50_000)
    exact, binned = Distribution(), Distribution()
    exact.add(values)
    monkeypatch.setattr("ogacli.base.distribution.EXACT", 1000)
    for part in np.split(values, 10):
        binned.add(part)
    shares = [0.05, 0.25, 0.5, 0.95, 1.0]
    assert binned.quantiles(shares) == pytest.approx(exact.quantiles(shares), rel=2e-3)
    assert binned.largest(2500) == pytest.approx(exact.largest(2500), rel=1e-3)
    assert exact.largest(2500) == pytest.approx(np.sort(values)[-2500:].sum())
