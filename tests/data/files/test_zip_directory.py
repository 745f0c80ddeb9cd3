import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.data.files.zip_directory import read_directory

Rows = list[tuple[bytes, list[int]]]


def ours(content: bytes) -> Rows:
    found = read_directory(io.BytesIO(content))
    return list(zip(found.names.to_pylist(), found.entries.tolist(), strict=True))


def theirs(content: bytes) -> Rows:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.filename.encode())
    return [
        (
            e.filename.encode(),
            [
                e.header_offset,
                e.compress_size,
                e.file_size,
                e.CRC,
                -1 if e.flag_bits & 1 else e.compress_type,
            ],
        )
        for e in entries
    ]


def written(files: dict[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), min_size=1, max_size=12)


@settings(deadline=None)  # the first sorting imports pandas
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=50), max_size=12),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]),
    comment=st.binary(max_size=30).filter(lambda comment: b"PK" not in comment),
    before=st.binary(max_size=40),
)
def test_reads_what_zipfile_reads(
    files: dict[str, bytes], method: int, comment: bytes, before: bytes
) -> None:
    content = before + written(files, method, comment)
    assert ours(content) == theirs(content)


def test_names_in_the_old_code_page() -> None:
    content = written({"caf_": b"x"}).replace(b"caf_", "café".encode("cp437"))
    assert theirs(content)[0][0] == "café".encode()
    assert ours(content) == theirs(content)


def test_an_encrypted_file() -> None:
    content = bytearray(written({"a": b"x"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    assert ours(bytes(content)) == theirs(bytes(content))
    assert ours(bytes(content))[0][1][4] == -1


@pytest.mark.parametrize("long", ["packed", "offset", "both"])
def test_numbers_of_64_bits(long: str) -> None:
    """As an archive of more than 4 GB has them; the numbers themselves are made up."""
    name, packed, offset = b"big.bin", 5 << 32, 7 << 32
    numbers = [5 << 32] + [packed] * (long != "offset") + [offset] * (long != "packed")
    extra = b"\xfe\xca\2\0xy" + struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
    short = 0xFFFFFFFF
    directory = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, 77,
        99 if long == "offset" else short, short, len(name), len(extra), 0, 0, 0, 0,
        0 if long == "packed" else short,
    )  # fmt: skip
    directory += name + extra
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), 0)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, short, short, 0)
    expected = [0 if long == "packed" else offset, 99 if long == "offset" else packed, 5 << 32, 77, 0]
    assert ours(directory + end) == [(name, expected)] == theirs(directory + end)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a zip file"),
        (b"PK\5\6 too short", "not a zip file"),
        (written({"a": b"x"}).replace(b"PK\1\2", b"PK\1\3"), "directory is damaged"),
        (written({"a": b"x"})[-22:], "directory is damaged"),
        (written({"a": b"x"}).replace(struct.pack("<2H", 1, 1), struct.pack("<2H", 9, 9)), "cut short"),
    ],
)
def test_damage_is_told(content: bytes, message: str) -> None:
    with pytest.raises(zipfile.BadZipFile, match=message):
        read_directory(io.BytesIO(content))


def test_a_long_number_that_is_not_there() -> None:
    content = bytearray(written({"a": b"x"}))
    start = content.index(b"PK\1\2") + 20
    content[start : start + 4] = b"\xff" * 4
    with pytest.raises(zipfile.BadZipFile, match="directory is damaged"):
        read_directory(io.BytesIO(bytes(content)))
