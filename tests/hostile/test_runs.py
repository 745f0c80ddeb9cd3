"""A run directory is data, and may come from anybody: nothing of it is run, and nothing else is written."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import yaml
from PIL import Image

from ogacli.base.limits import USUAL
from ogacli.data.sources import source_of
from ogacli.errors import OgaError, RunError, collecting
from ogacli.run.compare import compare
from ogacli.run.diff import diff
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from ogacli.run.reports import formats
from ogacli.run.review import review
from ogacli.run.review.server import ReviewServer
from ogacli.run.trim import trim
from synthetic_runs import Recipe, example

READERS: dict[str, Callable[[Path], object]] = {
    **{kind: lambda run, kind=kind: formats.get(kind)(Run.open(run)) for kind in ("html", "md", "json")},  # type: ignore[misc]
    "gate": lambda run: gate(run),
    "baseline": lambda run: gate(run, baseline=run),
    "compare": lambda run: compare([run, run]).document(),
    "diff": lambda run: diff(run, run).document(),
    "review": lambda run: review(run, run.parent / "page.html").path.read_text(),
    "review --serve": lambda run: ReviewServer(run, run.parent / "decisions.json").server_close(),
    "trim": lambda run: trim(run, manifest=run.parent / "manifest.csv"),
}
"""What reads a run, by name."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return example().write(tmp_path / "run").path


def with_config(run: Path, **sections: Any) -> None:
    values = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(values | sections))


@pytest.mark.parametrize("reader", READERS)
def test_code_that_a_run_names_is_not_run(run: Path, tmp_path: Path, monkeypatch, reader: str) -> None:
    (run / "evil.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\ndef make(): ...\n")
    monkeypatch.chdir(run)
    with_config(
        run,
        data={"source": "python", "factory": "evil:make", "path": str(run)},
        model={"source": "transformers", "name": str(run), "trust": True},
        loss={"name": "python", "function": "evil:make"},
    )
    (run / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.make"}}))
    READERS[reader](run)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("reader", READERS)
def test_no_variable_of_the_environment_is_read(run: Path, monkeypatch, reader: str) -> None:
    monkeypatch.setenv("OGA_SECRET", "a-secret")
    with_config(run, data={"source": "image_folder", "root": "/data/${OGA_SECRET}"})
    found = READERS[reader](run)
    assert "a-secret" not in str(found)
    assert "a-secret" not in "".join(path.read_text() for path in run.parent.glob("manifest*"))


def test_the_source_of_a_run_raises_no_limit(run: Path) -> None:
    section = {"source": "image_folder", "root": "/data", "limits": {"pixels": USUAL.pixels + 1}}
    with pytest.raises(
        RunError, match=r"data\.limits\.pixels: this source of data raises a limit(.|\n)*--config FILE"
    ):
        source_of(section, run / "config.yaml")
    assert source_of(section | {"limits": {"pixels": 5}}, run / "config.yaml").bounds.pixels == 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"data: &a [*a]"),
        ("config.yaml", b"a: !!python/object/apply:os.system [ls]"),
        ("config.yaml", b"- 1"),
        ("config.yaml", b"\xff"),
        ("summary.json", b'{"schema_version": NaN}'),
        ("summary.json", b"[" * 100_000),
        ("summary.json", b'"\\ud800"'),
        ("scores.parquet", b"PAR1" + bytes(40) + b"PAR1"),
        ("previews.parquet", b"PAR1"),
    ],
)
def test_a_damaged_file_is_told(run: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    problems: list[OgaError] = []
    for read in READERS.values():
        with collecting(problems):
            read(run)
    assert problems
    assert all(name in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id", pa.array([1] * 32)),
        ("id", pa.nulls(32, pa.string())),
        ("flagged", pa.array(["yes"] * 32)),
        ("rank", pa.array([0.5] * 32)),
        ("score", pa.array([{"a": 1}] * 32)),
        ("position", pa.array([None, *range(31)], pa.int64())),
        ("label", pa.array([b"x"] * 32)),
        ("score", pa.array([0.5] * 32, pa.float16())),
        ("label", pa.array([0.5] * 32, pa.float16())),
        ("score", pa.array([float("inf")] * 32)),
        ("confidence", pa.array([float("nan")] * 32)),
    ],
)
def test_columns_of_other_types_are_told(run: Path, column: str, values: pa.Array) -> None:
    table = pa.parquet.read_table(run / "scores.parquet")
    table = table.set_column(table.column_names.index(column), column, values)
    pa.parquet.write_table(table, run / "scores.parquet")
    with pytest.raises(RunError, match=rf"scores.parquet: .*column '{column}'"):
        Run.open(run).scores  # noqa: B018


def test_a_flagged_sample_without_a_rank_is_told(run: Path) -> None:
    table = pa.parquet.read_table(run / "scores.parquet")
    nothing = pa.nulls(32, pa.int64())
    table = table.set_column(table.column_names.index("rank"), "rank", nothing)
    pa.parquet.write_table(table, run / "scores.parquet")
    with pytest.raises(RunError, match=r"scores\.parquet: a flagged row without a rank"):
        Run.open(run).scores  # noqa: B018


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("provenance.json", ["versions"], []),
        ("provenance.json", ["dataset"], None),
        ("provenance.json", ["dataset", "fingerprint"], 5),
        ("provenance.json", ["dataset", "stamp"], [1]),
        ("provenance.json", ["checkpoints"], {"a": 1}),
        ("summary.json", ["samples"], 31),
        ("summary.json", ["budget"], {"x": 1}),
        ("summary.json", ["budget"], {"review": {"review": 3}}),
        ("summary.json", ["samples"], 0),
        ("summary.json", ["detectors"], []),
        ("summary.json", ["detectors"], ["l2", "not_there"]),
        ("summary.json", ["evaluation"], {}),
        ("summary.json", ["histogram", "counts"], [-1, 2]),
        ("config.yaml", ["model"], [1]),
    ],
)
def test_documents_with_other_values(run: Path, name: str, path: list[str], value: Any) -> None:
    """Told by those that need it; the others pass."""
    document = yaml.safe_load((run / name).read_text())
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    (run / name).write_text(json.dumps(document))
    problems: list[OgaError] = []
    for read in READERS.values():
        with collecting(problems):
            read(run)
    assert bool(problems) == (name != "config.yaml")
    assert all(name in str(problem) or "scores.parquet" in str(problem) for problem in problems)


def test_texts_that_are_none(run: Path) -> None:
    """Arrow reads the bytes of a text as they are."""
    table = pa.parquet.read_table(run / "scores.parquet")
    ids = pa.array([b"\xff\xfe"] * len(table)).view(pa.string())
    pa.parquet.write_table(table.set_column(0, "id", ids), run / "scores.parquet")
    for name in ("html", "md", "json", "diff", "review"):
        with pytest.raises(RunError, match=r"scores\.parquet: does not parse"):
            READERS[name](run)


def test_values_of_a_config_that_json_has_not(run: Path) -> None:
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config + "x: [.inf, -.inf, .nan, 2001-01-01, 0x10]\n")
    found = json.loads(formats.get("json")(Run.open(run)))
    assert found["config"]["x"][:3] == [None] * 3


@pytest.mark.parametrize("kind", ["loop", "folder", "elsewhere"])
@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "scores.parquet"])
def test_links_and_folders_in_place_of_files(run: Path, tmp_path: Path, kind: str, name: str) -> None:
    place = run / name
    place.rename(tmp_path / name)
    if kind == "folder":
        place.mkdir()
    else:
        os.symlink(place if kind == "loop" else tmp_path / name, place)
    problems: list[OgaError] = []
    for read in READERS.values():
        with collecting(problems):
            read(run)
    assert not problems or kind != "elsewhere"
    assert place.is_symlink() or kind == "folder", "left as it is"


def test_a_trimmed_folder_stays_in_its_place(tmp_path: Path) -> None:
    """Ids and labels with ``..`` and absolute paths name no file outside of the destination."""
    names = ["../../out.png", "/tmp/out.png", "..", "a/../../b.png", "CON", "x\0y", "C:\\b.png", "-rf"]
    source = tmp_path / "source"
    for label in ("cat", "dog"):
        (source / label).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(source / label / f"{i}.png")
    run = Recipe(n=8, classes=("../cat", "dog"), ids=names, labels=[0] * 4 + [1] * 4).write(
        tmp_path / "a" / "run"
    )
    with_config(run.path, data={"source": "image_folder", "root": str(source)})
    before = {path for path in tmp_path.rglob("*") if "to" not in path.parts}
    with collecting([]):  # the dataset is another one than that of the run
        trim(run.path, tmp_path / "a" / "to", format="image_folder")
    assert {path for path in tmp_path.rglob("*") if "to" not in path.parts} == before


def test_what_is_displayed_of_a_run(run: Path) -> None:
    table = pa.parquet.read_table(run / "scores.parquet")
    names = pc.binary_join_element_wise(table["id"], pa.scalar("\u202egnp.\x1b[2J"), "")
    pa.parquet.write_table(table.set_column(0, "id", names), run / "scores.parquet")
    text = formats.get("md")(Run.open(run))
    assert not {"\u202e", "\x1b"} & set(text)
    assert r"\u202e" in text
