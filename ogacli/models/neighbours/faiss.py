"""Approximate k nearest neighbours by FAISS, for banks whose exact search takes too long.

In: the features of a bank and of queries. Out: squared distances and indices into the bank. The bank is
divided into cells around k-means centres; a query is compared with the members of the nearest cells. The
library is optional: ``pip install 'ogacli[faiss]'``.
"""

import math
import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.user_code import optional

_CELLS, _TRAINED = 4, 64
"""Cells, as a multiple of the square root of the bank's size; members a cell that k-means is run on."""
_LOOKED_AT = 32
"""Cells that a query is compared with."""


class Inverted:
    """An inverted file over a bank of features.

    Args:
        features: The bank.

    Raises:
        ConfigError: FAISS is not installed.
    """

    def __init__(self, features: Float[Tensor, "m d"]) -> None:
        with warnings.catch_warnings():
            # Newer versions of Python warn of the types of the wrapper.
            warnings.simplefilter("ignore", DeprecationWarning)
            library = optional("faiss", "faiss", "gradients.neighbours.search faiss")
        m, d = features.shape
        cells = max(1, min(round(_CELLS * math.sqrt(m)), m // 39))  # below 39 a cell the library warns
        bank = features.float().cpu().contiguous().numpy()
        self._index = library.IndexIVFFlat(library.IndexFlatL2(d), d, cells)
        self._index.cp.max_points_per_centroid = _TRAINED
        self._index.train(bank)
        self._index.add(bank)
        self._index.nprobe = _LOOKED_AT

    def nearest(
        self, queries: Float[Tensor, "q d"], own: Int64[Tensor, " q"], count: int
    ) -> tuple[Float[Tensor, "q c"], Int64[Tensor, "q c"]]:
        """Squared distances of the nearest members that were found, and their indices into the bank.

        Args:
            queries: Features.
            own: The index of the query itself, which is left out; -1 where it is not in the bank.
            count: Number of neighbours; the distance is infinite where fewer were found.
        """
        found = self._index.search(queries.float().cpu().contiguous().numpy(), count + 1)
        distance, index = (torch.from_numpy(one).to(queries.device) for one in found)
        distance = distance.masked_fill((index < 0) | (index == own[:, None]), torch.inf)
        near = distance.topk(min(count, distance.shape[1]), largest=False)
        return near.values, index.gather(1, near.indices).clamp_min(0)
