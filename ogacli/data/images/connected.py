"""Connected pixels of one class in masks.

In: which pixels count, and the class of each. Out: the group of each of these pixels, and boxes of groups.
"""

import numpy as np
from jaxtyping import Bool, Int64, Shaped

SMALLEST = 20
"""Pixels of the smallest region that is judged, or counts as wrong."""


def connected(
    some: Bool[np.ndarray, "b h w"], classes: Int64[np.ndarray, "b h w"]
) -> tuple[int, Int64[np.ndarray, " m"]]:
    """Connected pixels of one class: how many such groups there are, and the group of each of m pixels."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    m = int(some.sum())
    number = np.zeros(some.shape, np.int64)
    number[some] = np.arange(m)
    pairs = []
    for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
        joined = some[here] & some[there] & (classes[here] == classes[there])
        pairs.append(np.stack([number[here][joined], number[there][joined]]))
    one, other = np.concatenate(pairs, 1)
    count, group = connected_components(coo_array((np.ones(len(one)), (one, other)), (m, m)), directed=False)
    return int(count), group.astype(np.int64)


def of_groups(group: Int64[np.ndarray, " m"], values: Shaped[np.ndarray, " m"]) -> Shaped[np.ndarray, " g"]:
    """The value of each group, which is that of each of its pixels."""
    found: Shaped[np.ndarray, " g"] = values[np.unique(group, return_index=True)[1]]
    return found


def boxes_of_groups(
    group: Int64[np.ndarray, " m"], count: int, across: Int64[np.ndarray, " m"], down: Int64[np.ndarray, " m"]
) -> Int64[np.ndarray, "g 4"]:
    """The first column and row of each group, and the last ones, plus 1: left, top, right, bottom.

    Args:
        group: Of each pixel.
        count: How many groups there are.
        across: The column of each pixel.
        down: Its row.
    """
    boxes = np.zeros((count, 4), np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    for axis, place in enumerate((across, down)):
        np.minimum.at(boxes[:, axis], group, place)
        np.maximum.at(boxes[:, axis + 2], group, place + 1)
    return boxes
