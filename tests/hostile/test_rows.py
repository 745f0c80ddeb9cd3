"""Files of samples that were replaced after the scan: their rows are written, or there is one error.

The run says that the file is as it was when it was scanned, so that the readers of `oga trim` are the first
to look at it.
"""

import io
import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml

import bombs
from ogacli.base.limits import USUAL
from ogacli.errors import DataError, OgaError, RunError
from ogacli.run.trim import trim
from own_rows import KINDS, N, OwnRows, own_rows
from small_scans import contents


@pytest.fixture(params=KINDS)
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OwnRows:
    if request.param == "hf":
        pytest.importorskip("datasets")
    return of_kind(request.param, tmp_path_factory)


def of_kind(kind: str, tmp_path_factory: pytest.TempPathFactory) -> OwnRows:
    return own_rows(tmp_path_factory.getbasetemp() / "own rows", kind)


@pytest.mark.parametrize("how", ["relabel", "weights"])
def test_the_file_as_it_is(rows: OwnRows, how: str) -> None:
    assert sum(rows.trimmed_with(rows.file.read_bytes(), **{how: True}).fates.values()) == N


@pytest.mark.parametrize("how", ["relabel", "weights"])
def test_damaged_files(rows: OwnRows, how: str) -> None:
    """Cut off, empty, with flipped bits; nothing is written but the destination and the run's manifest."""
    whole = rows.file.read_bytes()
    folder = rows.run.parent
    known = {"run/manifest.parquet", "run/provenance.json"}

    def others() -> dict[str, bytes]:
        found = contents(folder)
        return {name: found[name] for name in found if not name.startswith("clean") and name not in known}

    before = others()
    told = 0
    for content in [b"", whole[: len(whole) // 2], whole[:-1], bytes(len(whole)), b"[" * 100_000]:
        try:
            rows.trimmed_with(content, **{how: True})
        except OgaError:
            told += 1
    assert told >= 2
    assert others() == before


# --- bombs: the run says that they were scanned -----------------------------------------------------------


def test_a_packed_array_beyond_the_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = of_kind("npz", tmp_path_factory)
    with pytest.raises(DataError, match=r"unpacks to more(.|\n)*limits"):
        rows.trimmed_with(Path(bombs.npz(rows.run.parent)).read_bytes())


def test_arrays_that_are_beyond_the_limit_together(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogacli.base.limits._RATIO", 1)
    rows = of_kind("npz", tmp_path_factory)
    with np.load(rows.file) as stored:
        arrays = dict(stored)
    many = io.BytesIO()
    np.savez_compressed(
        many, **arrays, **{f"z{i}": np.zeros(USUAL.unpacked // 32, np.int8) for i in range(40)}
    )
    with pytest.raises(DataError, match="unpacks to more"):
        rows.trimmed_with(many.getvalue())


@pytest.mark.parametrize("bomb", [bombs.many_rows, bombs.repeated_text], ids=lambda one: one.__name__)
def test_a_parquet_file_beyond_the_limit(tmp_path_factory: pytest.TempPathFactory, bomb: Any) -> None:
    rows = of_kind("parquet", tmp_path_factory)
    with pytest.raises(DataError, match=r"unpacks to more|no column"):
        rows.trimmed_with(Path(bomb(rows.run.parent)).read_bytes(), relabel=True)


@pytest.mark.parametrize(
    "bomb", [bombs.tar_negative, bombs.tar_header, bombs.tar_member, bombs.tar_sparse, bombs.tar_nested]
)
def test_hostile_shards(tmp_path_factory: pytest.TempPathFactory, bomb: Any) -> None:
    rows = of_kind("webdataset", tmp_path_factory)
    with pytest.raises(DataError, match=r"no tar file|no key"):
        rows.trimmed_with(Path(bomb(rows.run.parent)).read_bytes(), relabel=True)


# --- limits and names -------------------------------------------------------------------------------------


def test_the_limits_of_a_run_are_not_believed(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = of_kind("parquet", tmp_path_factory)
    place = rows.run / "config.yaml"
    text = place.read_text()
    config = yaml.safe_load(text)
    config["data"]["limits"] = {"unpacked": USUAL.unpacked + 1}
    try:
        place.write_text(yaml.safe_dump(config))
        rows.scanned_as_it_is()
        with pytest.raises(RunError, match=r"data\.limits\.unpacked: this source of data raises a limit"):
            trim(rows.run, rows.to, overwrite=True)
    finally:
        place.write_text(text)


def test_names_of_members_and_arrays_lead_nowhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tar members are written as they are, into a shard; arrays into one file."""
    rows = of_kind("npz", tmp_path_factory)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(rows.file.read_bytes())) as stored, zipfile.ZipFile(out, "w") as archive:
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
        archive.writestr("../../evil.npy", stored.read("y.npy"))
    before = set(rows.run.parent.parent.rglob("*"))
    rows.trimmed_with(out.getvalue(), relabel=True)
    assert not {path for path in set(rows.run.parent.parent.rglob("*")) - before if "evil" in path.name}


def test_paths_of_shards_lead_nowhere(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """The files that a pattern names may differ in ``..`` only behind their common folder."""
    rows = of_kind("webdataset", tmp_path_factory)
    run = shutil.copytree(rows.run, tmp_path / "run")
    place, up = tmp_path / "a/b/c/d/place", tmp_path / "a/up"
    for folder in (place / "0", place / "1", up):
        folder.mkdir(parents=True)
    shutil.copy(rows.file, up / "x.tar")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["path"] = f"{place}/{{0..1}}/../../../../../up/x.tar"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    to = tmp_path / "e/f/g/h/clean"
    hostile = OwnRows(run, rows.file, to, rows.format)
    hostile.scanned_as_it_is()
    trim(run, to, format="webdataset")
    assert not (tmp_path / "e/f/up").exists()
    assert all(path.is_relative_to(to) for path in tmp_path.glob("e/**/*.tar"))


def test_an_npz_file_without_the_labels(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = of_kind("npz", tmp_path_factory)
    for labels, told in (({}, "no array 'y'"), ({"y": np.array(1)}, "a single value")):
        out = io.BytesIO()
        np.savez(out, x=np.zeros((N, 2)), **labels)
        with pytest.raises(DataError, match=told):
            rows.trimmed_with(out.getvalue(), relabel=True)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("jsonl", b"cat", b"\xff"),
        ("csv", b"size,note,label", b"size,note,x,label"),
        ("jsonl", b"{", b"["),
    ],
)
def test_rows_that_are_none(
    tmp_path_factory: pytest.TempPathFactory, kind: str, old: bytes, new: bytes
) -> None:
    rows = of_kind(kind, tmp_path_factory)
    with pytest.raises(DataError, match=re.escape(str(rows.file))):
        rows.trimmed_with(rows.file.read_bytes().replace(old, new), relabel=True)


def test_two_columns_of_one_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = of_kind("parquet", tmp_path_factory)
    table = pa.parquet.read_table(rows.file)
    out = io.BytesIO()
    pa.parquet.write_table(table.append_column("label", table["label"]), out)
    with pytest.raises(DataError, match="two columns have one name"):
        rows.trimmed_with(out.getvalue(), weights=True)


def test_bytes_of_labels_that_are_no_text_stay(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = of_kind("webdataset", tmp_path_factory)
    out = io.BytesIO()
    with tarfile.open(rows.file) as stored, tarfile.open(fileobj=out, mode="w") as tar:
        for member in stored:
            content = stored.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == "000.json":
                content = content.replace(b'"}', b'", "note": "\xff"}')
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    rows.trimmed_with(out.getvalue(), relabel=True)
    with tarfile.open(rows.to / rows.file.name) as written:
        assert b"\xff" in written.extractfile("000.json").read()  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_in_place_of_the_file(rows: OwnRows) -> None:
    aside = rows.file.with_name("aside")
    rows.file.rename(aside)
    os.mkfifo(rows.file)
    try:
        with pytest.raises(OgaError):
            trim(rows.run, rows.to, format=rows.format, overwrite=True)
    finally:
        rows.file.unlink()
        aside.rename(rows.file)
