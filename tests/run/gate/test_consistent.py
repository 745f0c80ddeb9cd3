"""A run directory that was edited does not pass: rows, summary, or both."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from ogacli.run.digest import SUMMARY, summary_digest
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from synthetic_runs import Recipe, example


@pytest.fixture
def folder(tmp_path):
    return Recipe(n=64, budget=16, quarantined={5: "broken"}).write(tmp_path / "run").path


def consistent(folder, **options):
    return next(one for one in gate(folder, **options).conditions if one.name == "consistent")


def edit_summary(folder, **changes):
    file = folder / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite(folder, change, *, keep_metadata=True):
    """Edit the rows as a program would that keeps the metadata of the file."""
    file = folder / "scores.parquet"
    with pa.parquet.ParquetFile(file) as opened:
        table, metadata = opened.read(), opened.metadata.metadata
    table = change(table).replace_schema_metadata(metadata if keep_metadata else None)
    pa.parquet.write_table(table, file)


def with_column(name, values):
    def change(table):
        at = table.column_names.index(name)
        return table.set_column(at, name, pa.array(values(table[name].to_pylist()), table[name].type))

    return change


def test_a_run_as_it_was_written_passes_whatever_the_layout_of_its_files(folder):
    assert consistent(folder).status == "passed"
    file = folder / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=7, sort_keys=True))
    rewrite(folder, lambda table: table)
    assert consistent(folder).status == "passed"
    assert consistent(example().write(folder.parent / "other").path).status == "passed"


def test_a_summary_without_a_field_that_was_added_since_passes(folder):
    """As an earlier version of oga wrote it, with the digest of what it wrote."""
    file = folder / "summary.json"
    document = json.loads(file.read_text())
    assert document.pop("rescored", 0) is None
    file.write_text(json.dumps(document))
    assert consistent(folder).status == "failed"
    with pa.parquet.ParquetFile(folder / "scores.parquet") as opened:
        table, metadata = opened.read(), opened.metadata.metadata
    metadata = metadata | {SUMMARY: summary_digest(document).encode()}
    pa.parquet.write_table(table.replace_schema_metadata(metadata), folder / "scores.parquet")
    assert consistent(folder).status == "passed"


def test_a_summary_of_which_nothing_is_flagged(folder):
    """Its counts are not believed either."""
    before = gate(folder, max_flagged=10)
    edit_summary(folder, flagged=0, cut=None)
    after = gate(folder, max_flagged=10)
    assert [one.found for one in before.conditions[1:]] == [one.found for one in after.conditions[1:]]
    told = consistent(folder)
    assert not after.passed
    assert told.found == "summary.json is not the one that the scan wrote with these scores"
    assert "flagged: summary.json says 0, there are 16" in told.detail
    assert "scan again" in told.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"diagnosis": {"verdict": "useful", "fit": 0.9, "mean_agreement": 0.9, "warnings": []}},
        {"estimate": None},
        {"notes": ["all is well"]},
    ],
)
def test_what_only_the_summary_knows_is_bound_to_the_scores(folder, changes):
    edit_summary(folder, **changes)
    assert consistent(folder).found == "summary.json is not the one that the scan wrote with these scores"
    assert not gate(folder, require_useful=True).passed


@pytest.mark.parametrize(
    "change",
    [
        with_column("flagged", lambda values: [False] * len(values)),
        with_column("id", lambda values: ["other", *values[1:]]),
        with_column("label", lambda values: ["dog", *values[1:]]),
        with_column("fingerprint", lambda values: [values[1], *values[1:]]),
        with_column("given_label_probability", lambda values: [0.0, *values[1:]]),
        lambda table: table.filter(pa.compute.invert(table["flagged"])),
        lambda table: table.take(list(range(63, -1, -1))),
    ],
)
def test_rows_that_were_edited(folder, change):
    rewrite(folder, change)
    assert consistent(folder).found == "the rows of scores.parquet are not those that the scan wrote"
    assert not gate(folder).passed


def test_rows_and_summary_that_were_edited_together_lack_the_digest(folder):
    rewrite(folder, with_column("flagged", lambda values: [False] * len(values)), keep_metadata=False)
    edit_summary(folder, flagged=0, cut=None)
    assert consistent(folder).found.startswith("scores.parquet has no digest")


def test_the_summary_of_another_run(folder, tmp_path):
    calm = Recipe(n=64, budget=0).write(tmp_path / "calm").path
    (folder / "summary.json").write_bytes((calm / "summary.json").read_bytes())
    assert consistent(folder).status == "failed"


def test_a_baseline_that_was_edited(folder, tmp_path):
    baseline = Recipe(n=64).write(tmp_path / "baseline").path
    assert consistent(folder, baseline=baseline).status == "passed"
    rewrite(baseline, lambda table: table.slice(1))
    told = consistent(folder, baseline=baseline)
    assert told.found.startswith("the baseline: the rows of scores.parquet are not those")


def test_labels_of_every_kind_are_counted(tmp_path):
    numbers = Recipe(classes=(), labels=[i / 4 for i in range(32)]).write(tmp_path / "numbers")
    several = [[float(i % 2), 1.0] for i in range(32)]
    several = Recipe(classes=("x", "y"), labels=several).write(tmp_path / "several")
    for run in (numbers, several):
        assert consistent(run.path).status == "passed"
    assert [one.samples for one in several.counts.classes] == [16, 32]


def test_the_rows_are_read_a_group_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(Run, "scores", property(lambda run: pytest.fail("the whole table was read")))
    assert gate(folder, baseline=folder).conditions
