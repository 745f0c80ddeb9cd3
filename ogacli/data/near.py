"""Samples with nearly the same inputs, in groups.

In: sketches of samples. Out: the group of each. Two samples are near where their sketches are; a group holds
the samples that are connected by such pairs. Candidates are neighbours in sorted lists of hashes, so that
time grows with n log n, whatever the data.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ogacli.data.sketches import PICTURE, ROW, SIDE, TEXT, hashes_of_rows

_SAME_WORDS = 0.8
"""Texts are near that have this share of their words and pairs of words in common."""
_FARTHEST, _OF_USUAL = 0.2, 0.2
"""Pictures are near below this distance, and below this multiple of the usual distance to the nearest."""
_PROBED = 1000
"""Pictures among which that is measured."""
_LISTS, _AHEAD = 24, 8
"""Sorted lists, and the next samples in each that a sample is compared with."""
_DIFFERENT = 16
"""Candidates differ in at most so many of 64 bits."""
_RINGS = 4
"""Frequencies of a small picture that its bits are made of."""
_EDGE = 2
"""Pixels of a small picture that moved ones are not compared at."""
_AT_ONCE = 1 << 12
"""Pictures or pairs that are compared at a time."""


def groups_of(kinds: UInt8[Tensor, " n"], sketches: UInt8[Tensor, "n 256"]) -> Int64[Tensor, " n"]:
    """The first row of the group of each sample; its own row where it is in no group.

    Args:
        kinds: Of the sketches; other kinds than those of ``data.sketches`` are in no group.
        sketches: Of the samples.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(kinds)
    pairs = [np.zeros((2, 0), np.int64)]
    for kind in (PICTURE, TEXT, ROW):
        rows = (kinds == kind).nonzero()[:, 0]
        if len(rows) > 1:
            pairs += [rows[one].numpy() for one in _near(kind, sketches[rows])]
    one, other = np.concatenate(pairs, 1)
    graph = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(n, n))
    group = connected_components(graph, directed=False)[1]
    first = np.full(n, n, np.int64)
    np.minimum.at(first, group, np.arange(n))
    return torch.from_numpy(first[group])


def _near(kind: int, sketches: UInt8[Tensor, "m 256"]) -> Iterator[Int64[Tensor, "2 p"]]:
    """Pairs of near samples of one kind."""
    if kind == ROW:
        for hashes in hashes_of_rows(sketches).T:
            order = hashes.argsort(stable=True)
            same = hashes[order[1:]] == hashes[order[:-1]]
            yield torch.stack([order[:-1][same], order[1:][same]])
        return
    near = _near_texts if kind == TEXT else _near_pictures(farthest_of(sketches))
    for pairs in _candidates(_bits(kind, sketches)).split(_AT_ONCE, 1):
        one, other = (sketches[rows] for rows in pairs)
        yield pairs[:, (one == other).all(1) | near(sketches, *pairs)]


def _candidates(bits: Bool[Tensor, "m 64"]) -> Int64[Tensor, "2 p"]:
    """Pairs of samples that differ in few bits and are close to each other in some sorted list.

    The lists are sorted by permuted bits (Ravichandran, Pantel and Hovy, Randomized algorithms and NLP, ACL
    2005; Manku, Jain and Das Sarma, Detecting near-duplicates for web crawling, WWW 2007).
    """
    m = len(bits)
    generator = torch.Generator().manual_seed(0)
    found = torch.zeros(0, dtype=torch.int64)
    words = _word(bits)
    for _ in range(_LISTS):
        order = _word(bits[:, torch.randperm(64, generator=generator)]).argsort(stable=True)
        several = [found]
        for ahead in range(1, min(_AHEAD, m - 1) + 1):
            one, other = order[:-ahead], order[ahead:]
            few = torch.from_numpy(np.bitwise_count((words[one] ^ words[other]).numpy())) <= _DIFFERENT
            one, other = one[few], other[few]
            several.append(torch.minimum(one, other) * m + torch.maximum(one, other))
        found = torch.cat(several).unique()
    return torch.stack([found // m, found % m])


def _word(bits: Bool[Tensor, "m 64"]) -> Int64[Tensor, " m"]:
    return torch.from_numpy(np.packbits(bits.numpy(), axis=1).view(">i8")[:, 0].astype(np.int64))


def _bits(kind: int, sketches: UInt8[Tensor, "m 256"]) -> Bool[Tensor, "m 64"]:
    """Bits of which near samples have most in common."""
    if kind == TEXT:
        return (sketches[:, ::4] & 1).bool()
    generator = torch.Generator().manual_seed(0)
    some = sketches[torch.randperm(len(sketches), generator=generator)[:_PROBED]]
    mean = _amplitudes(some).mean(0)
    directions = torch.randn(len(mean), 64, generator=generator)
    return torch.cat([(_amplitudes(part) - mean) @ directions > 0 for part in sketches.split(_AT_ONCE)])


def _amplitudes(sketches: UInt8[Tensor, "m 256"]) -> Float[Tensor, "m a"]:
    """The amplitudes of low frequencies, which hardly change where a picture is moved by a pixel."""
    window = torch.hann_window(SIDE + 2, periodic=False)[1:-1].sqrt()
    found = torch.fft.rfft2(_pixels(sketches) * window * window[:, None]).abs()
    down, across = torch.fft.fftfreq(SIDE, 1 / SIDE)[:, None], torch.fft.rfftfreq(SIDE, 1 / SIDE)
    frequency = (down.square() + across.square()).sqrt()
    # Amplitudes fall with the frequency, of which they are made independent.
    some = (found * frequency)[:, (frequency > 0) & (frequency <= _RINGS)].sqrt()
    return F.normalize(some, dim=1)


def _near_texts(
    sketches: UInt8[Tensor, "m 256"], one: Int64[Tensor, " p"], other: Int64[Tensor, " p"]
) -> Bool[Tensor, " p"]:
    return (sketches[one] == sketches[other]).float().mean(1) >= _SAME_WORDS


def _near_pictures(farthest: float) -> Callable[..., Bool[Tensor, " p"]]:
    def near(
        sketches: UInt8[Tensor, "m 256"], one: Int64[Tensor, " p"], other: Int64[Tensor, " p"]
    ) -> Bool[Tensor, " p"]:
        return distances(sketches, one, other) <= farthest

    return near


def distances(
    sketches: UInt8[Tensor, "m 256"], one: Int64[Tensor, " p"], other: Int64[Tensor, " p"]
) -> Float[Tensor, " p"]:
    """The distance of each pair of small pictures, from 0 to 2, at the best of nine shifts by half a pixel.

    It is the root of 2 - 2 r, where r is the correlation of the grey values; so brightness and contrast do
    not matter. To a picture of one colour it is the root of 2.

    Args:
        sketches: Of pictures.
        one: A row of each pair, ascending.
        other: The other row.
    """
    rows, place = one.unique_consecutive(return_inverse=True)
    moved = _moved(sketches[rows], (-0.5, 0.0, 0.5))[place]
    correlation = torch.einsum("psv,pv->ps", moved, _moved(sketches[other], (0.0,))[:, 0])
    return (2 - 2 * correlation.amax(1)).clamp_min(0).sqrt()


def farthest_of(sketches: UInt8[Tensor, "m 256"]) -> float:
    """The distance up to which pictures are near: a part of the usual one to the nearest of some others."""
    generator = torch.Generator().manual_seed(0)
    some = sketches[torch.randperm(len(sketches), generator=generator)[:_PROBED]]
    still = _moved(some, (0.0,))[:, 0]
    moved = _moved(some, (-0.5, 0.0, 0.5)).unbind(1)
    correlation = torch.stack([one @ still.T for one in moved]).amax(0).fill_diagonal_(-1.0)
    nearest = (2 - 2 * correlation.amax(1)).clamp_min(0).sqrt()
    return min(_FARTHEST, _OF_USUAL * float(nearest.median()))


def _moved(sketches: UInt8[Tensor, "p 256"], by: Sequence[float]) -> Float[Tensor, "p s v"]:
    """The pictures moved down and right by each of these, without their edges; of mean 0 and length 1."""
    across = torch.stack([_movement(one) for one in by]).flatten(0, 1)
    found = across @ _pixels(sketches) @ across.T
    found = found.unflatten(2, (len(by), -1)).unflatten(1, (len(by), -1)).transpose(2, 3)
    found = found.reshape(len(sketches), len(by) ** 2, -1)
    return F.normalize(found - found.mean(2, keepdim=True), dim=2)


def _movement(by: float) -> Float[Tensor, "i side"]:
    """A matrix that moves a row of pixels and leaves out its ends: Lanczos interpolation."""
    distance = torch.arange(SIDE) - torch.arange(_EDGE, SIDE - _EDGE)[:, None] - by
    weights = torch.sinc(distance) * torch.sinc(distance / 3) * (distance.abs() < 3)
    return weights / weights.sum(1, keepdim=True)


def _pixels(sketches: UInt8[Tensor, "p 256"]) -> Float[Tensor, "p side side"]:
    return sketches.view(torch.int8).float().reshape(-1, SIDE, SIDE)
