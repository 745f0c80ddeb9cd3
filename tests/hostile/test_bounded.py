"""Files that are small and would unpack to gigabytes: told in bounded memory and time.

All are read by one process, whose peak memory and processor time are looked at after each.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bombs

TESTS = Path(bombs.__file__).parent
ROOM = 400
"""Megabytes, beside what the libraries take that read a file of this kind."""
TIME = 20
"""Seconds of processor time, many times what it takes."""

Bomb = tuple[Callable[[Path], str], str, str, str]
"""What writes the file, the kind of reader, the kind of result, and its message."""

SMALL: list[Bomb] = [
    (bombs.zip_member, "folder", "DataError", r"unpacks to more(.|\n)*limits: {unpacked: 4831838208}"),
    (bombs.lying_member, "folder", "dict", "damaged in the archive"),
    (bombs.member_beyond_the_archive, "folder", "dict", "damaged in the archive"),
    (bombs.long_name, "folder", "dict", "cannot be decoded|not an image|empty"),
    (bombs.many_members, "folder", "DataError", "cut short"),
    (bombs.npz, "arrays", "DataError", r"unpacks to more(.|\n)*limits"),
    (bombs.npy_shape, "arrays", "DataError", "cut off"),
    (bombs.npy_negative, "arrays", "DataError", "shape"),
    (bombs.npy_header, "arrays", "DataError", "cannot be read as an array"),
    (bombs.png, "folder", "dict", r"60,000 x 60,000 pixels(.|\n)*limits: {pixels"),
    (bombs.many_rows, "table", "DataError", r"unpacks to more(.|\n)*limits"),
    (bombs.tar_negative, "shards", "DataError", "no tar file"),
    (bombs.tar_header, "shards", "DataError", "no tar file"),
    (bombs.tar_member, "shards", "DataError", "no tar file"),
    (bombs.tar_sparse, "shards", "DataError", "no tar file"),
    (bombs.tar_nested, "shards", "DataError", "nested too deeply"),
    (bombs.safetensors_header, "weights", "CheckpointError", "header of 1,152,921,504,606,846,976 bytes"),
    (bombs.packed_weights, "weights", "CheckpointError", "unpacks to more"),
    (bombs.nested_json, "table", "DataError", "nested too deeply"),
    (bombs.gzipped_table, "table", "DataError", "not a text file|cannot be told|does not parse"),
    (bombs.aliases, "config", "ConfigError", "too many values"),
    (bombs.brackets, "config", "ConfigError", "nested too deeply"),
    (bombs.itself, "config", "ConfigError", "nested too deeply"),
    (bombs.wide_number, "image table", "DataError", "pattern"),
    (bombs.loop, "folder", "DataError", "no such folder"),
    (bombs.loop, "table", "DataError", "."),
    (bombs.deep_summary, "run", "RunError", "nested too deeply"),
    (bombs.new_keys, "table", "DataError", r"unpacks to more(.|\n)*limits: {unpacked: 7200000000}"),
    (bombs.many_dimensions, "arrays", "DataError", "2,000 dimensions; at most 32"),
    (bombs.header_expression, "arrays", "DataError", "cannot be read as an array"),
    (bombs.overlapping_members, "folder", "DataError", r"unpacks to more(.|\n)*limits"),
    (bombs.unpacker_memory, "folder", "dict", "method other than store or deflate"),
    (bombs.one_number, "weights", "CheckpointError", "unpacks to more"),
    (bombs.shape_alone, "weights", "CheckpointError", "a shape without values"),
    (bombs.sparse_weights, "weights", "CheckpointError", "a sparse tensor"),
    (bombs.long_scalar, "config", "ConfigError", "unknown data source 'xxx"),
    (bombs.sexagesimal, "config", "ConfigError", "a number of 3,000,001 characters"),
    (bombs.repeated_keys, "config", "ConfigError", "and 49,899 more problems"),
    (bombs.packed_text, "folder", "dict", r"\{"),
    (bombs.png, "masks", "DataError", r"mask: 60,000 x 60,000 pixels(.|\n)*limits: {pixels"),
    (bombs.nested_json, "coco", "DataError", "nested too deeply"),
    (bombs.many_categories, "coco", "int", "200000"),
    (bombs.merged_names, "names", "ConfigError", "too many values"),
    (bombs.brackets, "names", "ConfigError", "nested too deeply"),
    (bombs.many_voices, "annotators", "DataError", r"too many annotations(.|\n)*at most 26,843"),
    (bombs.many_annotators, "annotators", "DataError", r"too many annotators(.|\n)*at most 268 annotators"),
]


class Reader:
    """A process that reads files and tells its peak memory."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import bombs; bombs.read_all()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        )
        self.peak = 0.0

    def read(self, kind: str, place: str) -> dict[str, Any]:
        """How reading ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([kind, place]) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        found["more"] = found["megabytes"] - self.peak
        self.peak = max(self.peak, found["megabytes"])
        return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A process that has imported what it reads with, by reading a harmless file of each kind."""
    found, folder = Reader(), tmp_path_factory.mktemp("harmless")
    for kind in bombs.READERS:
        found.read(kind, str(folder / "nothing.csv"))
    yield found
    with found.process as process:  # closes its streams
        process.kill()


def check(reader: Reader, bomb: Bomb, folder: Path, room: float = ROOM, time: float = TIME) -> None:
    write, kind, result, message = bomb
    found = reader.read(kind, write(folder))
    assert found["kind"] == result, found
    assert re.search(message, found["message"]), found
    assert len(found["message"]) < 12_000
    assert found["more"] < room, found
    assert found["seconds"] < time, found


@pytest.mark.parametrize("bomb", SMALL, ids=lambda bomb: f"{bomb[0].__name__}-{bomb[1]}")
def test_little_memory(reader: Reader, bomb: Bomb, tmp_path: Path) -> None:
    check(reader, bomb, tmp_path)


def test_a_text_that_is_repeated_in_each_row(reader: Reader, tmp_path: Path) -> None:
    """Known only once some rows are read: up to the limit, and as much again where Arrow copies."""
    check(reader, (bombs.repeated_text, "table", "DataError", "a part of its rows"), tmp_path, 2_500)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb",
    [
        (bombs.million_members, "shards", "DataError", "no text|column|txt"),
        (bombs.long_line, "table", "DataError", "."),
        (bombs.long_field, "table", "DataError", "."),
    ],
    ids=lambda bomb: bomb[0].__name__,
)
def test_a_file_that_is_as_large_as_it_seems(reader: Reader, bomb: Bomb, tmp_path: Path) -> None:
    """A few times the size of the file, which a user sees."""
    check(reader, bomb, tmp_path, 8_000, 300)
