import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from torch import Tensor

from command_line import oga
from ogacli.config import load_config
from ogacli.config.commands import scan, train
from ogacli.errors import RunError
from ogacli.gradients import GradientBatch
from ogacli.run.compare import compare
from ogacli.run.directory import Run
from small_scans import Place, make_place
from synthetic_runs import Recipe

LIST = ["l2", "loss", {"name": "gradient_tracing", "against": "self"}, {"name": "l2", "per_class": True}]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def run(place: Place) -> Run:
    place.write_config(detector=LIST)
    return scan(place.config(), output=place.folder / "first")


@pytest.fixture(scope="module")
def other(place: Place) -> Run:
    return scan(place.config("detector=[l1]", "budget=0.3", "protect=off"), output=place.folder / "second")


def test_columns_are_compared_with_the_first(run: Run) -> None:
    scipy = pytest.importorskip("scipy.stats")
    found = compare([run])
    assert compare([str(run.path)]) == found
    assert [column.detector for column in found.columns] == [
        "l2",
        "loss",
        "gradient_tracing_self",
        "l2_per_class",
    ]
    assert (found.samples, found.flagged) == (120, 12)
    first, scores = found.columns[0], run.scores
    assert (first.correlation, first.overlap) == (pytest.approx(1), 1)
    squared = found.columns[2]
    assert (squared.correlation, squared.overlap) == (pytest.approx(1), 1)
    for column in found.columns[1:]:
        own = scores[f"score_{column.detector}"].to_numpy()
        reference = scores["score"].to_numpy()
        assert column.correlation == pytest.approx(scipy.spearmanr(own, reference).statistic)
        top = [set(np.argsort(-values, kind="stable")[:12].tolist()) for values in (own, reference)]
        assert column.overlap == len(top[0] & top[1]) / 12


def test_figures_against_the_truth_are_those_of_the_summary(run: Run) -> None:
    assert run.summary.evaluation is not None
    assert {column.detector: column.evaluation for column in compare([run]).columns} == dict(
        run.summary.evaluation
    )


def test_seconds_are_those_of_the_detector(run: Run) -> None:
    for column in compare([run]).columns:
        assert column.seconds is not None
        assert 0 <= column.seconds <= sum(run.timing["seconds"].values())


def test_norms_computed_together_share_their_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = GradientBatch.norms

    def slow(batch: GradientBatch, orders: Sequence[int]) -> Mapping[int, Tensor]:
        time.sleep(0.2 * (len(orders) > 1))
        return plain(batch, orders)

    place = make_place(tmp_path, detector=[{"name": "l1"}, {"name": "loss"}, {"name": "l2"}])
    monkeypatch.setattr(GradientBatch, "norms", slow)
    one, loss, two = compare([scan(place.config(), output=tmp_path / "run")]).columns
    assert one.seconds is not None
    assert loss.seconds is not None
    assert two.seconds is not None
    assert min(one.seconds, two.seconds) >= 0.1 > loss.seconds


def test_runs_of_one_dataset_are_cut_alike(run: Run, other: Run) -> None:
    """The second run flagged more; here each column flags as many as the first run."""
    found = compare([run, other])
    assert [column.run for column in found.columns] == ["first"] * 4 + ["second"]
    assert other.summary.flagged == 36
    last = found.columns[-1]
    assert last.evaluation is not None
    assert last.evaluation.precision_at_budget is not None
    hits = last.evaluation.precision_at_budget * found.flagged
    assert hits == pytest.approx(round(hits))
    assert compare([other, run]).flagged == 36


def test_names_that_repeat_become_paths(run: Run) -> None:
    found = compare([run, run])
    assert {column.run for column in found.columns} == {str(run.path)}


def test_other_datasets_are_refused(run: Run, place: Place) -> None:
    less = scan(place.config("data.limit=100", "detector=l2"), output=place.folder / "less")
    with pytest.raises(
        RunError, match=r"less: the runs are of different datasets[\s\S]*found: 100 samples"
    ) as caught:
        compare([run, less])
    assert f"as in {run.path}" in str(caught.value)


def test_without_truth_or_timing_there_is_none(tmp_path: Path) -> None:
    found = compare([Recipe(quarantined={3: "cannot be read"}).write(tmp_path / "run")])
    (column,) = found.columns
    assert (column.evaluation, column.seconds, column.scored) == (None, None, 31)


def test_a_constant_score_has_no_correlation(tmp_path: Path) -> None:
    run = Recipe(scores=[1.0] * 32).write(tmp_path / "run")
    assert compare([run]).columns[0].correlation is None


def test_nothing_flagged_nothing_shared(tmp_path: Path) -> None:
    assert compare([Recipe(budget=0).write(tmp_path / "run")]).columns[0].overlap is None


def test_a_score_column_that_is_gone_is_told(run: Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    table = pa.parquet.read_table(copy / "scores.parquet").drop_columns(["score_loss"])
    pa.parquet.write_table(table, copy / "scores.parquet")
    with pytest.raises(RunError, match="no column score_loss"):
        compare([Run.open(copy)])


# --- the command -------------------------------------------------------------------------------------------


def test_the_command_prints_one_document(run: Run, other: Run, tmp_path: Path) -> None:
    done = oga("compare", run.path, other.path, "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert document == compare([run, other]).document()
    assert document["schema_version"] == 1
    assert len(document["columns"]) == 5


def test_the_command_prints_a_table(run: Run, other: Run, tmp_path: Path) -> None:
    done = oga("compare", run.path, other.path, cwd=tmp_path, env={"COLUMNS": "80"})
    assert done.code == 0
    lines = done.out.splitlines()
    assert "rank correlation and overlap are with first: l2" in lines[0]
    assert lines[2].split() == ["corr", "overlap", "time", "s", "AUROC", "AP", "prec", "F1"]
    assert lines[3].split()[:4] == ["first:", "l2", "1.000", "100.0%"]
    assert max(map(len, lines[1:])) <= 80


def test_the_command_tells_what_is_wrong(tmp_path: Path) -> None:
    done = oga("compare", tmp_path / "nowhere", cwd=tmp_path)
    assert done.code == 2
    assert "no such run directory" in done.err


@pytest.mark.slow
def test_the_example_config_runs(tmp_path: Path) -> None:
    file = tmp_path / "compare.yaml"
    file.write_bytes((ROOT / "configs" / "compare.yaml").read_bytes())
    config = load_config(file)
    train(config)
    found = compare([scan(config)])
    assert len(found.columns) >= 12
    aurocs = {c.detector: c.evaluation.auroc for c in found.columns if c.evaluation is not None}
    assert aurocs["l2"] is not None
    assert aurocs["l2"] > 0.95
