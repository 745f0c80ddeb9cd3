import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.data.duplicates import blank, conflicts, contents, label_contents
from ogacli.data.fingerprints import input_fingerprints as fingerprints
from ogacli.data.fingerprints import read_label_fingerprints
from ogacli.data.images.boxes import Boxed


def reader(inputs, labels):
    """Reads rows out of a tensor, a dict or a list."""

    def read(rows):
        if isinstance(inputs, list):
            some = [inputs[row] for row in rows]
        elif isinstance(inputs, dict):
            some = {name: part[rows] for name, part in inputs.items()}
        else:
            some = inputs[rows]
        return rows, contents(some), label_contents(some, labels[rows])

    return read


def by_comparison(inputs, labels) -> list[int]:
    found = []
    for i in range(len(inputs)):
        others = [
            j for j in range(len(inputs)) if torch.equal(inputs[i], inputs[j]) and labels[i] != labels[j]
        ]
        found.append(others[0] if others else -1)
    return found


@settings(deadline=None)
@given(
    data=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30),
    width=st.sampled_from([1, 5, 300]),
)
def test_against_comparing_all_pairs(data, width):
    patterns = torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    inputs = patterns[[kind for kind, _ in data]]
    labels = torch.tensor([label for _, label in data])
    marks = torch.cat([fingerprints(part) for part in inputs.split(7)])
    assert conflicts(marks, labels, reader(inputs, labels)).tolist() == by_comparison(inputs, labels)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.int64, torch.bool]
)
def test_a_fingerprint_is_the_sample_s_own_whatever_the_batch(dtype):
    inputs = torch.randint(0, 2 if dtype is torch.bool else 200, (9, 3, 4, 4)).to(dtype)
    whole = fingerprints(inputs)
    alone = torch.cat([fingerprints(one[None]) for one in inputs])
    assert torch.equal(whole, alone)
    assert len(set(whole.tolist())) == 9
    changed = inputs.clone()
    changed[4, 1, 2, 3] = ~changed[4, 1, 2, 3] if dtype is torch.bool else changed[4, 1, 2, 3] + 8
    assert (fingerprints(changed) != whole).tolist() == [i == 4 for i in range(9)]


def test_inputs_of_one_fingerprint_are_read_once_more_before_anything_is_claimed():
    inputs = torch.zeros(2, 5000)
    inputs[1, 4321] = 1
    marks = fingerprints(inputs)
    assert marks[0] != marks[1], "all values are looked at"
    marks = torch.tensor([7, 7])
    labels = torch.tensor([0, 1])
    assert conflicts(marks, labels, reader(inputs, labels)).tolist() == [-1, -1]


def test_padding_does_not_count():
    short = {
        "input_ids": torch.tensor([[5, 6, 0], [7, 8, 9]]),
        "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
    }
    longer = {
        "input_ids": torch.tensor([[5, 6, 1, 1, 1]]),
        "attention_mask": torch.tensor([[1, 1, 0, 0, 0]]),
    }
    assert fingerprints(short)[0] == fingerprints(longer)[0] != fingerprints(short)[1]
    assert contents(short)[0] == contents(longer)[0] != contents(short)[1]


def test_texts_and_pairs():
    texts = ["a", "b", "a", ("a", "b"), ("ab", "")]
    marks = fingerprints(texts)
    assert marks[0] == marks[2]
    assert len(set(marks.tolist())) == 4
    labels = torch.tensor([0, 0, 1, 0, 1])
    assert conflicts(marks, labels, reader(texts, labels)).tolist() == [2, -1, 0, -1, -1]


def test_labels_of_several_numbers():
    inputs = torch.ones(4, 2)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert conflicts(fingerprints(inputs), labels, reader(inputs, labels)).tolist() == [2, 2, 0, 2]
    none = torch.empty(4, 0)
    assert conflicts(fingerprints(inputs), none, reader(inputs, none)).tolist() == [-1] * 4


def test_samples_that_were_not_seen_are_nobody_s_duplicates():
    marks = torch.tensor([0, 0, 5])
    labels = torch.tensor([0, 1, 0])
    assert conflicts(marks, labels, reader(torch.ones(3, 2), labels)).tolist() == [-1, -1, -1]


def test_blank_inputs():
    pictures = torch.randn(4, 3, 5, 5)
    pictures[1] = 0.25
    pictures[2, :, :4] = 0.25
    assert blank(pictures).tolist() == [False, True, False, False]
    coloured = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    coloured[1] = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    coloured[2, :2] = coloured[1, :2]
    assert blank(coloured).tolist() == [False, True, False], "one colour, whatever its channels"
    assert not blank(torch.zeros(3, 2)).any(), "two numbers may well be the same"
    assert not blank(["", "b"]).any()
    assert not blank({"input_ids": torch.zeros(2, 30)}).any()
    assert not blank(torch.full((1, 20), torch.nan)).any()


def test_boxes_are_the_label_of_a_picture_whatever_their_order():
    picture = torch.arange(3 * 4 * 4, dtype=torch.uint8).view(3, 4, 4)
    boxes, classes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3]]), torch.tensor([1, 0])
    both = Boxed(picture, boxes, classes)
    turned = Boxed(picture, boxes.flip(0), classes.flip(0))
    swapped = Boxed(picture, boxes, classes.flip(0))
    fewer, none = Boxed(picture, boxes[:1], classes[:1]), Boxed(picture, boxes[:0], classes[:0])
    inputs = [both, turned, swapped, fewer, none, Boxed(255 - picture, boxes[:0], classes[:0])]
    held = torch.zeros(len(inputs), 2)
    marks, labels = fingerprints(inputs), read_label_fingerprints(inputs, held)
    assert len(set(marks.tolist())) == 2, "of the picture alone"
    assert len(set(labels.tolist())) == 5, "issues number boxes by their order"
    assert conflicts(marks, labels, reader(inputs, held)).tolist() == [2, 2, 0, 0, 0, -1]
    assert conflicts(marks[:2], labels[:2], reader(inputs[:2], held)).tolist() == [-1, -1]


def test_masks_are_the_labels_that_are_compared():
    pictures, masks = torch.ones(3, 1, 5, 5), torch.zeros(3, 5, 5, dtype=torch.int64)
    masks[2, 4, 4] = 1
    marks, labels = fingerprints(pictures), read_label_fingerprints(pictures, masks)
    assert (labels[0], labels[0] == labels[2]) == (labels[1], False)
    assert conflicts(marks, labels, reader(pictures, masks)).tolist() == [2, 2, 0]
