"""Words and the tag of each, from a table to samples."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from ogacli.data.labels.label_types import IGNORED
from ogacli.data.sources.text import Text
from ogacli.data.tagged import Tagged
from ogacli.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"key": "a", "words": ["Ada", "sings", "in", "Rome"], "tags": ["PER", "O", "O", "LOC"]},
    {"key": "b", "words": ["no", "tag"], "tags": ["O"]},
    {"key": "c", "words": ["Rome"], "tags": ["LOC"]},
    {"key": "d", "words": [], "tags": []},
    {"key": "e", "words": None, "tags": None},
]


def opened(folder: Path, rows: list[dict[str, Any]] = ROWS, **keys: Any) -> Any:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Text(path=str(path), **({"words": "words", "tags": "tags"} | keys)).open()


def test_samples_are_words_with_tags(tmp_path: Path) -> None:
    samples = opened(tmp_path, id="key")
    assert samples.ids.to_pylist() == ["a", "b", "c", "d", "e"]
    assert samples.classes == ("LOC", "O", "PER")
    none = [IGNORED] * 4
    assert samples.labels.tolist() == [[2, 1, 1, 0], [1, *none[:3]], [0, *none[:3]], none, none]
    lists = samples.label_type.column(samples.labels, samples.classes).to_pylist()
    assert lists == [["PER", "O", "O", "LOC"], ["O"], ["LOC"], [], []]
    assert samples.label_type.counts(samples.labels, samples.classes).tolist() == [2, 2, 1]
    assert samples.lengths(torch.arange(5)).tolist() == [4, 1, 1, 0, 0]
    batch = samples.read([2, 0, 1, 3, 4])
    assert batch.inputs == [
        Tagged(("Rome",), (0,)),
        Tagged(("Ada", "sings", "in", "Rome"), (2, 1, 1, 0)),
    ]
    assert batch.rows.tolist() == [2, 0]
    assert batch.quarantined == {1: "2 words and 1 tags", 3: "no words", 4: "no words"}
    again = pickle.loads(pickle.dumps(samples.reader))
    assert again.preview(0).content == b"Ada[PER] sings in Rome[LOC]"
    assert again.preview(1).content == b"no tag"


def test_classes_in_the_order_of_the_model(tmp_path: Path) -> None:
    samples = opened(tmp_path, classes=["O", "PER", "LOC"])
    assert samples.read([0]).inputs == [Tagged(("Ada", "sings", "in", "Rome"), (1, 0, 0, 2))]
    indices = [{"words": ["a", "b"], "tags": [2, 0]}]
    assert opened(tmp_path, indices, classes=3).read([0]).inputs == [Tagged(("a", "b"), (2, 0))]


def test_the_fingerprint_follows_words_and_tags(tmp_path: Path) -> None:
    rows: list[list[dict[str, Any]]] = [
        [{"words": ["a", "b"], "tags": ["X", "Y"]}],
        [{"words": ["a", "b"], "tags": ["Y", "X"]}],
        [{"words": ["ab", ""], "tags": ["X", "Y"]}],
    ]
    found = [opened(tmp_path, one).fingerprint for one in (*rows, rows[0])]
    assert len(set(found)) == 3
    assert found[0] == found[3]


def test_a_dataset_that_knows_its_tags(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from ogacli.data.sources.huggingface import HuggingFace

    names = datasets.ClassLabel(names=["O", "PER", "LOC"])
    lists = getattr(datasets, "List", datasets.Sequence)  # what it is called from release 4 on
    features = datasets.Features({"tokens": lists(datasets.Value("string")), "ner_tags": lists(names)})
    found = datasets.Dataset.from_dict(
        {"tokens": [["Ada", "sings"], ["Rome"]], "ner_tags": [[1, 0], [2]]}, features=features
    )
    datasets.disable_progress_bars()
    found.save_to_disk(tmp_path / "set")
    datasets.enable_progress_bars()
    samples = HuggingFace(path=str(tmp_path / "set"), words="tokens", tags="ner_tags").open()
    assert samples.classes == ("O", "PER", "LOC")
    assert samples.read([0, 1]).inputs == [Tagged(("Ada", "sings"), (1, 0)), Tagged(("Rome",), (2,))]


@pytest.mark.parametrize(
    ("rows", "keys", "message"),
    [
        (ROWS, {"tags": "tag"}, "no column 'tag'; did you mean 'tags'"),
        (ROWS, {"classes": ["O", "PER"]}, "sample '0': label is not a class"),
        ([{"words": "a b", "tags": ["O"]}], {}, "column of the words holds no lists"),
        ([{"words": ["a"], "tags": "O"}], {}, "column of the tags holds no lists"),
        ([{"words": [1], "tags": ["O"]}], {}, "column of the words holds no texts"),
        ([{"words": ["a"], "tags": [None]}, ROWS[0]], {}, "label is missing"),
    ],
)
def test_columns_that_are_none(tmp_path: Path, rows: Any, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(tmp_path, rows, **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tags": None}, "`words` and `tags` go together"),
        ({"label": "key"}, "tagged words have no `label`"),
        ({"truth": ("tags", "key")}, "`truth` needs as many columns as the label: 1"),
        ({"text": "key"}, "give one of `text`, `completion`, `words`"),
    ],
)
def test_keys_that_do_not_go_together(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, **keys)
