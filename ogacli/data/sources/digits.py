"""scikit-learn's handwritten digits: 1,797 pictures of 8 x 8, ten classes; nothing to download."""

from typing import Literal

import numpy as np
import torch

from ogacli.data.arrays import ArrayReader, digest
from ogacli.data.ids import RowNumbers
from ogacli.data.labels import Targets
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources


@sources.register
class Digits(Source):
    """scikit-learn's digits as [1, 8, 8] pictures with values from 0 to 1."""

    split: Literal["train", "test", "all"] = "all"
    """The test split is a fixed third."""

    def load(self) -> Samples:
        """All digits, or one split of them; ids are the rows of the full set."""
        from sklearn.datasets import load_digits

        pictures, labels = load_digits(return_X_y=True)
        rows = np.random.default_rng(0).permutation(len(labels))
        third = len(labels) // 3
        parts = {"train": rows[third:], "test": rows[:third], "all": rows}
        chosen = np.sort(parts[self.split])
        inputs = (pictures / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        targets = Targets(torch.from_numpy(labels), tuple(str(digit) for digit in range(10)))
        reader = ArrayReader(inputs, image=True)
        every = Samples.from_targets(RowNumbers(len(labels)), targets, reader, digest(inputs))
        return every.select(torch.from_numpy(chosen))
