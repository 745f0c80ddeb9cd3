"""What the package computes, computed slowly and obviously: one sample, one backward, one step at a time."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

OneLoss = Callable[[Float[Tensor, "1 k"], Shaped[Tensor, "1 ..."]], Tensor]


def head_gradients(
    module: nn.Module, head: nn.Linear, inputs: Tensor, labels: Tensor, loss: OneLoss
) -> Float[Tensor, "n p"]:
    """The gradient of each sample's loss with respect to the head's weight and bias, by one backward each."""
    parameters = [head.weight] if head.bias is None else [head.weight, head.bias]
    rows = []
    with torch.enable_grad():
        for i in range(len(inputs)):
            for parameter in parameters:
                parameter.requires_grad_(True)
            value = loss(module(inputs[i : i + 1]), labels[i : i + 1]).sum()
            found = torch.autograd.grad(value, parameters)
            rows.append(torch.cat([part.flatten() for part in found]))
    for parameter in parameters:
        parameter.requires_grad_(False)
    return torch.stack(rows)


def norm(gradients: Float[Tensor, "n p"], order: int) -> Float[Tensor, " n"]:
    """The L1 or L2 norm of each row."""
    power = [sum(abs(x) ** order for x in row) for row in gradients.double().tolist()]
    return torch.tensor([total ** (1 / order) for total in power], dtype=torch.float64)


def average_path(size: int) -> float:
    """Liu et al. 2008, equation 1, in scikit-learn's convention for sizes 0, 1 and 2."""
    if size < 2:
        return 0.0
    if size == 2:
        return 1.0
    return 2 * (math.log(size - 1) + 0.5772156649015329) - 2 * (size - 1) / size


Node = tuple[int, float, "Node", "Node"] | int
"""An inner node (coordinate, threshold, left, right), or the number of samples in a leaf."""


def path_length(tree: Node, sample: list[float], depth: int = 0) -> float:
    """How far a sample gets in an isolation tree."""
    if isinstance(tree, int):
        return depth + average_path(tree)
    coordinate, threshold, left, right = tree
    return path_length(left if sample[coordinate] <= threshold else right, sample, depth + 1)


def nested(forest: Any, node: int) -> Node:
    """One tree of a forest held in arrays, from the node on; a leaf's size is found from its path length."""

    def build(node: int, depth: int) -> Node:
        left = int(forest.left[node])
        if left == 0:
            rest = float(forest.path[node]) - depth
            return next(
                size for size in range(1, 1000) if math.isclose(average_path(size), rest, abs_tol=1e-9)
            )
        threshold = float(forest.threshold[node])
        return int(forest.coordinate[node]), threshold, build(left, depth + 1), build(left + 1, depth + 1)

    return build(node, 0)


def isolation_score(trees: list[Node], sizes: list[int], sample: list[float]) -> float:
    """The anomaly score of a sample, given trees and how many samples each was grown from."""
    total = sum(path_length(tree, sample) for tree in trees)
    return 2 ** (-total / sum(average_path(size) for size in sizes))
