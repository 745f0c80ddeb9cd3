"""Write a run directory: what a scan found, as the files that ``ogacli.run.directory`` reads."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import yaml

from ogacli.base.arrow import empty
from ogacli.data import Preview, Samples
from ogacli.run.annotators import FILE as ASK_AGAIN
from ogacli.run.annotators import ask_again
from ogacli.run.beside import BESIDE, MAP
from ogacli.run.digest import write_scores
from ogacli.run.directory import ROWS_TOGETHER, SCORES
from ogacli.run.issues import issues_table, write_issues
from ogacli.run.previews import previews_of
from ogacli.run.scores import score_tables
from ogacli.run.summary import Summary
from ogacli.verdict.judge import Verdict

_REPEATED = ("label", "reason", "suggested_label", "status", "truth", "picture")
"""Columns of few values, which get a dictionary; another column's would take memory that grows with n."""
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""In C where it is built: a config may list thousands of classes."""


def write_run(
    folder: Path,
    *,
    settings: Mapping[str, Any],
    samples: Samples,
    verdict: Verdict,
    summary: Summary,
    provenance: Mapping[str, Any],
    beside: pa.Table | None = None,
    gradient_map: pa.Table | None = None,
    preview: Callable[[int], Preview] | None = None,
) -> None:
    """Write all files of a run but ``timing.json`` and the report into an empty folder.

    Args:
        folder: Empty.
        settings: The resolved config as plain values.
        samples: The dataset.
        verdict: The decision on each sample.
        summary: The result in figures.
        provenance: Versions, device and fingerprints.
        beside: The samples that a person compares with the most anomalous ones; by default none.
        gradient_map: Two coordinates of the gradients of some samples; by default of none.
        preview: Returns a picture or text of a row; that of the samples' reader where left out.
    """
    text = yaml.dump(dict(settings), Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    (folder / "summary.json").write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_scores(
        folder / SCORES,
        score_tables(verdict, samples),
        summary.model_dump(mode="json"),
        dictionaries=_REPEATED,
        rows=ROWS_TOGETHER,
    )
    beside = empty(BESIDE) if beside is None else beside
    pa.parquet.write_table(beside, folder / "beside.parquet")
    gradient_map = empty(MAP) if gradient_map is None else gradient_map
    pa.parquet.write_table(gradient_map, folder / "gradient_map.parquet")
    write_issues(issues_table(verdict, samples), folder)
    if samples.annotations is not None:
        pa.parquet.write_table(ask_again(verdict, samples), folder / ASK_AGAIN)
    pa.parquet.write_table(previews_of(verdict, samples, beside, preview), folder / "previews.parquet")
    pa.default_memory_pool().release_unused()
