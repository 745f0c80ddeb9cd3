"""Fingerprints: every change shows, and nothing else does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.data.fingerprints import _weights, input_fingerprints, label_fingerprints


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


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]
)
@pytest.mark.parametrize("width", [3, 4096, 9000])
def test_it_is_the_sum_of_bits_times_integers(dtype, width):
    values = torch.randn(2, width, generator=torch.Generator().manual_seed(0)) * 50
    values = (values.abs() if dtype == "uint8" else values).to(getattr(torch, dtype))
    real = torch.view_as_real(values).flatten(1) if dtype == "complex64" else values
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[real.element_size()]
    weights = _weights().tolist()
    expected = []
    for row in real.view(integers).tolist():
        whole = 0
        for place, bits in enumerate(row):
            block, column = divmod(place, len(weights))
            whole += bits * weights[column] * (weights[block] if block else 1)
        expected.append((whole + 2**63) % 2**64 - 2**63)
    assert input_fingerprints(values).tolist() == expected


def test_it_is_the_same_as_in_the_runs_that_are_stored():
    values = torch.from_numpy(np.arange(2 * 5000, dtype=np.float32).reshape(2, 5000))
    assert input_fingerprints(values).tolist() == [1220676914268262400, -4370303536485457920]
    assert label_fingerprints(torch.tensor([0.5, -3.0]), ()).tolist() == [
        757919611520811008,
        -8892294020315742208,
    ]


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
