"""Tensors of a checkpoint -> the weights of a network: names are compared without prefixes.

In: both by name. Out: the network with the weights, or one error that names every tensor that does not fit.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ogacli.errors import CheckpointError

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and wrappers put before the name of each tensor."""
_AVERAGE = re.compile(r"(?i)(?:^|[._])(?:ema|swa|average)")
"""Names of copies of a network that hold running averages of its weights."""
_NAMED = 4
"""Tensors that an error names; further ones are only counted."""


def put_weights(
    module: nn.Module, weights: Mapping[str, Tensor], path: str, *, partial: bool = False
) -> None:
    """Copy ``weights`` into ``module``.

    Args:
        module: The network.
        weights: The tensors of a checkpoint.
        path: The checkpoint, for errors.
        partial: The checkpoint holds the trainable parameters only.

    Raises:
        CheckpointError: Tensors are missing, unexpected, complex, of another shape (each named), or hold NaN.
    """
    own = trained(module) if partial else module.state_dict()
    weights = _own_part(own, weights)
    found = _matched(own, weights)
    parameters = dict(module.named_parameters())
    broken = [name for name, theirs in found.items() if name in parameters and weights[theirs].isnan().any()]
    if broken:
        raise CheckpointError(
            "the checkpoint holds values that are not numbers",
            place=path,
            found="; ".join(_listed("with NaN", broken)),
            hint="the training diverged: take an earlier checkpoint",
        )
    misfits = [
        f"{name} {list(weights[theirs].shape)}, not {list(own[name].shape)}"
        for name, theirs in found.items()
        if own[name].shape != weights[theirs].shape
    ]
    # torch would drop the imaginary part with no more than a warning.
    imaginary = [
        name for name, theirs in found.items() if weights[theirs].is_complex() and not own[name].is_complex()
    ]
    taken = set(found.values())
    unexpected = [name for name in weights if name not in taken and not _is_counter(name)]
    lacking = _missing(own, found)
    problems = {
        "of another shape": misfits,
        "complex, not real": imaginary,
        "missing": lacking,
        "unexpected": unexpected,
    }
    if any(problems.values()):
        raise CheckpointError(
            f"the checkpoint does not fit the model ({type(module).__name__})",
            place=path,
            found="; ".join(text for noun, names in problems.items() for text in _listed(noun, names)),
            expected=f"the {len(own)} tensors of the model, such as {next(iter(own), 'none')!r}",
            hint="the names differ: the file belongs to another architecture; check `model.source` and its "
            "options"
            if lacking and unexpected and not misfits
            else "check that `model` describes the network that was saved",
        )
    module.load_state_dict({name: weights[theirs] for name, theirs in found.items()}, strict=False)


def head_outputs(module: nn.Module, weights: Mapping[str, Tensor], outputs: int) -> int | None:
    """The number of outputs of the head in ``weights``, where that and only that differs from ``module``.

    Args:
        module: A network with ``outputs`` outputs.
        weights: The tensors of a checkpoint.
        outputs: The number of outputs of ``module``.
    """
    own = module.state_dict()
    sizes = set()
    weights = _own_part(own, weights)
    for name, found in _matched(own, weights).items():
        ours, theirs = own[name].shape, weights[found].shape
        if ours == theirs:
            continue
        if not ours or len(ours) != len(theirs) or ours[1:] != theirs[1:] or ours[0] != outputs:
            return None
        sizes.add(theirs[0])
    return sizes.pop() if len(sizes) == 1 else None


def trained(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are not frozen."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _own_part(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of the network, where it is one part of what was saved.

    A Lightning module keeps its network under a name of its choice, such as ``net.``, beside a loss or a
    metric with tensors of their own. Where all tensors of the network are found under one name, and under no
    other but that of an average of weights, they are that part; otherwise all of ``weights`` are returned.
    """
    names = [name for name in own if not _is_counter(name)]
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


def _matched(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The name in the file of each of the network's tensors that the file has."""
    if all(name in weights for name in own):
        return {name: name for name in own}
    ours, theirs = _bare_names(own), _bare_names(weights)
    return {name: theirs[bare] for bare, name in ours.items() if bare in theirs}


def _missing(own: Mapping[str, Tensor], found: Mapping[str, str]) -> list[str]:
    """Names without a tensor in the file, except where the tensor is tied to one that has."""
    filled = {_memory(own[name]) for name in found}
    return [
        name
        for name, tensor in own.items()
        if name not in found and not _is_counter(name) and _memory(tensor) not in filled
    ]


def _is_counter(name: str) -> bool:
    """Whether it is BatchNorm's count of batches, which is no weight and is absent from old files."""
    return name.endswith("num_batches_tracked")


def _bare_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without the wrappers' prefixes -> the name; as they are where two would become one."""
    names = list(names)
    bare = {_bare(name): name for name in names}
    return bare if len(bare) == len(names) else {name: name for name in names}


def _bare(name: str) -> str:
    name = name.replace("_orig_mod.", "")
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _listed(noun: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{len(names)} {noun}: {', '.join(names[:_NAMED])}{more}"]
