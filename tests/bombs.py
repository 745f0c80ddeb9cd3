"""Small files that would take gigabytes, hours or a whole disk if they were read without limits.

Each function writes one into a folder and returns what a user would name in a config.
"""

import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

BOMB = 9 << 29
"""4.5 GiB."""


def zeros(size: int, before: bytes = b"") -> bytes:
    """A deflate stream of some bytes and many zeros, made without unpacking it."""
    megabyte = 1 << 20
    start = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = start.compress(before) + start.flush(zlib.Z_FULL_FLUSH)
    part = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = part.compress(bytes(megabyte)) + part.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size // megabyte) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def zipped(name: str, packed: bytes, size: int, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of one member, whose size is as stated and whose CRC is 0; of 64 bits where needed."""
    key, short = name.encode(), 0xFFFFFFFF
    extra = struct.pack("<HHQQ", 1, 16, size, len(packed)) if size >= short else b""
    sizes = (short, short) if extra else (len(packed), size)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, method, 0, 0, 0, *sizes, len(key), len(extra))
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, method, 0, 0, 0, *sizes, len(key), len(extra), 0, 0, 0, 0, 0
    )
    body, directory = local + key + extra + packed, entry + key + extra
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(body), 0)
    return body + directory + end


def zip_member(folder: Path) -> str:
    """An archive of pictures, one of which has 4.5 GiB in 4.7 MB."""
    path = folder / "member.zip"
    path.write_bytes(zipped("cat/a.png", zeros(BOMB), BOMB))
    return str(path)


def lying_member(folder: Path) -> str:
    """A member that states 100 bytes and unpacks to 4.5 GiB."""
    path = folder / "lying.zip"
    path.write_bytes(zipped("cat/a.png", zeros(BOMB), 100))
    return str(path)


def member_beyond_the_archive(folder: Path) -> str:
    """A stored member of 2**50 bytes, as its archive states."""
    path = folder / "beyond.zip"
    content = bytearray(zipped("cat/a.png", b"x", 1 << 50, method=zipfile.ZIP_STORED))
    place = content.rindex(struct.pack("<QQ", 1 << 50, 1))
    content[place : place + 16] = struct.pack("<QQ", 1, 1 << 50)
    path.write_bytes(content)
    return str(path)


def long_name(folder: Path) -> str:
    """60,000 members, one of whose names has 65,000 letters."""
    path = folder / "names.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/" + "x" * 65_000 + ".png", b"x")
        for i in range(60_000):
            archive.writestr(f"cat/{i}.png", b"")
    return str(path)


def many_members(folder: Path) -> str:
    """An archive that states 2**40 members and has one."""
    path = folder / "count.zip"
    content = zipped("cat/a.png", b"x", 1, method=zipfile.ZIP_STORED)
    begin = content.index(b"PK\1\2")
    size = len(content) - begin - 22
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, size, begin)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(content[: begin + size] + end)
    return str(path)


def npz(folder: Path) -> str:
    """An array of 4.5 GiB of zeros in 4.7 MB."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (BOMB,)})
    path = folder / "array.npz"
    path.write_bytes(zipped("x.npy", zeros(BOMB, header.getvalue()), BOMB + len(header.getvalue())))
    return str(path)


def _npy(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return header.getvalue() + bytes(64)


def npy_shape(folder: Path) -> str:
    """An array that states 2**50 numbers and has 8."""
    path = folder / "shape.npy"
    path.write_bytes(_npy((1 << 25, 1 << 25)))
    return str(path)


def npy_negative(folder: Path) -> str:
    """An array of a negative shape."""
    path = folder / "negative.npy"
    path.write_bytes(_npy((-8, -(1 << 40))))
    return str(path)


def npy_header(folder: Path) -> str:
    """An array whose header states 4 GiB."""
    path = folder / "header.npy"
    path.write_bytes(b"\x93NUMPY\2\0" + struct.pack("<L", 0xFFFFFFFF) + b"{'descr': '<f8'")
    return str(path)


def png(folder: Path, side: int = 60_000) -> str:
    """A picture of 60,000 x 60,000 pixels in some bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
        )

    (folder / "cat").mkdir(exist_ok=True)
    (folder / "cat" / "big.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2L5B", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    return str(folder)


def repeated_text(folder: Path) -> str:
    """A table with a text of a megabyte in each of 200,000 rows, in 700 bytes."""
    rows = pa.DictionaryArray.from_arrays(np.zeros(200_000, np.int32), pa.array(["x" * 1_000_000]))
    path = folder / "text.parquet"
    kind = pa.schema([("text", pa.dictionary(pa.int32(), pa.string()))])
    with pa.parquet.ParquetWriter(
        path, kind, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=False
    ) as file:
        file.write_table(pa.table({"text": rows}), row_group_size=1_000_000)
    return str(path)


def many_rows(folder: Path) -> str:
    """A table of 3 * 10**8 equal numbers, in about a megabyte."""
    path = folder / "rows.parquet"
    part = pa.table({"a": np.zeros(10_000_000, np.int64)})
    with pa.parquet.ParquetWriter(path, part.schema, compression="zstd") as file:
        for _ in range(30):
            file.write_table(part, row_group_size=10_000_000)
    return str(path)


def tar_negative(folder: Path) -> str:
    """A shard with a member of a negative size, after which the reader would begin again."""
    path = folder / "negative.tar"
    info = tarfile.TarInfo("000001.cls")
    info.size = -1024
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    return str(path)


def tar_header(folder: Path) -> str:
    """A shard whose extended header states 2**50 bytes."""
    path = folder / "header.tar"
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 50
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    return str(path)


def tar_member(folder: Path) -> str:
    """A shard whose label states 2**50 bytes."""
    path = folder / "member.tar"
    info = tarfile.TarInfo("000001.cls")
    info.size = 1 << 50
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    return str(path)


def tar_sparse(folder: Path) -> str:
    """A shard with a sparse file of 2**40 bytes, nearly all of which is a hole."""
    path = folder / "sparse.tar"
    info = tarfile.TarInfo("000001.cls")
    info.size, info.pax_headers = (
        512,
        {
            "GNU.sparse.map": "0,512",
            "GNU.sparse.size": str(1 << 40),
            "GNU.sparse.name": "000001.cls",
        },
    )
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(512) + bytes(10_240))
    return str(path)


def tar_nested(folder: Path) -> str:
    """A shard with a json of 100,000 brackets."""
    path = folder / "nested.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("000001.json")
        info.size = 100_000
        tar.addfile(info, io.BytesIO(b"[" * 100_000))
    return str(path)


def safetensors_header(folder: Path) -> str:
    """Weights whose header states 2**60 bytes."""
    path = folder / "header.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b'{"a": 1}')
    return str(path)


def packed_weights(folder: Path) -> str:
    """Weights in an archive with a member of 4.5 GiB in 4.7 MB."""
    path = folder / "packed.pt"
    path.write_bytes(zipped("archive/data.pkl", zeros(BOMB), BOMB))
    return str(path)


def nested_json(folder: Path) -> str:
    """A table whose only line has 100,000 brackets."""
    path = folder / "nested.jsonl"
    path.write_text('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    return str(path)


def long_line(folder: Path, size: int = 1 << 30) -> str:
    """A jsonl file of one line of a gigabyte that is never closed."""
    path = folder / "line.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(size)
    return str(path)


def long_field(folder: Path, size: int = 1 << 30) -> str:
    """A csv file with a field of a gigabyte."""
    path = folder / "field.csv"
    with path.open("wb") as file:
        file.write(b'a,b\n1,"')
        for _ in range(size >> 20):
            file.write(b"x" * (1 << 20))
        file.write(b'"\n')
    return str(path)


def gzipped_table(folder: Path) -> str:
    """A csv file that is packed, under the name of one that is not."""
    path = folder / "packed.csv"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    path.write_bytes(packer.compress(bytes(1 << 24)) + packer.flush())
    return str(path)


def aliases(folder: Path) -> str:
    """A config that grows to 9**9 values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    path = folder / "aliases.yaml"
    path.write_text("\n".join(lines))
    return str(path)


def brackets(folder: Path) -> str:
    """A config of 2,000 brackets."""
    path = folder / "brackets.yaml"
    path.write_text("data: " + "[" * 2_000)
    return str(path)


def itself(folder: Path) -> str:
    """A config that holds itself."""
    path = folder / "itself.yaml"
    path.write_text("data: &a {limit: *a}")
    return str(path)


def wide_number(folder: Path) -> str:
    """A table whose image is named by a number of 10**9 digits."""
    path = folder / "wide.csv"
    path.write_text("index,label\n1,cat\n2,dog\n")
    return str(path)


def loop(folder: Path) -> str:
    """A link to itself."""
    path = folder / "loop"
    os.symlink(path, path)
    return str(path)


def deep_summary(folder: Path) -> str:
    """A run whose summary has 100,000 brackets."""
    run = folder / "run"
    run.mkdir()
    (run / "summary.json").write_text('{"schema_version": ' + "[" * 100_000)
    return str(run)


def million_members(folder: Path) -> str:
    """A shard of a million empty members, half a gigabyte."""
    path = folder / "million.tar"
    with path.open("wb") as file:
        for start in range(0, 1_000_000, 10_000):
            file.write(
                b"".join(tarfile.TarInfo(f"{i:07d}.cls").tobuf() for i in range(start, start + 10_000))
            )
        file.write(bytes(1024))
    return str(path)


def merged_names(folder: Path) -> str:
    """A file of class names with sections that take in 9**9 others."""
    lines = ["a: &a {x: 1}"]
    lines += [
        f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    path = folder / "names.yaml"
    path.write_text("\n".join([*lines, "names: [cat, dog]"]))
    return str(path)


def many_categories(folder: Path) -> str:
    """A file of COCO with 200,000 categories, each of which must have a name of its own."""
    path = folder / "boxes.json"
    kinds = [{"id": i, "name": f"class {i}"} for i in range(200_000)]
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": kinds}))
    return str(path)


def many_voices(folder: Path) -> str:
    """40,000 samples, one of which has 40,000 annotators: as a matrix 10 GB."""
    path = folder / "voices.csv"
    path.write_text("id,annotator,label\n" + "".join(f"0,who {i},0\n" for i in range(40_000)))
    return str(path)


def many_annotators(folder: Path) -> str:
    """10,000 annotators of samples of 1,000 classes: their confusion matrices take 80 GB."""
    path = folder / "annotators.csv"
    path.write_text("id,annotator,label\n" + "".join(f"{i},who {i},{i % 1000}\n" for i in range(10_000)))
    return str(path)


def new_keys(folder: Path) -> str:
    """A table of 30,000 lines, each with a key of its own: as columns 9 * 10**8 values, in 400 kB."""
    path = folder / "keys.jsonl"
    path.write_text("".join(f'{{"k{i}": 1}}\n' for i in range(30_000)))
    return str(path)


def many_dimensions(folder: Path) -> str:
    """An array of 2,000 dimensions, more than numpy maps."""
    path = folder / "dimensions.npy"
    path.write_bytes(_npy((1,) * 2_000))
    return str(path)


def header_expression(folder: Path) -> str:
    """An array whose header would have to be computed: 9 ** 9 ** 9."""
    path = folder / "expression.npy"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9**9**9,)}\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    return str(path)


def overlapping_members(folder: Path) -> str:
    """60,000 members of 16 MiB each, all of which are the same bytes of the archive."""
    path, packed = folder / "overlapping.zip", zeros(1 << 24)
    start = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), 1 << 24, 9, 0) + b"cat/0.png"
    body, names = start + packed, [f"cat/{i}.png".encode() for i in range(60_000)]
    sizes = len(packed), 1 << 24
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, *sizes, len(name), 0, 0, 0, 0, 0, 0)
        + name
        for name in names
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(names), len(names), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return str(path)


def unpacker_memory(folder: Path) -> str:
    """A member packed by LZMA, which states that unpacking it takes 4 GiB."""
    path = folder / "lzma.zip"
    packed = struct.pack("<BBHBI", 9, 4, 5, 0x5D, 0xFFFFFFFF) + bytes(100)
    path.write_bytes(zipped("cat/a.png", packed, 1000, method=zipfile.ZIP_LZMA))
    return str(path)


def one_number(folder: Path) -> str:
    """Weights of 2**40 values, all of which are one stored number."""
    import torch

    path = folder / "repeated.pt"
    torch.save({"w": torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0))}, path)
    return str(path)


def shape_alone(folder: Path) -> str:
    """Weights of 2**40 values of which only the shape is stored."""
    import torch

    path = folder / "meta.pt"
    torch.save({"w": torch.empty(1 << 40, device="meta")}, path)
    return str(path)


def sparse_weights(folder: Path) -> str:
    """Weights of 2**40 values, of which one is stored."""
    import torch

    path = folder / "sparse.pt"
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        torch.save({"w": torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,))}, path)
    return str(path)


def long_scalar(folder: Path) -> str:
    """A config whose only value has four million letters."""
    path = folder / "scalar.yaml"
    path.write_text("data: " + "x" * 4_000_000)
    return str(path)


def sexagesimal(folder: Path) -> str:
    """A config with a number of a million digits to base 60, as YAML has them."""
    path = folder / "sixty.yaml"
    path.write_text("budget: 1" + ":59" * 1_000_000)
    return str(path)


def repeated_keys(folder: Path) -> str:
    """A config with 50,000 problems."""
    path = folder / "keys.yaml"
    path.write_text("k: 1\n" * 50_000)
    return str(path)


def packed_text(folder: Path) -> str:
    """A picture with a text beside it of a gigabyte, in a megabyte."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = len(content), zlib.crc32(kind + content)
        return struct.pack(">L", size) + kind + content + struct.pack(">L", check)

    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    (folder / "cat").mkdir()
    (folder / "cat" / "text.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2L5B", 1, 1, 8, 2, 0, 0, 0))
        + chunk(b"zTXt", b"k\0\0" + text)
        + chunk(b"IDAT", zlib.compress(bytes(4)))
        + chunk(b"IEND", b"")
    )
    return str(folder)


def read_all() -> None:
    """Read each of the files named on stdin, and print how each ended; for a process of its own."""
    import resource
    import sys
    import time

    for line in sys.stdin:
        kind, place = json.loads(line)
        begun = time.process_time()
        try:
            found = READERS[kind](place)
        except Exception as error:
            found = error
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told = {
            "kind": type(found).__name__,
            "message": str(found),
            "seconds": time.process_time() - begun,
            "megabytes": peak,
        }
        print(json.dumps(told), flush=True)


def _folder(place: str) -> object:
    from ogacli.data.sources.image_folder import ImageFolder

    samples = ImageFolder(root=place).open()
    return dict(list(samples.reader.read(range(len(samples)))[1].items())[:10])


def _arrays(place: str) -> object:
    from ogacli.data.files.npy import open_array

    return open_array(place, "x" if place.endswith(".npz") else None)[:1]


def _table(place: str) -> object:
    from ogacli.base.tables import read_table

    return read_table(place).num_rows


def _shards(place: str) -> object:
    from ogacli.data.sources.webdataset import WebDataset

    return len(WebDataset(path=place, text="txt", label="cls").open())


def _weights(place: str) -> object:
    from ogacli.models.checkpoints import read_weights, trained_classes

    trained_classes(place)
    return list(read_weights(place))


def _config(place: str) -> object:
    from ogacli.config import load_config

    return load_config(place)


def _image_table(place: str) -> object:
    from ogacli.data.sources.table import Table

    return Table(path=place, label="label", image="{index:0999999999d}.png").open()


def _run(place: str) -> object:
    from ogacli.run.directory import Run

    return Run.open(place).summary


def _masks(place: str) -> object:
    from ogacli.data.sources.segmentation import Segmentation

    return Segmentation(images=place, masks=place, classes=("cat", "dog")).open()


def _names(place: str) -> object:
    from ogacli.data.images.yolo import read_names

    return read_names(place)


def _coco(place: str) -> object:
    from ogacli.data.images.coco import read_coco

    return len(read_coco(place).classes)


def _annotators(place: str) -> object:
    import torch

    from ogacli.data.labels.annotations import annotated
    from ogacli.data.samples import Samples

    n, k = (10_000, 1_000) if Path(place).stem == "annotators" else (40_000, 2)
    samples = Samples.of(
        [torch.zeros(1)] * n,
        labels=[i % k for i in range(n)],
        classes=list(map(str, range(k))),
        ids=list(map(str, range(n))),
    )
    return annotated(samples, place)


READERS = {
    "folder": _folder,
    "arrays": _arrays,
    "table": _table,
    "shards": _shards,
    "weights": _weights,
    "config": _config,
    "image table": _image_table,
    "run": _run,
    "masks": _masks,
    "names": _names,
    "coco": _coco,
    "annotators": _annotators,
}
"""What reads a file, by kind."""
