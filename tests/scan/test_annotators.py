"""Labels by several annotators: the consensus, how good each is, and samples to ask about again."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.datasets import load_digits

import ogacli
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.config.folds import folded
from ogacli.errors import DataError, RunError
from ogacli.run.reports import report
from ogacli.run.reports.sentences import results
from small_transformers import write_config

N, K = 600, 10
ACCURACY = {"ann": 0.95, "ben": 0.85, "cat": 0.75, "dan": 0.6, "eve": 0.1, "fay": 0.02}
"""The share of right labels; eve answers by chance, fay always with the next digit."""


def votes(each: int = 3) -> list[tuple[int, str, int]]:
    random = np.random.default_rng(0)
    truth = load_digits().target[:N]
    found = []
    for row in range(N):
        for name in random.choice(list(ACCURACY), each, replace=False):
            right = random.random() < ACCURACY[name]
            other = (truth[row] + 1) % K if name == "fay" else random.integers(K)
            found.append((row, str(name), int(truth[row] if right else other)))
    return found


def written(folder: Path, given: list[tuple[Any, ...]], **data: Any) -> Path:
    digits = load_digits()
    with (folder / "digits.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "truth", *[f"p{i}" for i in range(64)]])
        rows.writerows([f"s{i}", digits.target[i], *digits.data[i].astype(int).tolist()] for i in range(N))
    with (folder / "votes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "annotator", "label"])
        rows.writerows((f"s{row}", *rest) if isinstance(row, int) else (row, *rest) for row, *rest in given)
    values = {
        "data": {"source": "table", "path": "digits.csv", "id": "key", "truth": "truth"}
        | {"annotators": "votes.csv"}
        | data,
        "model": {"source": "logistic"},
        "train": {"epochs": 20, "batch_size": 32},
        "budget": "auto",
        "output": "run",
    }
    return write_config(folder, values, {})


def test_a_table_of_annotations_from_config_to_report(tmp_path: Path) -> None:
    run = scan(folded(load_config(written(tmp_path, votes())), 3))
    assert run.summary.detectors[0] == "latent_consensus"
    truth = load_digits().target[:N].astype(str)
    given = np.array(run.scores["label"].to_pylist())
    final = np.array(
        [new or old for new, old in zip(run.scores["suggested_label"].to_pylist(), given, strict=True)]
    )
    assert (given == truth).mean() > 0.85, "annotators alone"
    assert (final == truth).mean() > (given == truth).mean() + 0.03, "with the model's voice"
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["latent_consensus"].average_precision > 0.7
    assert run.summary.estimate is not None
    assert run.summary.estimate.share == pytest.approx((given != truth).mean(), abs=0.04)
    quality = {one.name: one.quality for one in run.summary.annotators}
    assert quality == pytest.approx(_accuracy(truth), abs=0.08)
    assert run.summary.annotators[0].name == "fay", "the worst first"
    again = pq.read_table(tmp_path / "run" / "ask_again.parquet").to_pylist()
    assert again
    assert again[0]["probability"] <= again[-1]["probability"] < 0.95
    wrong = {f"s{i}" for i in np.flatnonzero(final != truth)}
    asked = {row["id"] for row in again}
    assert len(asked) < N / 3
    assert len(wrong & asked) / len(asked) > 10 * len(wrong) / N, "they are wrong far more often than others"
    assert "Annotators" in report(run, "html")
    assert "### Annotators" in report(run, "md")
    line, again = (one for one in results(run.summary) if "annotator" in one)
    assert re.fullmatch(r"Right labels by annotator, lowest first: [\d.]+% of 'fay', .*", line)
    assert again.startswith("`ask_again.parquet` in the run lists")
    with pytest.raises(
        RunError, match=r"no `label`, as for labels by several annotators[\s\S]*--manifest FILE"
    ):
        ogacli.trim(run, tmp_path / "clean.csv", relabel=True)
    ogacli.trim(run, manifest=tmp_path / "fates.csv", relabel=True)
    with (tmp_path / "fates.csv").open() as file:
        fates = list(csv.DictReader(file))
    assert {row["new_label"] for row in fates if row["fate"] == "relabelled"} <= set("0123456789")


def _accuracy(truth: np.ndarray) -> dict[str, float]:
    right: dict[str, list[bool]] = {name: [] for name in ACCURACY}
    for row, name, label in votes():
        right[name].append(str(label) == truth[row])
    return {name: float(np.mean(each)) for name, each in right.items()}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("x1", "ann", 3)],
            "samples that are not in the data\n  found: 1 ids: 'x1'\n  expected: ids such as 's0'",
        ),
        ([(0, "ann", 3), (0, "ann", 4)], "'s0': an annotator labelled a sample more than once"),
        ([(0, "ann", "twelve")], "label is not a class"),
        ([(0, "", 3)], "annotation without annotator"),
        ([], "no rows|no annotations"),
    ],
)
def test_annotations_that_do_not_fit(tmp_path: Path, rows: list[tuple[Any, ...]], message: str) -> None:
    file = written(tmp_path, rows, classes=[str(i) for i in range(10)])
    with pytest.raises(DataError, match=message):
        load_config(file).data.open()


def test_a_column_for_each_annotator(tmp_path: Path) -> None:
    names = list(ACCURACY)
    given = {(row, name): label for row, name, label in votes()}
    table = {name: [given.get((row, name), "") for row in range(N)] for name in names}
    long = load_config(written(tmp_path, votes())).data.open()
    lines = (tmp_path / "digits.csv").read_text().splitlines()
    rows = [",".join(str(table[name][row]) for name in names) for row in range(N)]
    lines = [f"{line},{more}" for line, more in zip(lines, [",".join(names), *rows], strict=True)]
    (tmp_path / "wide.csv").write_text("\n".join(lines))
    wide = load_config(written(tmp_path, votes(), path="wide.csv", annotators=names)).data.open()
    assert wide.classes == long.classes == tuple("0123456789")
    assert torch.equal(wide.labels, long.labels)
    assert wide.annotations is not None
    assert long.annotations is not None
    assert wide.annotations.names == tuple(names)
    assert sorted(long.annotations.names) == sorted(names)
    assert torch.equal(wide.annotations.counts, long.annotations.counts)
    assert wide.select(torch.tensor([5, 3])).annotations.counts.tolist() == [3, 3]
    assert wide.read([0]).inputs.shape == (1, 64), "annotators are no features"


def test_samples_without_annotations_and_annotators_with_one_label(tmp_path: Path) -> None:
    rows = [(row, f"once {row}", label) for row, _, label in votes(1)[:20]]
    samples = load_config(written(tmp_path, rows, label="truth")).data.open()
    assert samples.annotations is not None
    assert samples.annotations.counts.tolist() == [1] * 20 + [0] * (N - 20)
    assert samples.labels[20:].tolist() == load_digits().target[20:N].tolist(), "they keep their label"
