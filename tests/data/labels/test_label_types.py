import pyarrow as pa
import pytest
import torch

from ogacli.data import Samples
from ogacli.data.ids import numbered
from ogacli.data.labels.label_types import LabelType, Numbers, OneClass, SeveralClasses
from ogacli.data.sources.arrays import NoInputs
from ogacli.errors import DataError

CLASSES = ("cat", "dog", "owl")
INDICES = torch.tensor([2, 0, 2])
SEVERAL = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])


def made(labels: torch.Tensor, classes: tuple[str, ...] = CLASSES, kind: LabelType | None = None) -> Samples:
    n = len(labels)
    given = {} if kind is None else {"label_type": kind}
    return Samples(numbered(n), torch.arange(n), labels, classes, NoInputs(), "none", **given)


@pytest.mark.parametrize(
    ("labels", "classes", "kind", "column", "counts", "outputs"),
    [
        (INDICES, CLASSES, OneClass, ["owl", "cat", "owl"], [1, 0, 2], 3),
        (SEVERAL, CLASSES, SeveralClasses, [["cat", "owl"], [], ["dog", "owl"]], [1, 1, 2], 3),
        (torch.tensor([0.5, 2.0]), (), Numbers, [0.5, 2.0], [], 1),
        (torch.tensor([[0.5], [2.0]]), (), Numbers, [0.5, 2.0], [], 1),
        (torch.tensor([[0.5, 1.0], [2.0, 3.0]]), (), Numbers, [[0.5, 1.0], [2.0, 3.0]], [], 2),
        (torch.zeros(2, 0), (), Numbers, [None, None], [], 0),
    ],
)
def test_each_kind(labels, classes, kind, column, counts, outputs):
    samples = made(labels, classes)
    assert type(samples.label_type) is kind
    assert (samples.class_index is not None) == (kind is OneClass)
    assert samples.label_type.column(labels, classes).to_pylist() == column
    assert samples.label_type.counts(labels, classes).tolist() == counts
    assert samples.label_type.outputs(labels, classes) == outputs
    none = samples.label_type.column(labels[:0], classes)
    assert isinstance(none, pa.Array)
    assert len(none) == 0
    assert not samples.label_type.counts(labels[:0], classes).any()


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (
            torch.tensor([0, 3, 9]),
            CLASSES,
            r"label out of range, as in 1 more samples(.|\n)*0 to 2 \(3 classes\)",
        ),
        (torch.tensor([0, -1]), CLASSES, r"sample '1': label out of range\n  found: -1"),
        (
            torch.zeros(2, 4, 4, dtype=torch.int64),
            CLASSES,
            r"not one class a sample\n  found: \[2, 4, 4\] of int64",
        ),
        (torch.tensor([[0.0, torch.nan]]), ("a", "b"), "label out of range(.|\n)*expected: finite numbers"),
    ],
)
def test_labels_of_another_kind(labels, classes, message):
    with pytest.raises(DataError, match=message):
        made(labels, classes)


def test_a_source_may_say_what_its_labels_are():
    class Ranks(Numbers):
        pass

    samples = made(torch.tensor([[1.0], [2.0]]), (), Ranks())
    assert isinstance(samples.select(torch.tensor([1])).label_type, Ranks)
