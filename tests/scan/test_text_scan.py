"""Scans of texts, from the table to the report and the trimmed split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ogacli.base.tables import read_table
from ogacli.config import parse_config
from ogacli.config.commands import scan, train
from ogacli.data import Batch, Samples
from ogacli.run.directory import Run
from ogacli.run.reports import report
from ogacli.run.trim import trim
from small_transformers import reviews, sums, write_network, write_rows

pytest.importorskip("transformers")

HARMFUL = '<script>alert("x")</script> & <b>bold</b>'


def scanned(folder: Path, rows: list[dict[str, Any]], keys: str, **sections: str) -> Run:
    folder.mkdir(exist_ok=True)
    write_rows(folder / "t.jsonl", rows)
    write_network(folder / "net", "bert", head=int(sections.pop("head", "2")))
    sections.setdefault("budget", "0.3")
    text = (
        f"data: {{source: text, path: t.jsonl, {keys}}}\n"
        "model: {source: transformers, name: net}\n"
        "detector: {name: l2}\n" + "".join(f"{k}: {v}\n" for k, v in sections.items())
    )
    return scan(parse_config(text, base=folder), output=folder / "run")


def test_texts_are_shown_as_texts_and_empty_ones_are_counted(tmp_path: Path) -> None:
    rows = reviews()
    rows[2]["text"] = HARMFUL
    rows[4]["text"], rows[5]["text"] = "  ", ""
    run = scanned(tmp_path, rows, "text: text, label: label, truth: truth", budget="22")
    assert (run.summary.samples, run.summary.quarantined) == (24, 2)
    reasons = {row["id"]: row["reason"] for row in run.scores.to_pylist() if row["status"] == "quarantined"}
    assert reasons == {"4": "no text in column text", "5": "no text in column text"}
    page = (run.path / "report.html").read_text()
    assert r"\u003cscript\u003ealert(\"x\")\u003c/script\u003e \u0026 \u003cb\u003ebold" in page
    assert "<script>alert" not in page
    assert "bad bad bad bad" in page
    comment = report(run, "md")
    assert "| sample | text | given label |" in comment
    assert "`bad bad bad bad" in comment
    trimmed = trim(run, tmp_path / "clean.csv")
    assert trimmed.fates["quarantined"] == 2
    assert len(read_table(tmp_path / "clean.csv")) == trimmed.fates["kept"]


def test_texts_of_about_one_length_are_scored_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, keys = reviews(), "text: text, label: label"
    sizes: list[int] = []
    plain = Samples.read

    def noted(samples: Samples, asked: Sequence[int]) -> Batch:
        sizes.extend(len(rows[row]["text"]) for row in asked)
        return plain(samples, asked)

    monkeypatch.setattr(Samples, "read", noted)
    ours = scanned(tmp_path / "a", rows, keys, gradients="{batch_size: 5}")
    scored = sizes[-len(rows) :]  # before that some are looked at
    longest = sorted(scored, reverse=True)
    reads, expected = ([one[i : i + 5] for i in range(0, len(rows), 5)] for one in (scored, longest))
    assert reads[0] == expected[0], "the longest come first"
    assert sorted(reads, reverse=True) == expected
    assert len(set(scored)) > 5
    monkeypatch.setattr(Samples, "longest_first", lambda samples, rows: rows)
    plainly = scanned(tmp_path / "b", rows, keys, gradients="{batch_size: 5}")
    assert ours.scores["score"].to_pylist() == pytest.approx(plainly.scores["score"].to_pylist(), rel=1e-5)
    assert ours.scores["flagged"] == plainly.scores["flagged"]


def test_a_manifest_selects_texts_again(tmp_path: Path) -> None:
    run = scanned(tmp_path, reviews(), "text: text, label: label")
    trim(run, manifest=tmp_path / "clean.jsonl")
    kept = [row["id"] for row in read_table(tmp_path / "clean.jsonl").to_pylist() if row["fate"] == "kept"]
    config = parse_config(
        "data: {source: text, path: t.jsonl, text: text, label: label, manifest: clean.jsonl}\n"
        "model: {source: transformers, name: net}\n",
        base=tmp_path,
    )
    assert config.data.open().ids.to_pylist() == kept
    assert len(kept) == 24 - run.summary.flagged


def test_pairs_are_shown_one_below_the_other(tmp_path: Path) -> None:
    rows = [{**row, "other": f"second {i}"} for i, row in enumerate(reviews())]
    run = scanned(tmp_path, rows, "text: [text, other], label: label", budget="24")
    contents = run.previews["content"].to_pylist()
    assert sorted(content.decode().partition("\n")[2] for content in contents) == sorted(
        f"second {i}" for i in range(24)
    )


@pytest.mark.parametrize("keys", ["label: tags, separator: '|'", "label: [bad, good]"])
def test_several_classes_a_text(keys: str, tmp_path: Path) -> None:
    rows = []
    for row in reviews():
        names = [name for name in ("bad", "good") if name in row["text"]] + ["good"] * (len(row["text"]) > 12)
        names = sorted(set(names))
        rows.append(
            {**row, "tags": "|".join(names), "bad": int("bad" in names), "good": int("good" in names)}
        )
    run = scanned(tmp_path, rows, f"text: text, {keys}", loss="bce_with_logits")
    assert run.summary.scored == 24
    assert run.scores["label"].to_pylist() == [row["tags"].split("|") for row in rows]
    assert {one.name for one in run.summary.classes} == {"bad", "good"}
    trim(run, manifest=tmp_path / "clean.csv")
    assert set(read_table(tmp_path / "clean.csv")["label"].to_pylist()) <= {"bad", "good", "bad|good"}


def test_several_classes_in_a_table_are_trained_and_scanned(tmp_path: Path) -> None:
    lines = [f"{i % 7},{i % 5},{'|'.join(['a'] * (i % 2) + ['b'] * (i % 3 == 0))}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,tags", *lines]))
    text = (
        "data: {source: table, path: t.csv, label: tags, separator: '|', categorical: [y]}\n"
        "model: {source: mlp, checkpoint: run-checkpoints/epoch-002.safetensors}\n"
        "loss: bce_with_logits\ntrain: {epochs: 2}\ndetector: {name: l2}\nbudget: 4\noutput: run\n"
    )
    config = parse_config(text, base=tmp_path)
    assert len(train(config).epochs) == 2
    run = scan(config)
    assert (run.summary.flagged, run.summary.quarantined) == (4, 0)
    assert run.scores["label"].to_pylist()[:4] == [["b"], ["a"], [], ["a", "b"]]


def test_the_source_of_a_language_model_is_recognised(tmp_path: Path) -> None:
    """Its tokens are the labels then, which are not those of the dataset."""
    write_rows(tmp_path / "t.jsonl", sums())
    write_network(tmp_path / "net", "gpt2")
    text = (
        "data: {source: text, path: t.jsonl, prompt: prompt, completion: answer, label: kind}\n"
        "model: {source: transformers, name: net, task: causal_lm}\n"
        "gradients: {layers: all}\ndetector: {name: l2}\nbudget: 0.2"
    )
    run = scan(parse_config(text, base=tmp_path), output=tmp_path / "run")
    assert trim(run, tmp_path / "clean.csv").not_compared is None
