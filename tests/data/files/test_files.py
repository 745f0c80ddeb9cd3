import pickle
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogacli.data.files import Archive, Bucket, Files, Folder, open_files
from ogacli.data.reading import Unreadable
from ogacli.errors import DataError

CONTENT = {"a.bin": b"first", "deep/b.bin": bytes(range(256)) * 40, "empty": b"", "[odd] *?.bin": b"odd"}


def write(folder: Path) -> Path:
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(params=["folder", "stored", "deflated", "inner", "zip url", "url", "chained"])
def files(request: pytest.FixtureRequest, tmp_path: Path, zipped: Callable[..., Path]) -> Files:
    folder = write(tmp_path / "files")
    match request.param:
        case "folder":
            root = str(folder)
        case "stored":
            root = str(zipped(folder, tmp_path / "files.zip", method=zipfile.ZIP_STORED))
        case "deflated":
            root = str(zipped(folder, tmp_path / "files.zip"))
        case "inner":
            root = str(zipped(folder, tmp_path / "files.zip", prefix="in/side/")) + "/in/side"
        case "zip url":
            root = f"memory://{tmp_path.name}/files.zip"
            fsspec.filesystem("memory").pipe(root, zipped(folder, tmp_path / "f.zip").read_bytes())
        case "url":
            root = f"memory://{tmp_path.name}/bucket"
            for name, content in CONTENT.items():
                fsspec.filesystem("memory").pipe(f"{root}/{name}", content)
        case _:
            root = f"zip://::file://{zipped(folder, tmp_path / 'files.zip')}"
    return open_files(root)


def test_names_are_all_files(files: Files) -> None:
    assert {name for name in files.names() if not name.endswith("/")} == set(CONTENT)


def test_fetches_what_was_written(files: Files) -> None:
    names = [*CONTENT, "a.bin"]
    assert list(files.fetch(names)) == [CONTENT[name] for name in names]
    assert list(files.fetch([])) == []


def test_a_missing_file_is_unreadable_and_the_others_are_not(files: Files) -> None:
    first, missing, last = files.fetch(["a.bin", "no such name that is long.bin", "deep/b.bin"])
    assert (first, last) == (CONTENT["a.bin"], CONTENT["deep/b.bin"])
    assert isinstance(missing, Unreadable)
    assert str(missing) in ("no such file", "no such file or directory", "not in the archive")


def test_pickles(files: Files) -> None:
    list(files.fetch(["a.bin"]))
    again = pickle.loads(pickle.dumps(files))
    assert list(again.fetch(["deep/b.bin"])) == [CONTENT["deep/b.bin"]]


def test_paths_are_known_in_folders_only(files: Files) -> None:
    path = files.path("a.bin")
    assert (path is not None) == isinstance(files, Folder)
    assert path is None or path.read_bytes() == b"first"


def test_signature_changes_with_names_and_content(files: Files, tmp_path: Path) -> None:
    some = files.signature(pa.array(["a.bin", "empty"]))
    assert some == files.signature(pa.array(["a.bin", "empty"]))
    assert some != files.signature(pa.array(["empty", "a.bin"]))
    assert some != files.signature(pa.array(["a.bin", "missing"]))
    if isinstance(files, Folder):
        (files.root / "a.bin").write_bytes(b"changed")
        assert some != files.signature(pa.array(["a.bin", "empty"]))


def test_kinds_of_roots(tmp_path: Path, zipped: Callable[..., Path]) -> None:
    folder = write(tmp_path / "odd.zip")
    assert isinstance(open_files(str(folder)), Folder)
    assert isinstance(open_files(str(folder / "deep")), Folder)
    assert isinstance(open_files(str(zipped(folder, tmp_path / "x.zip"))), Archive)
    assert isinstance(open_files("memory://somewhere"), Bucket)


def test_missing_roots(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder or archive\n  next: check the path"):
        open_files(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere.zip: no such archive"):
        open_files(str(tmp_path / "nowhere.zip"))
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match="cannot be read as a zip archive\n  found: File is not a zip file"):
        open_files(str(tmp_path / "text.zip"))
    (tmp_path / "text").write_text("no folder")
    with pytest.raises(DataError, match="not a folder or zip archive"):
        open_files(str(tmp_path / "text"))
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with pytest.raises(DataError, match="the archive is empty"):
        open_files(str(tmp_path / "empty.zip"))
    with pytest.raises(DataError, match=r"memory://nowhere-at-all: no files below this URL"):
        open_files("memory://nowhere-at-all").names()
    with pytest.raises(DataError, match=r"cannot be opened(.|\n)*Protocol not known: gopher"):
        open_files("gopher://old").names()


def test_members_that_cannot_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("good", b"good " * 20)
        archive.writestr("bad", b"bad " * 20)
        archive.writestr("lzma", b"lzma", zipfile.ZIP_LZMA)
    path.write_bytes(path.read_bytes().replace(b"bad bad", b"bad!bad", 1))
    good, bad, lzma = open_files(str(path)).fetch(["good", "bad", "lzma"])
    assert good == b"good " * 20
    assert str(bad) == "damaged in the archive"
    assert "method other than store or deflate" in str(lzma)


def test_an_archive_cut_short_after_it_was_opened(tmp_path: Path, zipped: Callable[..., Path]) -> None:
    path = zipped(write(tmp_path / "files"), tmp_path / "files.zip")
    files = open_files(str(path))
    path.write_bytes(path.read_bytes()[:20])
    assert {str(content) for content in files.fetch(list(CONTENT))} == {"damaged in the archive"}


def test_additions_of_macos_are_no_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        archive.writestr("cat/a.png", b"x")
        archive.writestr("__MACOSX/cat/._a.png", b"x")
    assert open_files(str(tmp_path / "mac.zip")).names() == ["cat/a.png"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for content in (b"first", b"second"):
            archive.writestr("cat/a.png", content)
        archive.writestr("cat/", b"")
        archive.writestr("cat/", b"")
    with pytest.raises(DataError, match=r"twice.zip: cat/a.png: a name occurs more than once in the archive"):
        open_files(str(tmp_path / "twice.zip"))


def test_links_and_fifos_in_an_archive_are_no_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("cat/a.png", b"x")
        for name, mode in (("cat/link.png", stat.S_IFLNK), ("cat/fifo.png", stat.S_IFIFO)):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, (mode | 0o644) << 16
            archive.writestr(entry, b"/etc/passwd")
    files = open_files(str(tmp_path / "odd.zip"))
    assert files.listing().names == ["cat/a.png"]
    assert files.listing().special == ["cat/fifo.png", "cat/link.png"]
    assert str(next(files.fetch(["cat/link.png"]))) == "a link or device, no file"


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\\/"), min_size=1, max_size=12),
        st.binary(max_size=200),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.integers(0, 200),
)
def test_reads_what_zipfile_reads(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], method: int, padding: int
) -> None:
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in content.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            # An extra field of the local header, of a kind that readers must skip.
            entry.extra = b"\xfe\xca" + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(entry, value)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        expected = [archive.read(name) for name in names]
    random.Random(0).shuffle(pairs := list(zip(names, expected, strict=True)))
    assert list(open_files(str(path)).fetch([name for name, _ in pairs])) == [value for _, value in pairs]
