import json

import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml

from ogacli.config.commands import scan
from ogacli.errors import RunError
from ogacli.run.directory import Run, is_run
from small_scans import make_place
from synthetic_runs import Recipe


@pytest.fixture
def run(tmp_path):
    return Recipe().write(tmp_path / "run")


def test_what_a_scan_writes_is_read(tmp_path):
    place = make_place(tmp_path, detector=["l2", "l1"])
    run = scan(place.config("output=null"), output=tmp_path / "run")
    assert is_run(run.path)
    opened = Run.open(str(run.path))
    assert opened.summary == run.summary
    assert opened.config == yaml.safe_load((run.path / "config.yaml").read_text()) == place.config().resolved
    assert "output" not in opened.config
    assert opened.scores.num_rows == 120
    assert opened.previews.column_names == ["position", "kind", "content"]
    assert opened.previews.num_rows == 100, "of the most anomalous"
    top = [row["position"] for row in sorted(opened.scores.to_pylist(), key=lambda row: row["rank"])[:100]]
    assert opened.previews["position"].to_pylist() == top
    assert set(opened.timing["seconds"]) == {"load", "score", "write"}


def test_the_provenance_says_what_it_came_from(tmp_path):
    import hashlib
    import platform

    import torch

    import ogacli

    place = make_place(tmp_path, detector=["l2", {"name": "isolation_forest", "seed": 4, "trees": 2}])
    found = scan(place.config()).provenance
    weights = place.folder / "weights.safetensors"
    assert found["schema_version"] == 1
    assert found["versions"]["ogacli"] == ogacli.__version__
    assert found["versions"]["torch"] == str(torch.__version__)
    assert found["versions"]["python"] == platform.python_version()
    assert found["seeds"] == [4]
    assert (found["device"], found["precision"]) == ("cpu", "float32")
    assert found["dataset"]["source"] == "arrays"
    assert found["dataset"]["samples"] == 120
    assert found["dataset"]["fingerprint"] == place.config().data.open().fingerprint
    assert found["checkpoints"] == {str(weights): hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert found["parameters"] == {"head.weight": 18, "head.bias": 3}


def test_no_such_run(tmp_path):
    with pytest.raises(RunError, match=r"nowhere: no such run directory\n  next: `oga scan CONFIG`"):
        Run.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty: not a run directory: no summary\.json"):
        Run.open(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file: no such run directory"):
        Run.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "summary.json: not JSON"),
        ("[]", "summary.json: not a document that oga wrote"),
        ('{"schema_version": 1}', "summary.json: not a summary that oga wrote"),
        ('{"schema_version": 99}', "written by another version of oga\n  found: schema version 99"),
        ("{}", "written by another version of oga\n  found: schema version None"),
        ("\xff", "summary.json: not JSON"),
    ],
)
def test_a_summary_that_is_none(run, text, message):
    (run.path / "summary.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError) as caught:
        Run.open(run.path)
    assert message in str(caught.value)


def test_files_that_are_missing_or_damaged(run):
    for name, read in (
        ("config.yaml", lambda run: run.config),
        ("provenance.json", lambda run: run.provenance),
        ("scores.parquet", lambda run: run.scores),
        ("previews.parquet", lambda run: run.previews),
        ("timing.json", lambda run: run.timing),
    ):
        (run.path / name).write_bytes(b"[\xff{")
        with pytest.raises(RunError, match="not "):
            read(Run.open(run.path))
        (run.path / name).unlink()
        with pytest.raises(RunError, match=f"no {name}"):
            read(Run.open(run.path))


def test_scores_without_a_column(run):
    table = run.scores.drop_columns(["rank", "flagged"])
    pa.parquet.write_table(table, run.path / "scores.parquet")
    with pytest.raises(RunError, match=r"scores\.parquet: no column rank, flagged"):
        _ = Run.open(run.path).scores


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "thesis.txt").write_text("mine"),
        lambda folder: (folder / "notes").mkdir(),
        lambda folder: (folder / "summary.json").write_text("{}"),
        lambda folder: (folder / "summary.json").write_text('{"schema_version": 1}'),
        lambda folder: (folder / "scores.parquet").write_bytes(b"mine"),
        lambda folder: (folder / "scores.parquet").write_bytes((folder / "previews.parquet").read_bytes()),
        lambda folder: (folder / "report.html").symlink_to("summary.json"),
    ],
)
def test_a_folder_that_is_no_run_or_more_than_one(run, change):
    """A scan with --overwrite may replace a run, and nothing beside it."""
    assert is_run(run.path)
    change(run.path)
    assert not is_run(run.path)


def test_files_are_read_when_they_are_asked_for(run):
    for name in ("scores.parquet", "previews.parquet", "provenance.json", "config.yaml"):
        (run.path / name).unlink()
    assert Run.open(run.path).summary.samples == 32
    assert not is_run(run.path)


def test_documents_are_plain_json(tmp_path):
    run = scan(make_place(tmp_path).config())

    def refuse(name: str) -> None:
        raise AssertionError(name)

    for name in ("summary.json", "provenance.json", "timing.json"):
        json.loads((run.path / name).read_text(), parse_constant=refuse)
