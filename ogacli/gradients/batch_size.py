"""How many samples are computed together.

In: samples, a model, and which gradients. Out: the samples of a forward pass, and how many passes make a
batch. Both depend on data, model and free memory alone, not on timings, so that reruns are bit-equal.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ogacli.base.device import free_bytes, total_bytes
from ogacli.data import Batch, Samples
from ogacli.gradients import GradientOptions, Gradients, HeadGradients
from ogacli.models import Model, Network

_WIDEST_BYTES = 6 << 20
"""Head gradients: the largest activation of a forward pass at the automatic batch size, so that it fits in
the caches of a core. A ResNet-18 takes a quarter less time than with batches of ten times the size."""
_INPUT_BYTES, _INPUT_BYTES_ELSEWHERE = 4 << 20, 32 << 20
"""Inputs of a batch at the automatic batch size, on the CPU and on other devices. Head gradients of several
forward passes are joined to such a batch, because detectors need a fixed time for each batch."""
_FACTOR_BYTES = 96 << 20
"""Gradients of all layers: factors of a batch at the automatic batch size."""
_LOOKED_UP_BYTES = 32 << 20
"""Logits, residuals and features of a batch where they are looked up instead of computed."""
_PART = 4
"""On a GPU a batch takes at most this part of the memory."""
_ACTIVATIONS, _FACTORS = 8, 4
"""What a sample takes there, as a multiple of its largest activation, or of the factors of its gradients."""
_FEWEST, _MOST, _MOST_LOOKED_UP = 4, 2048, 1 << 14
"""Limits of the automatic batch size."""
_PROBE = 4
"""Number of samples whose gradients are computed to measure the memory of one."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How many samples are computed together."""

    samples: int
    """Of a forward pass."""
    passes: int = 1
    """Whose gradients are joined to one batch."""
    probed: int | None = None
    """Input bytes of the samples for which the size was chosen; batches of longer texts are smaller."""


def batch_size(
    samples: Samples, model: Model, gradients: Gradients, options: GradientOptions, device: torch.device
) -> BatchSize:
    """The configured size; if ``auto``, as many samples as make some megabytes of inputs and factors.

    Args:
        samples: A few of them are read.
        model: On the device.
        gradients: Computes those of a batch.
        options: With the configured size.
        device: Where they are computed.
    """
    configured = None if options.batch_size == "auto" else options.batch_size
    if not model.reads_inputs:
        chosen = max(_FEWEST, min(_MOST_LOOKED_UP, _LOOKED_UP_BYTES // _looked_up(samples, model, device)))
        return BatchSize(configured or chosen)
    on_cpu, head = device.type == "cpu", isinstance(gradients, HeadGradients)
    if configured and (on_cpu or not head):
        return BatchSize(configured)
    probe = _readable(samples)
    if probe is None:
        return BatchSize(configured or _PROBE)
    own = max(1, probe.nbytes // len(probe.rows))
    inputs = max(1, min(_MOST, (_INPUT_BYTES if on_cpu else _INPUT_BYTES_ELSEWHERE) // own))
    if not head:
        taken = max(1, gradients(probe.to(device)).nbytes // len(probe.rows))
        size = min(inputs, _FACTOR_BYTES // taken) if on_cpu else _fitting(own + _FACTORS * taken, device)
        return BatchSize(max(1, size), probed=own)
    widest = own
    if not configured and isinstance(model, Network):
        widest = max(own, model.widest(probe.to(device)))
    chosen = max(_FEWEST, min(_MOST, _WIDEST_BYTES // widest))
    size = configured or (chosen if on_cpu else _fitting(own + _ACTIVATIONS * widest, device))
    # Not for texts, which are padded to the longest of the batch.
    passes = max(1, inputs // size) if isinstance(probe.inputs, Tensor) else 1
    return BatchSize(size, passes, None if configured else own)


def _fitting(each: int, device: torch.device) -> int:
    """How many samples of so many bytes a GPU has room for.

    A power of two, so that a little more or less free memory does not change the last bits of the scores.
    """
    room = min(free_bytes(device), total_bytes(device)) // _PART
    return 1 << (min(_MOST, max(1, room // each)).bit_length() - 1)


def _looked_up(samples: Samples, model: Model, device: torch.device) -> int:
    """Bytes of the logits, residual and features of a sample."""
    row = torch.arange(1)
    outputs = model.outputs(Batch(row, None, samples.labels[row].to(device), {}))
    features = 0 if outputs.features is None else outputs.features.nbytes
    return max(1, 2 * outputs.logits.nbytes + features)


def _readable(samples: Samples) -> Batch | None:
    """The first few samples that can be read; None where none of the first 128 can."""
    for start in range(0, min(128, len(samples)), _PROBE):
        probe = samples.read(range(start, min(start + _PROBE, len(samples))))
        if len(probe.rows):
            return probe
    return None
