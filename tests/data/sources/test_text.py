import csv
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ogacli.config import parse_config
from ogacli.data.loader import batches
from ogacli.data.sources.text import Text, TextReader
from ogacli.errors import ConfigError, DataError

Rows = list[dict[str, Any]]

REVIEWS: Rows = [
    {"who": "007", "text": "a fine, <b>fine</b> film", "other": "good", "mood": "glad"},
    {"who": "008", "text": "  ", "other": "bad", "mood": "sad"},
    {"who": "010", "text": "dull\nand long", "other": "", "mood": "sad"},
    {"who": "011", "text": "42", "other": "übel", "mood": "glad"},
]


def write(rows: Rows, path: Path) -> str:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_one_text_a_sample(suffix: str, tmp_path: Path) -> None:
    samples = Text(path=write(REVIEWS, tmp_path / f"t{suffix}"), text="text", label="mood", id="who").open()
    assert samples.ids.to_pylist() == ["007", "008", "010", "011"]
    assert (samples.classes, samples.labels.tolist()) == (("glad", "sad"), [0, 1, 1, 0])
    batch = samples.read([3, 1, 0])
    assert batch.inputs == ["42", "a fine, <b>fine</b> film"]
    assert batch.rows.tolist() == [3, 0]
    assert batch.quarantined == {1: "no text in column text"}
    assert samples.read([1]).inputs is None


def test_a_column_of_numbers_is_text_all_the_same(tmp_path: Path) -> None:
    path = write([{"text": "007", "y": 0}, {"text": "1.50", "y": 1}], tmp_path / "t.csv")
    assert Text(path=path, text="text", label="y").open().read([0, 1]).inputs == ["007", "1.50"]


def test_missing_texts_are_quarantined(tmp_path: Path) -> None:
    path = write([{"text": None, "y": 0}, {"text": "x", "y": 1}], tmp_path / "t.parquet")
    batch = Text(path=path, text="text", label="y").open().read([0, 1])
    assert (batch.inputs, list(batch.quarantined)) == (["x"], [0])


def test_pairs(tmp_path: Path) -> None:
    samples = Text(path=write(REVIEWS, tmp_path / "t.csv"), text=("text", "other"), label="mood").open()
    batch = samples.read([0, 1, 2, 3])
    assert batch.inputs == [("a fine, <b>fine</b> film", "good"), ("42", "übel")]
    assert batch.quarantined == {1: "no text in column text", 2: "no text in column other"}
    assert samples.reader.preview(3).content.decode() == "42\nübel"


DIALOGUE: Rows = [
    {"ask": "one?", "answer": " two", "kind": "sum"},
    {"ask": "", "answer": "once upon", "kind": "tale"},
    {"ask": "three?", "answer": "", "kind": "sum"},
]


def test_prompts_and_completions(tmp_path: Path) -> None:
    path = write(DIALOGUE, tmp_path / "t.jsonl")
    samples = Text(path=path, prompt="ask", completion="answer").open()
    batch = samples.read([0, 1, 2])
    assert batch.inputs == [("one?", " two"), ("", "once upon")]
    assert batch.quarantined == {2: "no text in column answer"}
    assert (samples.classes, samples.class_index, samples.labels.shape) == ((), None, (3, 0))
    alone = Text(path=path, completion="answer", label="kind").open()
    assert alone.read([0]).inputs == [("", " two")]
    assert alone.classes == ("sum", "tale")
    assert alone.reader.preview(0).content == b"two"


def test_several_labels_a_text(tmp_path: Path) -> None:
    rows = [{"text": "a", "tags": "x|y", "u": 0, "v": 1}, {"text": "b", "tags": "", "u": 0, "v": 0}]
    path = write(rows, tmp_path / "t.csv")
    samples = Text(path=path, text="text", label="tags", separator="|").open()
    assert (samples.classes, samples.labels.tolist()) == (("x", "y"), [[1, 1], [0, 0]])
    assert Text(path=path, text="text", label=("u", "v")).open().labels.tolist() == [[0, 1], [0, 0]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    reader = pickle.loads(pickle.dumps(TextReader({"text": pa.array(texts, pa.string())})))
    found, failures = reader.read(range(len(texts)))
    assert (found or []) == [text for text in texts if text.strip()]
    assert sorted(failures) == [i for i, text in enumerate(texts) if not text.strip()]
    assert all(reader.preview(i).content.decode() == text.strip() for i, text in enumerate(texts))


def test_lengths_are_known_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ogacli.data.sources.text._CHUNK", 2)
    rows = [{"text": "a", "pair": "äöü", "y": 0}, {"text": "", "pair": "b", "y": 1}, {"text": "four", "y": 0}]
    path = write(rows, tmp_path / "t.jsonl")
    one = Text(path=path, text="text", label="y").open()
    assert one.lengths(torch.tensor([2, 0, 1])).tolist() == [4, 1, 0]
    assert one.longest_first(torch.tensor([1, 0, 2])).tolist() == [2, 0, 1]
    both = Text(path=path, text=("text", "pair"), label="y").open()
    assert both.select(torch.tensor([2, 1])).lengths(torch.tensor([0, 1])).tolist() == [4, 1]
    assert both.longest_first(torch.arange(3)).tolist() == [0, 2, 1], "of one length: as they came"


def test_a_batch_of_texts_splits_and_moves(tmp_path: Path) -> None:
    samples = Text(path=write(REVIEWS, tmp_path / "t.csv"), text="other", label="mood").open()
    (batch,) = batches(samples, torch.arange(4), 4, workers=1)
    assert batch.nbytes == len("goodbadübel")
    parts = batch.to(torch.device("cpu")).split(2)
    assert [part.inputs for part in parts] == [["good", "bad"], ["übel"]]
    assert [part.labels.tolist() for part in parts] == [[0, 1], [0]]
    pairs = Text(path=write(REVIEWS, tmp_path / "t.csv"), text=("who", "mood"), label="mood").open()
    assert pairs.read([0]).nbytes == len("007glad")


def test_the_fingerprint_follows_the_texts(tmp_path: Path) -> None:
    changed = [{**row, "text": row["text"].replace("long", "short")} for row in REVIEWS]
    one, same, other = (
        Text(path=write(rows, tmp_path / f"{i}{suffix}"), text="text", label="mood").open().fingerprint
        for i, (rows, suffix) in enumerate([(REVIEWS, ".csv"), (REVIEWS, ".parquet"), (changed, ".csv")])
    )
    assert one == same != other


def test_a_long_first_text_leaves_room_for_the_second(tmp_path: Path) -> None:
    path = write([{"a": "x" * 5000, "b": "y" * 5000, "l": 0}], tmp_path / "t.jsonl")
    shown = Text(path=path, text=("a", "b"), label="l").open().reader.preview(0).content.decode()
    first, second = shown.split("\n")
    assert (len(first), len(second)) == (140, 2000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "txt", "label": "mood"}, r"no column 'txt'; did you mean 'text'\?"),
        ({"text": "score", "label": "mood"}, r"t.parquet: column 'score' holds no text\n  found: list"),
        ({"text": "text", "label": "moods"}, r"no column 'moods'; did you mean 'mood'\?"),
        ({"text": "text", "label": "mood", "classes": ("glad",)}, r"column mood: sample '1': label is not a"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write([{**row, "score": [1]} for row in REVIEWS], tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        Text(path=path, **options).open()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "y"}, "give one of `text`, `completion`"),
        ({"text": "a", "completion": "b"}, "give one of `text`, `completion`"),
        ({"text": "a", "prompt": "b", "label": "y"}, "`prompt` needs `completion`"),
        ({"text": "a"}, "`label` is missing"),
        ({"completion": "a", "truth": "t"}, "`truth` needs a `label`, or `tags`"),
        ({"text": ("a", "b", "c"), "label": "y"}, "at most 2 items"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Text(path="t.csv", **options)


def test_an_empty_table_and_a_config_s_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,y\n")
    with pytest.raises(DataError, match=r"t\.csv: the table has no rows"):
        Text(path=str(tmp_path / "t.csv"), text="text", label="y").open()
    with pytest.raises(ConfigError, match=r"config:\d+: data: .*`label` is missing"):
        parse_config("data:\n  source: text\n  path: t.csv\n  text: text\nmodel: logistic\n")


def test_sst2(real_data: Path) -> None:
    samples = Text(path=str(real_data / "text" / "sst2_dev.jsonl"), text="text", label="label").open()
    assert (len(samples), samples.classes) == (872, ("0", "1"))
    batch = samples.read(range(872))
    assert not batch.quarantined
    assert all(isinstance(text, str) for text in batch.inputs)
