"""Low-rank adapters in a network of transformers, by PEFT: new ones, or those of a folder that PEFT wrote.

In: a network. Out: the same network with adapters in its layers; all other parameters are frozen.
"""

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from ogacli.base.options import Options
from ogacli.base.user_code import optional
from ogacli.errors import CheckpointError, ConfigError
from ogacli.models.text.folders import misplaced
from ogacli.models.text.remote_code import refuse_code


class LoraOptions(Options):
    """New adapters, to be trained in place of the network's own weights (LoRA, Hu et al., ICLR 2022)."""

    rank: Annotated[int, Field(ge=1)] = 8
    """The rank of the two matrices whose product is added to a weight."""
    alpha: Annotated[float, Field(gt=0)] = 16.0
    """The product is multiplied by ``alpha / rank``."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """On the inputs of the adapters, in training only."""
    target: tuple[str, ...] | Literal["all-linear"] | None = None
    """Names of the linear layers, such as ``[query, value]``, or ``all-linear``; where left out, PEFT's
    choice for the architecture, which is the attention's projections."""


def add_adapters(module: nn.Module, options: LoraOptions) -> None:
    """Add adapters to the linear layers that the options name, and freeze all other parameters.

    Raises:
        ConfigError: There are no such layers, or PEFT knows none for this architecture.
    """
    peft = optional("peft", "text", "model")
    target = list(options.target) if isinstance(options.target, tuple) else options.target
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=target,
    )
    try:
        with _without_advice():
            peft.inject_adapter_in_model(config, module)
    except ValueError as error:
        names = dict.fromkeys(name.rpartition(".")[2] for name, one in module.named_modules() if _fits(one))
        raise ConfigError(
            "adapters cannot be put into these layers",
            place="model.lora.target",
            found="left out" if options.target is None else str(options.target),
            expected=f"some of {', '.join(names)}; or all-linear",
            hint=str(error).partition(".")[0],
        ) from None


def load_adapter(
    module: nn.Module, folder: str, lacking: Collection[str], *, trust: bool = False
) -> nn.Module:
    """The network with the adapter that PEFT's ``save_pretrained`` wrote to a folder.

    Args:
        module: The network.
        folder: Of the adapter.
        lacking: Names of weights that the network has no values for; the adapter must have them.
        trust: Whether its config may name modules to import.

    Raises:
        CheckpointError: There is none, it belongs to another network, or it names code to be run.
    """
    refuse_code(folder, "model.adapter", trust=trust)
    peft = optional("peft", "text", "model")
    try:
        own = peft.PeftConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            "no adapter in this folder",
            place=f"model.adapter {folder}",
            found=str(error).partition("\n")[0],
            expected="adapter_config.json and adapter_model.safetensors, as PEFT writes them",
            hint=misplaced(folder, "adapter"),
        ) from None
    try:
        with _without_advice(), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            found: nn.Module = peft.PeftModel.from_pretrained(
                module, folder, is_trainable=True
            ).get_base_model()
    except (ValueError, RuntimeError, KeyError, UserWarning) as error:
        raise CheckpointError(
            "the adapter does not fit the network",
            place=f"model.adapter {folder}",
            found=_first_lines(str(error)),
            expected=f"an adapter for this {type(module).__name__}",
            hint=f"it was made for {own.base_model_name_or_path or 'a network that it does not name'}",
        ) from None
    known = dict(found.named_parameters())
    absent = [name for name in lacking if _in_adapter(name) not in known]
    if absent:
        raise CheckpointError(
            "neither the network nor the adapter has these weights",
            place=f"model.adapter {folder}",
            found=", ".join(sorted(absent)[:5]),
            expected="a head, saved with the network or (`modules_to_save`) with the adapter",
        )
    return found


def _in_adapter(name: str) -> str:
    """The name of the adapter's copy of a weight of the network."""
    layer, _, tensor = name.rpartition(".")
    return f"{layer}.modules_to_save.default.{tensor}"


def _fits(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]


@contextmanager
def _without_advice() -> Iterator[None]:
    """Ignore warnings on PEFT's defaults for GPT-2 and on its use of deprecated functions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        warnings.simplefilter("ignore", FutureWarning)
        yield
