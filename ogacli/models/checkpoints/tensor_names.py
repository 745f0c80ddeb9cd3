"""Names of tensors in a checkpoint and in the network that they belong to.

In: both by name. Out: which is which, where wrappers and training scripts have put words before the names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and wrappers put before the name of each tensor."""


_AVERAGE = re.compile(r"(?i)(?:^|[._])(?:ema|swa|average)")
"""What trainings call a copy of the network whose weights are means over time."""


def own_part(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of the network, where it is one part of what was saved.

    A Lightning module keeps its network under a name of its choice, such as ``net.``, beside a loss or a
    metric with tensors of their own. Where all tensors of the network are found under one name, and under no
    other but that of an average of weights, they are that part; otherwise all of ``weights`` are returned.
    """
    names = [name for name in own if not is_counter(name)]
    if not names or all(name in weights for name in names):
        return weights
    first = f".{names[0]}"
    parts = [name.removesuffix(first) + "." for name in weights if name.endswith(first)]
    whole = [part for part in parts if all(part + name in weights for name in names)]
    if len(whole) > 1:
        whole = [part for part in whole if not _AVERAGE.search(part)]
    if len(whole) != 1:
        return weights
    return {
        name.removeprefix(whole[0]): tensor for name, tensor in weights.items() if name.startswith(whole[0])
    }


def matched(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The name in the file of each of the network's tensors that the file has."""
    if all(name in weights for name in own):
        return {name: name for name in own}
    ours, theirs = _bare_names(own), _bare_names(weights)
    return {name: theirs[bare] for bare, name in ours.items() if bare in theirs}


def missing(own: Mapping[str, Tensor], found: Mapping[str, str]) -> list[str]:
    """Names without a tensor in the file, except where the tensor is tied to one that has."""
    filled = {_memory(own[name]) for name in found}
    return [
        name
        for name, tensor in own.items()
        if name not in found and not is_counter(name) and _memory(tensor) not in filled
    ]


def is_counter(name: str) -> bool:
    """BatchNorm's count of batches: no weight, and absent from old files."""
    return name.endswith("num_batches_tracked")


def _bare_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without the wrappers' prefixes -> the name; as they are where two would become one."""
    bare = {_bare(name): name for name in names}
    names = list(names)
    return bare if len(bare) == len(names) else {name: name for name in names}


def _bare(name: str) -> str:
    name = name.replace("_orig_mod.", "")
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride()
