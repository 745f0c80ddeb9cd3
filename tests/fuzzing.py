"""Hostile bytes for everything that reads a file or a text of somebody else, and how they are made.

A target takes bytes, and must raise an ``OgaError`` or return. ``python tests/fuzzing.py --seconds 60``
mutates the corpus for so long a target, prints the number of executions, and keeps what raises anything else.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import fuzzing_labels as labels
from fuzzing_values import Change, changed_json, changed_table, changed_yaml
from ogacli.errors import ConfigError, OgaError

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
Target = Callable[[bytes], object]

WORDS: list[bytes] = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a",
        b"*a",
        b": ",
        b"- ",
        b"\n",
        b"\n  ",
        b"!!bool x",
        b"!!int ''",
        b"<<: *a",
    ),
    *(
        b"null",
        b"true",
        b"~",
        b"0.05",
        b"-1",
        b"1e400",
        b"99999999999999999999",
        b"NaN",
        b"Infinity",
        b".inf",
    ),
    *(b"${HOME}", b"${X:-y}", b"${", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\xed\xa0\x80", b'"\\ud800"'),
    *("\u202e".encode(), b"../../x", b"|", b">", b"%", b"@", b"`", b"'", b'"', b"#", b"? ", b"2001-99-99"),
    *(b"data", b"model", b"source", b"detector", b"budget", b"review", b"benefit", b"limits", b"truth"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00" * 8, b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PAR1"),
]
"""What is put into the bytes."""


def mutated(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Some bytes with a few changes: bits, words, pieces left out, doubled, or taken from other inputs."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        place = chance.randrange(len(found) + 1)
        end = min(len(found), place + (1 << chance.randrange(8)))
        match chance.randrange(8):
            case 0 if place < len(found):
                found[place] ^= 1 << chance.randrange(8)
            case 1 if place < len(found):
                found[place] = chance.randrange(256)
            case 2:
                found[place:place] = chance.choice(WORDS)
            case 3:
                del found[place:end]
            case 4:
                found[place:place] = found[place:end] * chance.randrange(1, 5)
            case 5:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                found[place:end] = other[start : start + chance.randrange(64)]
            case 6:
                found[place:end] = chance.choice(WORDS)
            case _:
                del found[place:]
        if len(found) > 200_000:
            del found[200_000:]
    return bytes(found)


# --- targets ------------------------------------------------------------------------------------------


@cache
def folder() -> Path:
    """A folder of this process, in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="oga-fuzz-", dir=memory if memory.is_dir() else None))


def _written(name: str, content: bytes) -> str:
    path = folder() / name
    path.write_bytes(content)
    return str(path)


def config(content: bytes) -> object:
    """A config."""
    from ogacli.config import parse_config

    return parse_config(content.decode(errors="surrogateescape"))


def values(content: bytes) -> object:
    """YAML of a run, or after ``--set``."""
    from ogacli.base.documents.yaml_values import plain_values

    return plain_values(content, "config.yaml")


def document(content: bytes) -> object:
    """A JSON document."""
    from ogacli.base.documents.json_document import parse_json

    return parse_json(content, "summary.json", ConfigError)


def policy(content: bytes) -> object:
    """The limits of a gate."""
    from ogacli.run.gate.policy import load_policy

    return load_policy(_written("policy.yaml", content))


def override(content: bytes) -> object:
    """A ``--set``."""
    from ogacli.base.documents.overrides import override
    from ogacli.base.documents.yaml_document import parse

    known = parse("data: {source: digits}\ndetector: [l1, {name: l2}]\n", "config.yaml", Path())
    override(known, [content.decode(errors="surrogateescape")])
    return known


@cache
def _run() -> Path:
    from synthetic_runs import example

    place = folder() / "run"
    shutil.rmtree(place, ignore_errors=True)
    example().write(place)
    return place


def decisions(content: bytes) -> object:
    """Decisions: a document, or a table where the first byte is even."""
    from ogacli.run.decisions import read_decisions
    from ogacli.run.directory import Run

    suffix = ("json", "csv", "jsonl")[content[0] % 3 if content else 0]
    return read_decisions(_written(f"decisions.{suffix}", content[1:]), Run.open(_run()))


_FILES = ("summary.json", "config.yaml", "provenance.json", "scores.parquet", "previews.parquet")


@cache
def _hostile_run() -> Path:
    """A copy of the run, of which one file after the other is replaced."""
    place = folder() / "hostile"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(_run(), place)
    return place


def run(content: bytes) -> object:
    """A run directory, one of whose files is replaced; one of those that read runs reads it."""
    from ogacli.run.compare import compare
    from ogacli.run.diff import diff
    from ogacli.run.directory import Run
    from ogacli.run.gate import gate
    from ogacli.run.reports import formats
    from ogacli.run.review import review
    from ogacli.run.review.server import ReviewServer
    from ogacli.run.trim.manifest import manifest_table

    name = _FILES[content[0] % len(_FILES)] if content else _FILES[0]
    place = _hostile_run()
    (place / name).write_bytes(content[1:])
    pages: list[Callable[[], object]] = [  # which take longer
        lambda: formats.get("html")(Run.open(place)),
        lambda: review(place, folder() / "page.html", overwrite=True),
        lambda: ReviewServer(place, folder() / "none.json").server_close(),
    ]
    readers: list[Callable[[], object]] = [
        lambda: pages[zlib.crc32(content, 1) % len(pages)](),
        *(lambda kind=kind: formats.get(kind)(Run.open(place)) for kind in ("md", "json")),
        lambda: gate(place),
        lambda: gate(_run(), baseline=place),
        lambda: compare([place, _run()]).document(),
        lambda: diff(place, _run()).document(),
        lambda: diff(_run(), place).document(),
        lambda: manifest_table(Run.open(place), budget=0.1),
        lambda: manifest_table(Run.open(place), relabel=True),
    ]
    try:
        return readers[zlib.crc32(content) % len(readers)]()
    finally:
        shutil.copyfile(_run() / name, place / name)


def rows(content: bytes) -> object:
    """A file of samples that is replaced after the scan, and of which the rows that stay are written.

    The run says that the file is as it was, so that no other reader has looked at it before.
    """
    from own_rows import KINDS, own_rows

    kind = KINDS[content[0] % len(KINDS)] if content else KINDS[0]
    place = own_rows(folder() / "rows", kind)
    how = ("relabel", "weights")[zlib.crc32(content) % 2]
    return place.trimmed_with(content[1:], **{how: True})


def checkpoint(content: bytes) -> object:
    """Weights."""
    from ogacli.models.checkpoints import read_weights, trained_classes

    path = _written("weights", content)
    trained_classes(path)
    return read_weights(path)


def estimator(content: bytes) -> object:
    """Coefficients of an estimator."""
    from ogacli.models.checkpoints.estimators import read_coefficients

    return read_coefficients(content, "model.safetensors")


def archive(content: bytes) -> object:
    """A zip archive of files."""
    from ogacli.data.files import open_files

    files = open_files(_written("a.zip", content))
    listing = files.listing()
    return list(files.fetch(listing.names)), listing.notes


def shard(content: bytes) -> object:
    """A tar file of samples."""
    from ogacli.data.files.shards import read_shards

    return list(read_shards([_written("a.tar", content)], lambda kind: True))


def arrays(content: bytes) -> object:
    """An array, alone or in an archive."""
    from ogacli.data.files.npy import open_array

    name = "x" if content.startswith(b"PK") else None
    return open_array(_written("x.npz" if name else "x.npy", content), name)[:2]


def table(content: bytes) -> object:
    """A table in one of the formats."""
    from ogacli.base.tables import column_names, read_table

    suffix = "parquet" if content.startswith(b"PAR1") else ("csv", "jsonl", "tsv")[len(content) % 3]
    path = _written(f"table.{suffix}", content)
    column_names(path)
    return read_table(path)


def picture(content: bytes) -> object:
    """A picture."""
    from ogacli.base.pictures import Undecodable, decoding, opened_picture

    try:
        with opened_picture(content) as found, decoding():
            return found.convert("RGB").size
    except Undecodable as error:
        raise ConfigError(str(error)) from None


TARGETS: dict[str, Target] = {
    one.__name__: one
    for one in (
        *(config, values, document, policy, override, decisions, run, rows, checkpoint, estimator),
        *(archive, shard, arrays, table, picture),
        *(labels.coco, labels.yolo, labels.mask, labels.annotators),
    )
}


def seeds(target: str) -> list[bytes]:
    """The kept inputs of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def inputs(target: str, seed: int) -> Iterator[bytes]:
    """The corpus, and then mutations of it without end; the same for one seed.

    Of the targets whose files have an inner form, half keep that form, with other values.
    """
    chance, corpus = random.Random(f"{target} {seed}"), seeds(target)
    yield from corpus
    while True:
        content = chance.choice(corpus)
        change = _change(target, content)
        if change is not None and chance.randrange(2):
            head = content[:1] if target in _HEADED else b""
            yield head + change(content[len(head) :], chance)
        else:
            yield mutated(content, corpus, chance)


_HEADED = ("run", "rows", "decisions", "yolo", "annotators")
"""The targets whose first byte says which file is meant."""


def _change(target: str, content: bytes) -> Change | None:
    """How the values of an input are changed; None where it has no form that is known here."""
    if target in ("config", "policy"):
        return changed_yaml
    inside = content[1:] if target in _HEADED else content
    if inside.startswith(b"PAR1"):
        return changed_table
    if target == "run":
        return changed_yaml if _FILES[content[0]] == "config.yaml" else changed_json
    if target == "yolo" and content[0] % 2:
        return changed_yaml
    return changed_json if target == "coco" or (target == "decisions" and content[0] % 3 == 0) else None


def survives(target: Target, content: bytes) -> bool:
    """Whether a target took the bytes, and did not refuse them.

    Raises:
        Exception: Anything but an ``OgaError``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target(content)
    except OgaError:
        return False
    return True


def main() -> None:
    """Mutate for some time, and print what was found."""
    asked = argparse.ArgumentParser(description=main.__doc__)
    asked.add_argument("targets", nargs="*", default=list(TARGETS))
    asked.add_argument("--seconds", type=float, default=60)
    asked.add_argument("--executions", type=int, default=1 << 60)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--keep", type=Path, help="a folder for the inputs that raise something else")
    given = asked.parse_args()
    found: dict[str, int] = {}
    for name in given.targets:
        begun, count, taken = time.monotonic(), 0, 0
        for content in inputs(name, given.seed):
            if count >= given.executions or time.monotonic() - begun > given.seconds:
                break
            count += 1
            try:
                taken += survives(TARGETS[name], content)
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{name}: {type(error).__name__} at {Path(line.filename).name}:{line.lineno}"
                found[kind] = found.get(kind, 0) + 1
                if given.keep is not None and found[kind] == 1:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{name}-{len(found)}").write_bytes(content)
                    traceback.print_exc()
        print(f"{name}: {count:,} executions, {taken:,} taken, {count - taken:,} not", flush=True)
    shutil.rmtree(folder(), ignore_errors=True)
    labels.clear()
    print(f"raised anything else: {found or 'none'}")
    sys.exit(bool(found))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
