"""Sketches: some bytes of each sample, by which samples with nearly the same inputs are found.

In: inputs as a network is called with them. Out: 256 bytes a sample, of one of three kinds: of a picture a
small grey one, of a text a MinHash of its words, of other inputs two hashes of the rounded values. A sketch
depends on nothing but the inputs of its sample.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from ogacli.base.device import sent
from ogacli.base.seeding import mixed
from ogacli.data.fingerprints import input_fingerprints, text_fingerprint
from ogacli.data.images.quality import are_pictures

BYTES = 256
"""Of a sketch."""
NONE, PICTURE, TEXT, ROW = range(4)
"""The kinds of sketches; ``NONE`` where a sample was not seen."""
SIDE = 16
"""Pixels of a side of the small picture."""
_BLUR = (1.0, 5.0, 10.0, 10.0, 5.0, 1.0)
_FAINTEST = 1e-5
_EMPTY = 1 << 31
_AFTER = 0x632BE59BD9B4E019
"""Tells the second word of a pair from the first."""
_STEPS = 1 << 10
"""Numbers are rounded to so many steps between a power of two and the next: about three digits."""
_WORD = re.compile(r"\w+")


def sketched(inputs: Any) -> tuple[int, UInt8[Tensor, "b 256"]]:
    """The kind of the sketches, and the sketch of each sample.

    Args:
        inputs: A tensor [b, ...], a mapping of names to such tensors, or a list of texts or of tuples.
    """
    if are_pictures(inputs):
        return PICTURE, _small(inputs)
    if isinstance(inputs, dict) and "input_ids" in inputs:
        ids = inputs["input_ids"].flatten(1)
        mask = inputs.get("attention_mask")
        return TEXT, _min_hash(ids, torch.ones_like(ids) if mask is None else mask.flatten(1))
    if isinstance(inputs, list) and isinstance(inputs[0], str):
        return TEXT, _min_hash(*_words(inputs))
    both = [input_fingerprints(_rounded(inputs, half)) for half in (0.0, 0.5)]
    return ROW, F.pad(torch.stack(both, 1).view(torch.uint8), (0, BYTES - 16))


def hashes_of_rows(sketches: UInt8[Tensor, "m 256"]) -> Int64[Tensor, "m 2"]:
    """The two hashes in each sketch of kind ``ROW``."""
    return sketches[:, :16].contiguous().view(torch.int64)


def _small(pictures: Shaped[Tensor, "b c h w"]) -> UInt8[Tensor, "b 256"]:
    """16 x 16 grey values, minus their mean, in units of the largest: bytes from -127 to 127.

    The picture is blurred first, so that it can be moved by parts of a pixel afterwards.
    """
    grey = pictures.float().mean(1, keepdim=True)
    grey = F.interpolate(grey, (2 * SIDE, 2 * SIDE), mode="bilinear", antialias=True)
    taps = sent(torch.tensor(_BLUR), grey.device) / sum(_BLUR)
    edge = len(_BLUR) // 2 - 1
    padded = F.pad(grey, (edge, edge, edge, edge), mode="replicate")
    small = F.conv2d(padded, (taps[:, None] * taps)[None, None], stride=2).flatten(1)
    small = small - small.mean(1, keepdim=True)
    largest = small.abs().amax(1, keepdim=True)
    # In one colour what is left is rounding.
    seen = largest > _FAINTEST * pictures.flatten(1).abs().amax(1, keepdim=True)
    units = torch.where(seen, largest, torch.inf)
    return (small / units * 127).round().to(torch.int8).view(torch.uint8)


def _words(texts: Sequence[str]) -> tuple[Int64[Tensor, "b t"], Int64[Tensor, "b t"]]:
    """Hashes of the words in lower case, [b, t], and which of them are words."""
    each = [[text_fingerprint(word) for word in _WORD.findall(text.lower())] for text in texts]
    longest = max(1, *map(len, each))
    ids = torch.tensor([words + [0] * (longest - len(words)) for words in each])
    return ids, torch.tensor([[1] * len(words) + [0] * (longest - len(words)) for words in each])


def _min_hash(ids: Int64[Tensor, "b t"], mask: Shaped[Tensor, "b t"]) -> UInt8[Tensor, "b 256"]:
    """A MinHash of the words and the pairs of adjacent words, a byte a bin.

    The share of equal bytes of two texts estimates the share of the words and pairs of both that they have
    in common. All bins take one hash of each word (Li, Owen and Zhang, One permutation hashing, NeurIPS
    2012); an empty one takes the next bin's (Shrivastava and Li, Densifying one permutation hashing, ICML
    2014); of each minimum some bits are kept (Li and König, b-bit minwise hashing, WWW 2010).
    """
    real = mask != 0
    words = mixed(ids.long())
    pairs = mixed(words[:, :-1] + words[:, 1:] * _AFTER)
    hashes = torch.cat([words, pairs], 1)
    there = torch.cat([real, real[:, :-1] & real[:, 1:]], 1)
    bins = torch.where(there, hashes & BYTES - 1, BYTES)
    values = (hashes >> 8) & _EMPTY - 1
    least = values.new_full((len(ids), BYTES + 1), _EMPTY).scatter_reduce_(1, bins, values, "amin")[:, :-1]
    twice = least.repeat(1, 2)
    places = torch.arange(2 * BYTES, device=ids.device)
    filled = places.where(twice < _EMPTY, 2 * BYTES - 1)
    following = filled.flip(1).cummin(1).values.flip(1)[:, :BYTES]
    # Some bits of a hash of the minimum and its bin: so texts of a few words differ in many bytes.
    return (mixed(twice.gather(1, following) + places[:BYTES] * _EMPTY) & 0xFF).to(torch.uint8)


def _rounded(inputs: Any, half: float) -> Any:
    """The inputs with whole numbers in place of others, which are the same where these agree to 3 digits."""
    if isinstance(inputs, dict):
        return {name: _rounded(one, half) for name, one in inputs.items()}
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return inputs
    return _steps(inputs.float(), half)


def _steps(values: Float[Tensor, "b ..."], half: float) -> Int64[Tensor, "b ..."]:
    fraction, power = torch.frexp(values.nan_to_num(nan=torch.pi))
    return (fraction * 2 * _STEPS + half).floor().long() + power * (8 * _STEPS)
