"""``provenance.json``: versions, device and fingerprints, enough to repeat a scan."""

import platform
from collections.abc import Mapping
from typing import Any

import numpy
import torch

from ogacli._version import __version__
from ogacli.base.device import device_name
from ogacli.gradients.feed import GradientFeed
from ogacli.scan.setup import Setup


def provenance(
    setup: Setup, device: torch.device, weights: Mapping[str, str], feed: GradientFeed
) -> dict[str, Any]:
    """Versions, device, precision, seeds, and the fingerprints of datasets and weights.

    Args:
        setup: The input of the scan.
        device: Where it was computed.
        weights: Fingerprints of the weights, by file or by class of the network in memory.
        feed: That of the last checkpoint.
    """
    seeds = [getattr(options, "seed", None) for options in setup.detectors]
    data, validation = setup.settings["data"], setup.validation
    return {
        "schema_version": 1,
        "versions": {
            "ogacli": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": setup.gradients.precision,
        "deterministic": device.type == "cpu" or setup.gradients.deterministic,
        "seeds": [seed for seed in seeds if seed is not None],
        "dataset": {
            "source": data["source"],
            "samples": len(setup.samples),
            "source_rows": setup.samples.source_rows,
            "fingerprint": setup.samples.fingerprint,
            "inputs": setup.samples.signature,
            "stamp": None if setup.stamp is None else setup.stamp.plain(),
        },
        "validation": None
        if validation is None
        else {"samples": len(validation), "fingerprint": validation.fingerprint},
        "checkpoints": dict(weights),
        "parameters": dict(feed.gradients.parameters),
        "batch_size": feed.size.samples,
        "notes": list(feed.notes),
    }
