"""Select parameters: ``head``, ``all``, ``lora``, or patterns of names.

In: a network. Out: its selected parameters.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from ogacli.errors import GradientError

LORA = "*lora_*"
"""Matches the names that PEFT gives the parameters of low-rank adapters."""


def selected(module: nn.Module, layers: str | Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters that ``layers`` selects, by name, in the order of ``named_parameters()``.

    A parameter with several names is matched by each of them and listed once, under the first.

    Args:
        module: The network.
        layers: ``all``; or one or several patterns, such as ``layer4.*`` or ``*.lora_A.*``. ``lora`` means
            the parameters of adapters, and ``head`` those of the last linear layer.

    Raises:
        GradientError: A pattern matches nothing, or the network has no parameters.
    """
    every: dict[str, nn.Parameter] = {}
    aliases: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.is_floating_point():
            if id(parameter) not in aliases:
                every[name] = parameter
            aliases.setdefault(id(parameter), []).append(name)
    if not every:
        raise GradientError("the network has no parameters", place=type(module).__name__)
    if layers == "all":
        return every
    patterns = {_spelt_out(module, name): name for name in ([layers] if isinstance(layers, str) else layers)}
    known = [name for names in aliases.values() for name in names]
    for pattern, written in patterns.items():
        if not any(fnmatchcase(name, pattern) for name in known):
            raise _without(written, known)
    return {
        name: parameter
        for name, parameter in every.items()
        if any(fnmatchcase(alias, pattern) for alias in aliases[id(parameter)] for pattern in patterns)
    }


def _spelt_out(module: nn.Module, name: str) -> str:
    if name == "head":
        linear = [known for known, layer in module.named_modules() if isinstance(layer, nn.Linear)]
        return f"{linear[-1]}.*" if linear else name
    return LORA if name == "lora" else name


def _without(written: str, known: Sequence[str]) -> GradientError:
    """The error for a pattern that matches none of the known parameters."""
    place = f"gradients.layers {written!r}"
    near = get_close_matches(written, [*known, *_layers(known)], n=3, cutoff=0.5)
    patterns = "patterns such as " + ", ".join(near or _layers(known)[-3:] or known[-3:])
    if written == "lora":
        return GradientError(
            "the network has no low-rank adapters",
            place=place,
            expected=f"head, all, or {patterns}",
            hint="a folder of adapters is given as `model.adapter`",
        )
    return GradientError(
        "no parameter of the network has such a name",
        place=place,
        expected=f"head, all, lora, or {patterns}",
    )


def _layers(names: Sequence[str]) -> list[str]:
    """A pattern, such as ``layer4.*``, for each layer that has parameters."""
    return list(dict.fromkeys(f"{name.rpartition('.')[0]}.*" for name in names if "." in name))
