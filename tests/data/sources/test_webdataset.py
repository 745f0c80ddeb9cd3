import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import ValidationError

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.data.files.shards import shard_paths
from ogacli.data.loader import batches
from ogacli.data.sources.webdataset import WebDataset
from ogacli.errors import DataError
from ogacli.run.trim import trim

Members = Mapping[str, bytes]


def tar(members: Members, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def shards(tmp_path: Path, encode: Any, pixels: Any) -> list[bytes]:
    """Two shards of three samples; picture i is ``pixels(i)``, its class i % 2."""
    found = []
    for shard in range(2):
        members: dict[str, bytes] = {}
        for i in range(3 * shard, 3 * shard + 3):
            about = {"kind": ["cat", "dog"][i % 2], "true": "cat", "who": f"n{i}", "score": i / 2}
            members[f"./deep/{i:04d}.png"] = encode(pixels(i))
            members[f"./deep/{i:04d}.cls"] = f"{i % 2}\n".encode()
            members[f"./deep/{i:04d}.json"] = json.dumps(about).encode()
            members[f"./deep/{i:04d}.txt"] = f"text {i}".encode()
        found.append(tar(members))
    return found


@pytest.fixture(params=["local", "bucket"])
def path(request: pytest.FixtureRequest, tmp_path: Path, shards: list[bytes]) -> str:
    for i, content in enumerate(shards):
        if request.param == "local":
            (tmp_path / f"train-{i:03d}.tar").write_bytes(content)
        else:
            fsspec.filesystem("memory").pipe(f"memory://{tmp_path.name}/train-{i:03d}.tar", content)
    root = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    return f"{root}/train-{{000..001}}.tar"


def test_pictures_in_shards(path: str, pixels: Callable[[int], np.ndarray], encode: Any) -> None:
    samples = WebDataset(path=path, image="png", label="cls").open()
    assert samples.ids.to_pylist()[::3] == ["train-000.tar/deep/0000", "train-001.tar/deep/0003"]
    assert (samples.classes, samples.labels.tolist()) == (("0", "1"), [0, 1, 0, 1, 0, 1])
    order = [5, 0, 3]
    (batch,) = batches(samples, torch.tensor(order), 3, workers=0)
    expected = np.stack([pixels(i) for i in order]).transpose(0, 3, 1, 2)
    assert torch.equal(batch.inputs, torch.from_numpy(expected).float() / 255)
    assert samples.reader.file(4) == encode(pixels(4))
    again = WebDataset(path=path.replace("{000..001}", "*"), image=("jpg", "png"), label="cls").open()
    assert again.fingerprint == samples.fingerprint


def test_a_trimmed_copy_of_the_pictures(path: str, tmp_path: Path, encode: Any, pixels: Any) -> None:
    np.save(tmp_path / "p.npy", np.eye(2, dtype=np.float32)[[0, 1, 1, 1, 0, 1]] * 0.8 + 0.1)
    config = parse_config(
        f"data: {{source: webdataset, path: '{path}', image: png, label: kind, workers: 0}}\n"
        f"model: {{source: precomputed, probabilities: {tmp_path}/p.npy}}\n"
        "detector: {name: l2}\nbudget: 1\nprotect: off\n"
    )
    run = scan(config, output=tmp_path / "run")
    trimmed = trim(run, tmp_path / "kept", format="image_folder")
    assert (trimmed.fates["kept"], trimmed.fates["dropped"]) == (5, 1)
    assert sorted(file.name for file in (tmp_path / "kept" / "dog").iterdir()) == [
        "0001.png",
        "0003.png",
        "0005.png",
    ]
    assert (tmp_path / "kept" / "cat" / "0004.png").read_bytes() == encode(pixels(4))
    assert not (tmp_path / "kept" / "cat" / "0002.png").exists()


def test_labels_truth_and_ids_from_json(path: str) -> None:
    samples = WebDataset(path=path, image="png", label="kind", truth="true", id="who").open()
    assert samples.ids.to_pylist() == [f"n{i}" for i in range(6)]
    assert samples.classes == ("cat", "dog")
    assert samples.truth is not None
    assert samples.truth.tolist() == [0] * 6
    numbers = WebDataset(path=path, image="png", label="score", target="regression").open()
    assert numbers.labels.flatten().tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_texts(path: str) -> None:
    samples = WebDataset(path=path, text="txt", label="cls").open()
    assert samples.read([4, 0]).inputs == ["text 4", "text 0"]
    pairs = WebDataset(path=path, text=("txt", "who"), label="cls").open()
    assert pairs.read([1]).inputs == [("text 1", "n1")]
    learned = WebDataset(path=path, completion="txt").open()
    assert learned.read([1]).inputs == [("", "text 1")]


@pytest.mark.parametrize("kinds", [("png", "cls"), ("cls",)])
@pytest.mark.parametrize("apart", [False, True])
def test_repeated_names_name_shard_and_member(
    tmp_path: Path, encode: Any, pixels: Any, kinds: tuple[str, ...], apart: bool
) -> None:
    with tarfile.open(tmp_path / "same.tar", "w") as archive:
        for key in ("s0", "s1") if not apart else ("s0", "s1", "s0"):
            for kind in kinds * (1 if apart else 2):
                content = encode(pixels(0)) if kind == "png" else b"0"
                info = tarfile.TarInfo(f"{key}.{kind}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    with pytest.raises(DataError, match=rf"same\.tar: s0\.{kinds[0]}: a ") as caught:
        WebDataset(path=str(tmp_path / "same.tar"), image="png", label="cls").open()
    assert ("do not follow one another" in str(caught.value)) == apart


def test_one_name_in_two_shards_is_two_samples(tmp_path: Path, encode: Any, pixels: Any) -> None:
    """Many writers number the samples of each shard from 0; the ids name the shard."""
    for shard in range(2):
        members = {"0.png": encode(pixels(shard)), "0.cls": str(shard).encode()}
        (tmp_path / f"{shard}.tar").write_bytes(tar(members))
    samples = WebDataset(path=str(tmp_path / "*.tar"), image="png", label="cls").open()
    assert samples.ids.to_pylist() == ["0.tar/0", "1.tar/0"]
    assert samples.labels.tolist() == [0, 1]


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_members_that_are_no_files_are_told(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name in ("a.txt", "a.cls", "b.cls"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"0"))
        info = tarfile.TarInfo("b.txt")
        info.type, info.linkname = kind, "a.txt"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"t\.tar: b\.txt: a member of the shard is no file"):
        WebDataset(path=str(tmp_path / "t.tar"), text="txt", label="cls").open()


def test_hidden_members_are_left_out(tmp_path: Path) -> None:
    members = {"a.txt": b"x", "a.cls": b"0", ".git/b.cls": b"1", "__MACOSX/._a.txt": b"", "Thumbs.db": b""}
    (tmp_path / "t.tar").write_bytes(tar(members))
    assert len(WebDataset(path=str(tmp_path / "t.tar"), text="txt", label="cls").open()) == 1


def test_a_library_s_own_shards(tmp_path: Path, pixels: Callable[[int], np.ndarray]) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "t.tar")) as writer:
        for i in range(3):
            writer.write({"__key__": f"s{i}", "png": pixels(i), "cls": i, "json": {"a": i}})
    samples = WebDataset(path=str(tmp_path / "t.tar"), image="png", label="cls").open()
    assert samples.labels.tolist() == [0, 1, 2]
    expected = torch.from_numpy(pixels(2)).permute(2, 0, 1).float() / 255
    assert torch.equal(samples.read([2]).inputs[0], expected)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar(format: int, tmp_path: Path, encode: Any, pixels: Any) -> None:
    long = "/".join(["folder" * 8] * 3) + "/picture.with.dots"
    stem, _, _ = long.partition(".")
    members = {
        f"{stem}.png": encode(pixels(0)),
        f"{stem}.cls": b"0",
        "ü/1.png": encode(pixels(1)),
        "ü/1.cls": b"1",
    }
    (tmp_path / "t.tar").write_bytes(tar(members, format))
    samples = WebDataset(path=str(tmp_path / "t.tar"), image="png", label="cls").open()
    assert samples.ids.to_pylist() == [f"t.tar/{stem}", "t.tar/ü/1"]
    assert len(samples.read([0, 1]).rows) == 2


def test_what_cannot_be_read_is_quarantined(tmp_path: Path, encode: Any, pixels: Any) -> None:
    members = {
        "a.png": encode(pixels(0)),
        "a.cls": b"0",
        "b.cls": b"1",
        "c.png": b"no picture",
        "c.cls": b"1",
    }
    (tmp_path / "t.tar").write_bytes(tar(members))
    samples = WebDataset(path=str(tmp_path / "t.tar"), image="png", label="cls").open()
    batch = samples.read([0, 1, 2])
    assert batch.quarantined == {1: "no such file in the sample", 2: "not an image"}
    (tmp_path / "t.tar").write_bytes(tar(members)[:600])
    assert samples.read([0]).quarantined == {0: "the shard ends early"}
    (tmp_path / "t.tar").unlink()
    assert samples.read([0]).quarantined == {0: "no such file or directory"}


def whole_and_cut(content: bytes) -> list[int]:
    """Where a shard may end early: inside a header, inside a member, after a member."""
    return [100, 512 + 10, 1024, len(content) // 2, len(content) // 512 // 2 * 512]


@pytest.mark.parametrize("place", range(5))
def test_a_shard_that_ends_early(place: int, tmp_path: Path, shards: list[bytes]) -> None:
    content = shards[0].rstrip(b"\0")
    (tmp_path / "t-0.tar").write_bytes(shards[1])
    (tmp_path / "t-1.tar").write_bytes(content[: whole_and_cut(content)[place]])
    with pytest.raises(DataError, match=r"t-1\.tar: the shard ends early, or is no tar file") as caught:
        WebDataset(path=str(tmp_path / "t-*.tar"), image="png", label="cls").open()
    assert "whole samples" in str(caught.value)
    assert "fetch it again" in str(caught.value)


def test_the_last_member_may_end_the_file_s_data(tmp_path: Path, shards: list[bytes]) -> None:
    (tmp_path / "t.tar").write_bytes(shards[0].rstrip(b"\0") + bytes(512 * 3))
    aligned = (tmp_path / "t.tar").read_bytes()
    (tmp_path / "t.tar").write_bytes(aligned[: len(aligned) // 512 * 512])
    assert len(WebDataset(path=str(tmp_path / "t.tar"), text="txt", label="cls").open()) == 3


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ({}, {}, r"the shards hold no samples"),
        ({"a.txt": b"x"}, {}, r"no column 'cls'\n  found: __key__, txt"),
        ({"a.txt": b"x", "a.cls": b"0", "b.txt": b"y"}, {}, r"sample 't.tar/b': label is missing"),
        ({"a.json": b"{"}, {}, r"t.tar/a.json: not JSON"),
        ({"a.json": b"[1]"}, {}, r"t.tar/a.json: not a JSON object\n  found: list"),
        (
            {"a.json": b'{"cls": 1}', "b.json": b'{"cls": "x"}'},
            {},
            "sample 't.tar/b': the values of 'cls' differ in type",
        ),
        (
            {"a.txt": b"x", "a.cls": b"0"},
            {"text": None, "image": "jpg"},
            r"no sample has a picture\n.*cls, txt",
        ),
        (
            {"a.txt": b"x", "a.cls": b"0", "b.cls": b"0", "a.png": b""},
            {},
            r"t\.tar: a\.png: a sample's files do not follow",
        ),
    ],
)
def test_mistakes_are_told(members: Members, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar(members))
    with pytest.raises(DataError, match=message):
        WebDataset(**{"path": str(tmp_path / "t.tar"), "text": "txt", "label": "cls"} | options).open()


def test_files_that_are_no_shards(tmp_path: Path) -> None:
    for content, message in (
        (b"", "ends early, or is no tar"),
        (b"x" * 2000, "is no tar"),
        (b"\x1f\x8b", "gunzip"),
    ):
        (tmp_path / "t.tar").write_bytes(content)
        with pytest.raises(DataError, match=message):
            WebDataset(path=str(tmp_path / "t.tar"), text="txt", label="cls").open()
    with pytest.raises(DataError, match="no shard of such a name"):
        WebDataset(path=str(tmp_path / "u-*.tar"), text="txt", label="cls").open()
    with pytest.raises(DataError, match=r"u-1.tar: no such file"):
        WebDataset(path=str(tmp_path / "u-{1..2}.tar"), text="txt", label="cls").open()


def test_names_of_shards() -> None:
    assert shard_paths("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert shard_paths("{0..1}/{3..4}.tar") == ["0/3.tar", "0/4.tar", "1/3.tar", "1/4.tar"]
    assert shard_paths("s3://b/x.tar") == ["s3://b/x.tar"]


def test_a_pattern_may_not_name_any_number_of_files(tmp_path: Path, shards: list[bytes]) -> None:
    for pattern in ("a-{0..1000000}.tar", "a-{0000..9999}/{0000..9999}-*.tar"):
        with pytest.raises(DataError, match="names more files than may be read") as caught:
            shard_paths(pattern)
        assert "at most 1,000,000" in str(caught.value)
    for digits in ("0..99999999999999999999", "5..4"):
        with pytest.raises(DataError, match="not a range of numbers"):
            shard_paths(f"a-{{{digits}}}.tar")
    for i in range(2):
        (tmp_path / f"t-{i}.tar").write_bytes(shards[0] if i else shards[1])
    wanted = {"path": str(tmp_path / "t-{0..1}.tar"), "text": "txt", "label": "cls"}
    with pytest.raises(DataError, match="names more files than may be read") as caught:
        WebDataset.model_validate(wanted | {"limits": {"files": 1}}).open()
    assert "limits: {files: 2}" in str(caught.value)
    assert len(WebDataset.model_validate(wanted | {"limits": {"files": 2}}).open())


def test_the_same_names_in_two_folders_stay_apart(tmp_path: Path, shards: list[bytes]) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.tar").write_bytes(shards[0])
    samples = WebDataset(path=str(tmp_path / "*" / "t.tar"), text="txt", label="cls").open()
    assert samples.ids.to_pylist()[::3] == ["a/t.tar/deep/0000", "b/t.tar/deep/0000"]


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="give one of `text`, `completion`, `words`, `image`"):
        WebDataset(path="t.tar", label="cls")


class Counting(MemoryFileSystem):
    """Counts the bytes that travel, and the times that a file is opened."""

    protocol = "counting"
    store: ClassVar[dict[str, Any]] = {}
    sent: ClassVar[list[int]] = []
    opens: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("counting://").strip("/")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.opens.append(path)
        found: bytes = super().cat_file(path, start, end, **options)
        self.sent.append(len(found))
        return found

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if mode != "rb":
            return file
        self.opens.append(path)
        return _Counted(file, self.sent)


class _Counted(io.BytesIO):
    def __init__(self, file: Any, sent: list[int]) -> None:
        super().__init__(file.getvalue())
        self._sent = sent

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self._sent.append(len(found))
        return found


@pytest.fixture
def counting(shards: list[bytes], tmp_path: Path) -> tuple[str, int]:
    """Two remote shards, and their bytes."""
    fsspec.register_implementation("counting", Counting, clobber=True)
    for i, content in enumerate(shards):
        Counting().pipe(f"/{tmp_path.name}/train-{i:03d}.tar", content)
    Counting.sent.clear()
    Counting.opens.clear()
    return f"counting://{tmp_path.name}/train-{{000..001}}.tar", sum(map(len, shards))


def test_remote_shards_travel_once(counting: tuple[str, int], pixels: Callable[[int], np.ndarray]) -> None:
    """The walk reads each from beginning to end; pictures come from the copy, also in other processes."""
    path, size = counting
    samples = WebDataset(path=path, image="png", label="cls").open()
    for workers in (0, 2):
        (batch,) = batches(samples, torch.tensor([5, 0, 3]), 3, workers=workers)
        found = np.asarray(batch.inputs * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
        assert np.array_equal(found, np.stack([pixels(i) for i in (5, 0, 3)]))
    assert len(Counting.opens) == 2, Counting.opens
    assert sum(Counting.sent) == size


def test_remote_shards_without_room_for_a_copy(counting: tuple[str, int], monkeypatch: Any) -> None:
    """One is copied, the other read by ranges; a process that is spawned has no copy at all."""
    path, size = counting
    given = WebDataset(path=path, image="png", label="cls")
    expected = given.open().read([5, 0, 3])
    monkeypatch.setattr("ogacli.data.copies.MOST", size // 2)
    some = given.open()
    Counting.opens.clear()
    assert torch.equal(some.read([5, 0, 3]).inputs, expected.inputs)
    assert [one.rpartition("/")[2] for one in Counting.opens] == ["train-001.tar"] * 2
    Counting.opens.clear()
    assert torch.equal(pickle.loads(pickle.dumps(some)).read([5, 0, 3]).inputs, expected.inputs)
    assert len(Counting.opens) == 3
