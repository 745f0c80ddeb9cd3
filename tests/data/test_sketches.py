"""Sketches against slow ones, and what they do not depend on."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ogacli.data.sketches import BYTES, PICTURE, ROW, TEXT, hashes_of_rows, sketched

WORDS = st.lists(st.integers(0, 5000), min_size=3, max_size=60)


def tokens(*texts: list[int]) -> dict[str, torch.Tensor]:
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(longest) < torch.tensor([[len(t)] for t in texts])),
    }


def shingles(text: list[int]) -> set[object]:
    return {*text, *pairwise(text)}


def jaccard(one: list[int], other: list[int]) -> float:
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


def pictures(n: int, *shape: int) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        (pictures(4, 3, 20, 30), PICTURE),
        (pictures(4, 1, 28, 28) * 255, PICTURE),
        (["one text", "", "another", "more"], TEXT),
        (tokens([1, 2], [3], [4], [5, 6, 7]), TEXT),
        (pictures(4, 5), ROW),
        ({"x": pictures(4, 2), "z": torch.arange(4)[:, None]}, ROW),
        ([(pictures(3, 8),), (pictures(3, 9),), (pictures(1, 8),), (pictures(2, 8),)], ROW),
        ([("a", "b"), ("a", "c"), ("b", "b"), ("", "")], ROW),
    ],
)
def test_a_sketch_depends_on_its_sample_alone(inputs, kind):
    found, sketches = sketched(inputs)
    assert found == kind
    assert sketches.shape == (4, BYTES)
    assert sketches.dtype == torch.uint8
    for i in range(4):
        one = (
            {name: x[i : i + 1] for name, x in inputs.items()}
            if isinstance(inputs, dict)
            else inputs[i : i + 1]
        )
        assert torch.equal(sketched(one)[1][0], sketches[i])


@given(WORDS, WORDS)
def test_the_share_of_equal_bytes_is_the_share_of_common_words(one, other):
    """On the mean over texts with other words in the same places it is unbiased."""
    renamed = [[[word + 7919 * j for word in text] for text in (one, other)] for j in range(256)]
    sketches = sketched(tokens(*[text for pair in renamed for text in pair]))[1].view(256, 2, BYTES)
    share = (sketches[:, 0] == sketches[:, 1]).float().mean(1)
    assert float(share.mean()) == pytest.approx(jaccard(one, other), abs=0.08)


def test_words_count_whatever_case_and_punctuation():
    _, sketches = sketched(["The stock, up 3%!", "the stock up 3", "the stock down 3"])
    assert torch.equal(sketches[0], sketches[1])
    assert not torch.equal(sketches[0], sketches[2])


def test_brightness_and_contrast_do_not_change_a_picture():
    one = pictures(5, 3, 32, 32)
    found, other = sketched(one)[1].view(torch.int8), sketched(0.5 * one + 0.3)[1].view(torch.int8)
    assert (found.int() - other.int()).abs().max() <= 1


def test_a_picture_of_one_colour_is_zeros():
    for value in (0.0, 0.1, 255.0):
        assert not sketched(torch.full((2, 3, 40, 40), value))[1].any()


def test_numbers_agree_to_three_digits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 12)) * 10.0 ** rng.integers(-3, 4, 12)
    near, far = x * (1 + rng.uniform(-1e-5, 1e-5, x.shape)), x.copy()
    far[np.arange(2000), rng.integers(0, 12, 2000)] *= 1.01

    def same(other: np.ndarray) -> float:
        both = [hashes_of_rows(sketched(torch.from_numpy(part))[1]) for part in (x, other)]
        return float((both[0] == both[1]).any(1).float().mean())

    assert same(x) == 1
    assert same(near) > 0.995
    assert same(far) == 0
