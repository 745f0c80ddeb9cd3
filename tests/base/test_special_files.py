"""FIFOs, devices and sockets in place of files: refused before they are opened, as reading one never ends."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ogacli.base.special_files import refuse_special_in, special
from ogacli.base.tables import read_table
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.config.starter import starter
from ogacli.data.files import open_files
from ogacli.data.files.npy import open_array
from ogacli.data.reading import Unreadable
from ogacli.data.selection import kept_ids
from ogacli.data.sources.webdataset import WebDataset
from ogacli.errors import DataError, OgaError
from ogacli.models.checkpoints import read_weights, sha256
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from ogacli.run.trim import trim
from ogacli.run.trim.kept import load_kept
from small_scans import make_place
from synthetic_runs import Recipe


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Raise an error where a FIFO was opened after all."""

    def give_up(*args: Any) -> None:
        raise TimeoutError("waits for a FIFO")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert special(tmp_path / "file") is None
    assert special(tmp_path) is None
    assert special(tmp_path / "nothing") is None
    assert special("memory://x/y") is None
    assert special("nul\0byte") is None
    assert special(fifo(tmp_path / "pipe")) == "a FIFO"
    assert special(f"file://{tmp_path}/pipe") == "a FIFO"
    (tmp_path / "link").symlink_to("pipe")
    assert special(tmp_path / "link") == "a FIFO"
    assert special("/dev/zero") == "a device"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s"))
        assert special(tmp_path / "s") == "a socket"


def test_a_folder_that_a_library_reads(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    refuse_special_in(tmp_path, DataError)
    refuse_special_in(tmp_path / "nothing", DataError)
    fifo(tmp_path / "a" / "b" / "pipe")
    with pytest.raises(DataError, match=r"a/b/pipe: no file, so it is not opened\n  found: a FIFO"):
        refuse_special_in(tmp_path, DataError)


READERS: dict[str, Callable[[Path], object]] = {
    "t.csv": read_table,
    "t.parquet": read_table,
    "t.jsonl": read_table,
    "x.npy": lambda path: open_array(str(path)),
    "x.npz": lambda path: open_array(str(path), "x"),
    "w.safetensors": lambda path: read_weights(str(path)),
    "w.pt": lambda path: read_weights(str(path)),
    "h.pt": lambda path: sha256(str(path)),
    "photos.zip": lambda path: open_files(str(path)),
    "shard.tar": lambda path: WebDataset(path=str(path), text="txt", label="cls").open(),
    "oga.yaml": load_config,
    "kept.npy": lambda path: load_kept([0, 1], path),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", READERS)
def test_files_of_the_user(tmp_path: Path, name: str) -> None:
    with pytest.raises(OgaError, match=rf"{name}: no file, so it is not opened\n  found: a FIFO"):
        READERS[name](fifo(tmp_path / name))


def test_a_picture_is_quarantined(tmp_path: Path) -> None:
    fifo(tmp_path / "a.png")
    (found,) = open_files(str(tmp_path)).fetch(["a.png"])
    assert isinstance(found, Unreadable)
    assert str(found) == "a FIFO, no file"


@pytest.mark.parametrize("name", ["summary.json", "scores.parquet", "config.yaml", "provenance.json"])
def test_files_of_a_run(tmp_path: Path, name: str) -> None:
    run = Recipe().write(tmp_path / "run")
    fifo(run.path / name)
    with pytest.raises(OgaError, match=rf"{name}: no file"):
        read_all(run.path)


def read_all(folder: Path) -> object:
    opened = Run.open(folder)
    return opened.scores, opened.config, opened.provenance


def test_policy_decisions_and_manifest(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run")
    with pytest.raises(OgaError, match="no file"):
        gate(run, policy=fifo(tmp_path / "policy.yaml"))
    with pytest.raises(OgaError, match="no file"):
        trim(run, tmp_path / "kept.npy", decisions=fifo(tmp_path / "decisions.csv"))
    place = make_place(tmp_path / "place").config()
    with pytest.raises(OgaError, match="no file"):
        kept_ids(place.data.open(), fifo(tmp_path / "manifest.csv"))
    (tmp_path / "clean").mkdir()
    fifo(tmp_path / "clean" / "manifest.csv")
    with pytest.raises(OgaError, match="something else stands there"):
        trim(scan(place), tmp_path / "clean", format="npy", overwrite=True)


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    from ogacli.models.text.remote_code import refuse_code

    fifo(tmp_path / "config.json")
    for trust in (False, True):
        with pytest.raises(OgaError, match=r"config\.json: no file"):
            refuse_code(str(tmp_path), "model.name", trust=trust)


def test_starters_do_not_open_them(tmp_path: Path) -> None:
    assert starter(fifo(tmp_path / "t.csv")).known == ()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text(json.dumps({}))
    fifo(tmp_path / "saved" / "dataset_info.json")
    assert starter(tmp_path / "saved").known == ()
