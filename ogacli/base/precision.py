"""How exactly torch computes: the precision of products, and whether equal runs give equal bits.

In: a precision. Out: contexts that set what torch has as global settings, and restore it.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch

from ogacli.base.device import current

Precision = Literal["float32", "tf32", "bfloat16"]
"""``float32`` is IEEE arithmetic. A GPU multiplies ``tf32`` numbers of 10 bits unless told otherwise."""


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """A context in which torch computes matrix products and convolutions in that precision.

    ``float32`` means the precision of the network's weights.
    """
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
    with half, products(short=precision == "tf32"):
        yield


@contextmanager
def computing_on(device: torch.device, *, repeatable: bool = False) -> Iterator[None]:
    """A context in which the device is torch's current one, and products of float32 numbers are exact.

    Args:
        device: The device.
        repeatable: Equal runs give equal bits, of the operations for which torch has such an algorithm.
            Without it this holds for the CPU, and for cuDNN.
    """
    with current(device), products(), deterministic():
        with _repeatable() if repeatable and device.type != "cpu" else nullcontext():
            yield


@contextmanager
def _repeatable() -> Iterator[None]:
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*deterministic", UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def products(*, short: bool = False) -> Iterator[None]:
    """A context in which a GPU multiplies float32 numbers exactly, or ``short``, after rounding to TF32."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    newer = [getattr(cudnn, name) for name in ("conv", "rnn") if hasattr(cudnn, name)]
    restore = [_change(matmul, [matmul], short), _change(cudnn, newer, short)]
    try:
        yield
    finally:
        for one in restore:
            one()


@contextmanager
def deterministic() -> Iterator[None]:
    """A context in which cuDNN gives the same bits each time, and does not try algorithms out."""
    # Not ``cudnn.flags``: arguments that are left out take its defaults there, which turn cuDNN off.
    with _cudnn({"deterministic": True, "benchmark": False}):
        yield


@contextmanager
def without_cudnn() -> Iterator[None]:
    """A context in which torch does not use cuDNN."""
    with _cudnn({"enabled": False}):
        yield


@contextmanager
def _cudnn(wanted: dict[str, bool]) -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    before = {name: getattr(cudnn, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(cudnn, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(cudnn, name, value)


def _change(older: Any, newer: Sequence[Any], short: bool) -> Callable[[], None]:
    """Allow TF32, or do not; returns what restores the setting.

    torch refuses the older of its two interfaces where the newer one was used.
    """
    try:
        before = older.allow_tf32
        older.allow_tf32 = short
        return lambda: setattr(older, "allow_tf32", before)
    except RuntimeError:
        known = [one.fp32_precision for one in newer]
    for one in newer:
        one.fp32_precision = "tf32" if short else "ieee"

    def restore() -> None:
        for one, value in zip(newer, known, strict=True):
            one.fp32_precision = value

    return restore
