import re

import pytest

from ogacli.errors import ConfigError, RunError
from ogacli.run.directory import Run
from ogacli.run.reports import formats, report, write_report
from synthetic_runs import Recipe, check_golden, example


@pytest.mark.parametrize("format", formats.names())
def test_golden(tmp_path, format):
    text = report(example().write(tmp_path / "run"), format)
    # The fingerprint of the run changes with each figure that a summary holds.
    check_golden(f"report.{format}", re.sub(r'"run":"[0-9a-f]{64}"', '"run":"fingerprint"', text))


@pytest.mark.parametrize("format", formats.names())
def test_the_same_wherever_the_run_lies(tmp_path, format):
    first = report(example().write(tmp_path / "first"), format)
    assert report(example().write(tmp_path / "elsewhere" / "second"), format) == first
    assert str(tmp_path) not in first


@pytest.mark.parametrize("format", formats.names())
def test_runs_without_this_or_that(tmp_path, format):
    one_score = Recipe(scores=[0.5] * 32).write(tmp_path / "one-score")
    nothing_flagged = Recipe(budget=0).write(tmp_path / "nothing-flagged")
    one_sample = Recipe(n=1, classes=("cat",), budget=1).write(tmp_path / "one-sample")
    for run in (one_score, nothing_flagged, one_sample):
        assert str(run.summary.flagged) in report(run, format)


@pytest.mark.parametrize("format", formats.names())
@pytest.mark.parametrize("scores", [[-3.0, -1.0], [1e-30, 2e-30], [1e30, 3e30], [0.0, 0.0], [1e-12, 5.0]])
def test_scores_of_any_scale(tmp_path, format, scores):
    run = Recipe(n=2, scores=scores, budget=1).write(tmp_path / "run")
    assert "img-00" in report(run, format)


def test_unknown_format(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown report format 'htm'; did you mean 'html'\?"):
        report(Run(tmp_path), "htm")


def test_write_report(tmp_path):
    run = example().write(tmp_path / "run")
    assert write_report(run).read_text() == report(run, "html")
    assert write_report(run, "md").name == "report.md"
    with pytest.raises(RunError, match="already exists"):
        write_report(run)
    write_report(run, overwrite=True)
    destination = tmp_path / "new" / "report.json"
    assert write_report(run, "json", destination) == destination
    assert destination.read_text() == report(run, "json")


def test_an_unknown_format_leaves_no_file(tmp_path):
    run = example().write(tmp_path / "run")
    before = sorted(run.path.iterdir())
    with pytest.raises(ConfigError, match="unknown report format"):
        write_report(run, "pdf", run.path / "report.pdf")
    assert sorted(run.path.iterdir()) == before


def test_a_format_is_one_file(tmp_path, added_module):
    added_module(
        "ogacli.run.reports.count",
        """
        from ogacli.run.reports import formats


        @formats.register
        def render(run):
            return f"{run.summary.flagged}"
        """,
    )
    assert report(example().write(tmp_path / "run").path, "count") == "8"
