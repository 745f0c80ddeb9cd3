"""The boxes of many pictures, in a few arrays.

In: for each box its picture, corners and class. Out: ``BoxLists``, and which of two lists differ.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

_SAME = 0.5
"""Pixels within which two boxes are the same; files round the numbers."""
_SIDE = 1000
"""Pixels of a picture whose size is not known, for that."""
_FAR = 1e30
"""Corners are cut off there, beyond any picture, as float32 holds no 1e39."""


@dataclass(frozen=True, slots=True)
class BoxLists:
    """The boxes of n pictures, one picture after the other."""

    starts: Int64[np.ndarray, " n+1"]
    """Where the boxes of each picture begin, and where the last ones end."""
    corners: Float32[np.ndarray, "m 4"]
    """Left, top, right and bottom."""
    classes: Int64[np.ndarray, " m"]
    relative: bool = False
    """Whether corners are parts of width and height, from 0 to 1, in place of pixels."""

    @classmethod
    def of(
        cls,
        owners: Sequence[int],
        corners: Sequence[Sequence[float]],
        classes: Sequence[int],
        n: int,
        *,
        relative: bool = False,
    ) -> "BoxLists":
        """Boxes in any order.

        Args:
            owners: The picture of each box, from 0 to n - 1; boxes of a picture stay in their order.
            corners: Of each box.
            classes: Of each box.
            n: The number of pictures.
            relative: Whether corners are parts of width and height.
        """
        owner = np.asarray(owners, dtype=np.int64)
        order = np.argsort(owner, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))])
        table = np.clip(np.asarray(corners, dtype=np.float64), -_FAR, _FAR).astype(np.float32).reshape(-1, 4)
        return cls(starts, table[order], np.asarray(classes, dtype=np.int64)[order], relative)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def at(self, position: int) -> tuple[Float32[np.ndarray, "m 4"], Int64[np.ndarray, " m"]]:
        """Corners and classes of the boxes of a picture."""
        here = slice(self.starts[position], self.starts[position + 1])
        return self.corners[here], self.classes[here]

    def signature(self, pictures: str) -> str:
        """A text that differs when the boxes do, or this text of the pictures."""
        digest = hashlib.sha256(pictures.encode())
        for part in (self.starts, self.corners, self.classes):
            digest.update(part.tobytes())
        return digest.hexdigest()

    def counts(self, k: int) -> Float[Tensor, "n k"]:
        """The number of boxes of each class in each picture."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.starts))
        found = np.bincount(owner * k + self.classes, minlength=len(self) * k)
        return torch.from_numpy(found.reshape(len(self), k)).float()

    def differs(self, other: "BoxLists") -> Bool[Tensor, " n"]:
        """In which pictures the boxes are not those of the other, in whatever order."""
        return torch.tensor([self._differ(other, position) for position in range(len(self))])

    def alike(self, other: "BoxLists", position: int) -> Bool[np.ndarray, "m l"]:
        """Which boxes of a picture are which of the other."""
        (own, kinds), (others, theirs) = self.at(position), other.at(position)
        same = _SAME / _SIDE if self.relative else _SAME
        near: np.ndarray = (np.abs(own[:, None] - others[None]) < same).all(2) & (kinds[:, None] == theirs)
        return near

    def _differ(self, other: "BoxLists", position: int) -> bool:
        near = self.alike(other, position)
        return near.shape[0] != near.shape[1] or not (near.any(0).all() and near.any(1).all())
