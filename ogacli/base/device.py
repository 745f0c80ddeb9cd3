"""Where and how torch computes: device, precision, threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from ogacli.errors import ConfigError

Precision = Literal["float32", "bfloat16"]


def device_of(name: str) -> torch.device:
    """The torch device of a name in the config.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            "no such device", place="gradients.device", found=repr(name), expected="auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "mps":
        raise ConfigError(
            "norms are summed in float64, which MPS does not have",
            place="gradients.device",
            found="'mps'",
            hint="use cpu",
        )
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in ("cpu", "cuda") or (device.index or 0) >= count:
        raise ConfigError(
            "no such device on this machine",
            place="gradients.device",
            found=repr(name),
            expected=", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]),
        )
    return device


def device_name(device: torch.device) -> str:
    """``cpu``, or the model name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def computing_in(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which torch computes matrix products and convolutions in that precision.

    ``float32`` means the precision of the network's weights.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def one_thread() -> Iterator[None]:
    """Restrict torch operations of this thread to one core within the block.

    Many small operations are slightly faster on several cores of an idle machine. They are ten times slower
    where other processes need the cores, or a container may use fewer cores than it reports.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
