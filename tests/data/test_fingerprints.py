"""Fingerprints: every change shows, and nothing else does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.data.fingerprints import input_fingerprints, label_fingerprints


@settings(deadline=None)
@given(
    width=st.sampled_from([1, 7, 4096, 4097, 20_000]),
    place=st.integers(0, 19_999),
    bit=st.integers(0, 31),
)
def test_a_single_bit_anywhere_changes_the_fingerprint(width, place, bit):
    values = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    before = input_fingerprints(values)
    bits = values.view(torch.int32)
    bits[1, place % width] ^= -(1 << 31) if bit == 31 else 1 << bit
    assert (input_fingerprints(values) != before).tolist() == [False, True, False]


def test_it_does_not_depend_on_how_samples_are_put_together():
    pictures = torch.randn(100, 3, 41, 43, generator=torch.Generator().manual_seed(0))
    whole = input_fingerprints(pictures)
    for size in (1, 7, 100):
        assert torch.equal(torch.cat([input_fingerprints(part) for part in pictures.split(size)]), whole)
    assert len(set(whole.tolist())) == 100


def test_values_that_change_places_change_the_fingerprint():
    values = torch.randn(1, 10_000, generator=torch.Generator().manual_seed(0))
    swapped = values.clone()
    swapped[0, [3, 3 + 4096]] = values[0, [3 + 4096, 3]]
    assert input_fingerprints(values) != input_fingerprints(swapped)
    parts = {"a": values, "b": values.flip(1)}
    assert input_fingerprints(parts) != input_fingerprints({"a": parts["b"], "b": parts["a"]})


@pytest.mark.parametrize("value", [torch.zeros(2, 5), torch.zeros(2, 0), ["", ""], {"x": torch.zeros(2, 1)}])
def test_0_marks_samples_that_were_not_read(value):
    assert (input_fingerprints(value) != 0).all()


def test_labels_by_name_in_whatever_order_the_classes_are():
    one = label_fingerprints(torch.tensor([0, 1, 2]), ("cat", "dog", "frog"))
    other = label_fingerprints(torch.tensor([3, 0, 1]), ("dog", "frog", "newt", "cat"))
    assert torch.equal(one, other)
    assert len(set(one.tolist())) == 3
    several = label_fingerprints(torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]), ("cat", "dog"))
    more = label_fingerprints(torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), ("dog", "ant", "cat"))
    assert several[:2].tolist() == more.tolist()
    assert len(set(several.tolist())) == 3


@pytest.mark.parametrize("labels", [torch.tensor([0.5, 0.25]), torch.tensor([[0.5, 1.0], [0.5, 2.0]])])
def test_labels_that_are_numbers(labels):
    assert len(set(label_fingerprints(labels, ()).tolist())) == 2


def test_samples_without_labels():
    assert label_fingerprints(torch.empty(3, 0), ()).tolist() == [0, 0, 0]
