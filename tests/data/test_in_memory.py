"""``Samples.of``: objects of a Python program as samples."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from ogacli.data import Samples
from ogacli.data.loader import batches
from ogacli.errors import DataError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = [0, 1, 1, 0]


class Pairs(Dataset):
    """(inputs, label), as torch's datasets have it; one item cannot be read."""

    def __init__(self, items: list[Any], broken: int | None = None) -> None:
        self.items, self.broken = items, broken

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        if i == self.broken:
            raise OSError("damaged")
        return self.items[i]


def inputs(samples: Samples) -> Any:
    return samples.read(range(len(samples))).inputs


@pytest.mark.parametrize(
    "dataset", [X, torch.from_numpy(X), TensorDataset(torch.from_numpy(X), torch.tensor(Y))]
)
def test_arrays(dataset: Any) -> None:
    samples = Samples.of(dataset, labels=None if isinstance(dataset, TensorDataset) else Y)
    assert torch.equal(inputs(samples), torch.from_numpy(X))
    assert (samples.labels.tolist(), samples.classes) == (Y, ("0", "1"))
    assert samples.ids.to_pylist() == ["0", "1", "2", "3"]
    assert samples.truth is None
    assert samples.fingerprint == Samples.of(X, Y).fingerprint


def test_the_fingerprint_is_of_the_arrays() -> None:
    assert Samples.of(X, Y).fingerprint != Samples.of(X + 1, Y).fingerprint
    assert Samples.of(X, Y).fingerprint != Samples.of(X, [1, 1, 0, 1]).fingerprint
    assert Samples.of(["a", "b"], [0, 1]).fingerprint != Samples.of(["a", "c"], [0, 1]).fingerprint
    several = [Samples.of({"a": X, "b": X + i}, Y).fingerprint for i in range(2)]
    assert several[0] != several[1]


def test_bytes_are_pixels() -> None:
    pictures = np.full((4, 5, 5, 3), 255, dtype=np.uint8)
    samples = Samples.of(pictures, Y)
    assert inputs(samples).shape == (4, 3, 5, 5)
    assert inputs(samples).max() == 1
    assert samples.reader.preview(0).kind == "image"


def test_names_ids_and_truth() -> None:
    samples = Samples.of(X, ["b", "a", "a", "b"], ids=[7, 3, 5, 9], truth=np.array(["a", "a", "a", "b"]))
    assert (samples.classes, samples.labels.tolist()) == (("a", "b"), [1, 0, 0, 1])
    assert (samples.ids.to_pylist(), samples.truth.tolist()) == (["7", "3", "5", "9"], [0, 0, 0, 1])
    assert Samples.of(X, Y, classes=["no", "yes"], truth=[1, 1, 1, 0]).truth.tolist() == [1, 1, 1, 0]
    assert Samples.of(X, Y, classes=3).classes == ("0", "1", "2")


def test_labels_that_are_numbers_are_names_where_they_are_no_indices() -> None:
    samples = Samples.of(X, [1, 2, 5, 9], classes=[1, 2, 5, 9])
    assert (samples.classes, samples.labels.tolist()) == (("1", "2", "5", "9"), [0, 1, 2, 3])
    with pytest.raises(DataError, match=r"`classes: \[1, 2, 5, 9\]`"):
        Samples.of(X, [1, 2, 5, 9])
    assert Samples.of(X, Y, classes=["1", "2"]).labels.tolist() == Y, "indices otherwise"


def test_no_column_of_a_dataframe_goes_in_silence() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"u": [0.5, 1.5, 2.5, 4.0], "who": list("pqrs"), "when": pandas.date_range("2020", periods=4), "y": Y}
    )
    with pytest.raises(DataError, match=r"column 'when' holds dates[\s\S]*or drop it from the frame"):
        Samples.of(frame, labels="y")
    samples = Samples.of(frame.drop(columns="when"), labels="y")
    assert samples.columns is not None
    assert samples.columns.features == ("u",)
    assert [(one.name, one.why) for one in samples.columns.left_out] == [("who", "text, such as 'p'")]
    frame["when"] = ["$4", "5", "6", "7"]
    with pytest.raises(DataError, match=r"column 'when' is nearly all numbers"):
        Samples.of(frame, labels="y")
    frame["when"] = [1, 2, 3, "x"]
    with pytest.raises(DataError, match=r"row 3 of the DataFrame: the values of 'when' differ in type"):
        Samples.of(frame, labels="y")
    lists = pandas.DataFrame({"e": X.tolist(), "y": Y})
    assert torch.equal(inputs(Samples.of(lists, labels="y")), torch.from_numpy(X))


@pytest.mark.parametrize("truth", [np.eye(4), np.eye(4, dtype=np.int64)])
def test_true_labels_of_several_classes_and_numbers(truth: Any) -> None:
    given = truth.copy()
    given[2, 0] = 1
    samples = Samples.of(X, given, truth=truth)
    assert samples.wrong is not None
    assert samples.wrong.tolist() == [False, False, True, False]


def test_numbers_and_several_labels() -> None:
    numbers = Samples.of(X, [0.5, 1.0, 2.0, 3.0])
    assert (numbers.labels.tolist(), numbers.classes) == ([[0.5], [1], [2], [3]], ())
    assert Samples.of(X, np.array(Y, dtype=np.float64), classes=["a", "b"]).labels.tolist() == Y
    several = Samples.of(X, np.eye(4, dtype=np.int64), classes=list("abcd"))
    assert (several.labels.tolist(), several.classes) == (np.eye(4).tolist(), tuple("abcd"))


def test_torch_datasets() -> None:
    items = [(torch.from_numpy(row), label) for row, label in zip(X, Y, strict=True)]
    samples = Samples.of(Pairs(items))
    assert torch.equal(inputs(samples), torch.from_numpy(X))
    assert samples.labels.tolist() == Y
    (batch,) = batches(samples, torch.tensor([3, 1]), 2, workers=1)
    assert torch.equal(batch.inputs, torch.from_numpy(X[[3, 1]]))
    assert Samples.of(Subset(Pairs(items), [1, 3])).labels.tolist() == [1, 0]
    given = Samples.of(Pairs(items, broken=0), labels=[1, 1, 0, 0])
    assert given.labels.tolist() == [1, 1, 0, 0]
    assert given.read([0, 1]).quarantined == {0: "OSError: damaged"}
    alone = Samples.of(Pairs([row for row, _ in items]), labels=Y)
    assert torch.equal(inputs(alone), torch.from_numpy(X))
    with pytest.raises(DataError, match=r"Samples.of: sample 0: the label cannot be read[\s\S]*damaged"):
        Samples.of(Pairs(items, broken=0))


def test_items_that_are_mappings() -> None:
    rows = [{"a": torch.ones(2) * i, "b": [1, 2], "kind": y} for i, y in enumerate(Y)]
    samples = Samples.of(Pairs(rows), labels="kind")
    assert samples.labels.tolist() == Y
    found = inputs(samples)
    assert (set(found), found["a"].shape, found["b"].dtype) == ({"a", "b"}, (4, 2), torch.int64)
    one = Samples.of(Pairs([{"x": row, "label": y} for row, y in zip(X, Y, strict=True)]))
    assert torch.equal(inputs(one), torch.from_numpy(X)), "one key beside the label is the input itself"
    with pytest.raises(DataError, match="the label cannot be read"):
        Samples.of(Pairs(rows), labels="knd")


def test_what_a_tokenizer_returns() -> None:
    encoded = {
        "input_ids": torch.arange(8).reshape(4, 2),
        "attention_mask": torch.ones(4, 2, dtype=torch.int64),
    }
    samples = Samples.of(encoded, labels=Y)
    found = inputs(samples)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in encoded.items()
    }
    assert Samples.of(encoded | {"labels": torch.tensor(Y)}).labels.tolist() == Y
    with pytest.raises(DataError, match="differ in length"):
        Samples.of(encoded | {"labels": torch.tensor([1])})


def test_texts() -> None:
    assert inputs(Samples.of(["a b", "c"], labels=["x", "y"])) == ["a b", "c"]
    assert inputs(Samples.of(np.array(["a b", "c"]), labels=["x", "y"])) == ["a b", "c"]
    pairs = Samples.of([(("a", "b"), 0), (("c", "d"), 1)])
    assert inputs(pairs) == [("a", "b"), ("c", "d")]
    assert inputs(Samples.of([("a", "x"), ("b", "y")])) == ["a", "b"]
    with pytest.raises(DataError, match="may be a text and its label, or a pair of texts"):
        Samples.of([("a", "x"), ("b", "y")], labels=[0, 1])


def test_a_dataframe() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["u", "v", "w"])
    frame["who"] = ["p", "q", "r", "s"]
    frame["label"] = ["b", "a", "a", "b"]
    frame["clean"] = ["b", "a", "b", "b"]
    samples = Samples.of(frame, labels="label", ids="who", truth="clean")
    assert torch.equal(inputs(samples), torch.from_numpy(X))
    assert (samples.classes, samples.labels.tolist()) == (("a", "b"), [1, 0, 0, 1])
    assert (samples.ids.to_pylist(), samples.truth.tolist()) == (["p", "q", "r", "s"], [1, 0, 1, 1])
    assert samples.reader.preview(0).content == b"u: 0, v: 1, w: 2"
    numbers = pandas.DataFrame(
        {"u": [1, 2, 3], "n": pandas.array([1, None, 3], dtype="Int64"), "y": [0, 1, 0]}
    )
    found = Samples.of(numbers, labels="y")
    assert found.read(range(3)).quarantined == {1: "missing or not finite: n"}
    assert inputs(Samples.of(frame["who"][::-1], labels=frame["label"][::-1])) == ["s", "r", "q", "p"]
    for labels, message in ((None, "no labels"), ("lable", "no column 'lable'\n  found: u, v, w")):
        with pytest.raises(DataError, match=message):
            Samples.of(frame, labels=labels)
    with pytest.raises(DataError, match="no column of numbers beside the label"):
        Samples.of(frame[["who", "label"]], labels="label")


def test_a_dataset_of_the_library_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    reviews = datasets.Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": Y}, features=features)
    samples = Samples.of(reviews, labels="label")
    assert inputs(samples) == ["a", "b", "c", "d"]
    assert (samples.classes, samples.labels.tolist()) == (("neg", "pos"), Y)
    assert Samples.of(reviews).classes == ("neg", "pos")
    rows = datasets.Dataset.from_dict({"x": X.tolist(), "n": [1, 2, 3, 4], "kind": ["u", "v", "v", "u"]})
    found = Samples.of(rows, labels="kind")
    assert found.classes == ("u", "v")
    assert inputs(found)["x"].tolist() == X.tolist()
    assert inputs(Samples.of(rows.with_format("torch").remove_columns("n"), "kind")).tolist() == X.tolist()
    with pytest.raises(
        DataError, match=r"no network can be called with the inputs[\s\S]*text: str, n: Tensor"
    ):
        Samples.of(reviews.add_column("n", [1, 2, 3, 4]))
    with pytest.raises(DataError, match=r"no column 'x'\n  found: text, label"):
        Samples.of(reviews, labels="x")
    with pytest.raises(DataError, match=r"give one, such as dataset\['train'\]"):
        Samples.of(datasets.DatasetDict(train=reviews))


@pytest.mark.parametrize(
    ("dataset", "arguments", "message"),
    [
        (X, {}, "no labels\n  next: give them as `labels`"),
        (X, {"labels": Y[:3]}, "4 samples but 3 labels"),
        (X, {"labels": 3}, "4 samples but labels 3"),
        (X, {"labels": "y"}, "no column 'y'\n  found: no columns"),
        (X, {"labels": Y, "ids": [1, 2]}, "4 samples but 2 ids"),
        (X, {"labels": Y, "truth": [1, 2]}, "4 samples but 2 truth"),
        (X, {"labels": Y, "ids": [1, 1, 2, 3]}, "1 ids occur more than once"),
        (X, {"labels": Y, "classes": ["a", "a"]}, "a class is named twice: a"),
        (X, {"labels": Y, "classes": ["a"]}, "label is not a class, as in 1 more"),
        (X, {"labels": ["a", None, "a", "b"]}, "sample '1': label is missing"),
        (X, {"labels": [0.5, float("nan"), 1, 2]}, "label '0' is missing or not finite"),
        (X, {"labels": [[1, 0], [1], [0], [1]]}, "differ in shape"),
        (X, {"labels": np.eye(4), "truth": Y}, "the truth has another shape than the labels"),
        (np.float32(3), {"labels": Y}, "the inputs are one number|not a dataset"),
        (X.astype("complex64").astype("V8"), {"labels": Y}, "not numbers"),
        (iter([1]), {"labels": Y}, "not a dataset\n  found: list_iterator"),
        ([], {}, "the dataset is empty"),
        ([(object(), 0)], {}, r"no network can be called with the inputs\n  found: a object"),
        ([3, 4], {"labels": [0, 1]}, "no network can be called with the inputs"),
    ],
)  # fmt: skip
def test_mistakes_are_told(dataset: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"(?s)^Samples.of: .*({message})"):
        Samples.of(dataset, **arguments)


class _Named(list):
    """A dataset that names its classes."""

    classes = ("cat", "dog", "eel")
    targets = (0, 2, 1, 0)


def test_listed_classes_are_matched_with_those_of_the_dataset_by_name() -> None:
    """Integers are indices into the names that the dataset has, not into a list in another order."""
    dataset = _Named([(np.zeros(2, np.float32), label) for label in _Named.targets])
    assert Samples.of(dataset).labels.tolist() == [0, 2, 1, 0]
    other = Samples.of(dataset, classes=["eel", "cat", "dog", "fox"])
    assert other.labels.tolist() == [1, 0, 2, 1]
    assert other.classes == ("eel", "cat", "dog", "fox")
    renamed = Samples.of(dataset, classes=["chat", "chien", "anguille"])
    assert renamed.labels.tolist() == [0, 2, 1, 0]
    assert (Samples.of(dataset).class_order, other.class_order, renamed.class_order) == (
        "given",
        "given",
        "indices",
    )


def test_listed_numbers_are_the_labels_themselves() -> None:
    plain = np.zeros((4, 2), np.float32)
    found = Samples.of(plain, labels=np.array([0, 2, 1, 0]), classes=[2, 0, 1])
    assert found.labels.tolist() == [1, 0, 2, 1]
    assert Samples.of(plain, labels=np.array([0, 2, 1, 0])).class_order == "indices"
    assert Samples.of(plain, labels=["a", "c", "b", "a"]).class_order == "sorted"
