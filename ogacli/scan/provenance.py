"""``provenance.json``: what a result came from, enough to make it again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ogacli._version import __version__
from ogacli.base.device import device_name
from ogacli.data import Samples
from ogacli.gradients.feed import GradientFeed
from ogacli.models.checkpoints import sha256
from ogacli.models.sources import ModelSource

if TYPE_CHECKING:
    from ogacli.config import Config


def provenance(
    config: Config,
    samples: Samples,
    device: torch.device,
    checkpoints: Mapping[str, str],
    feed: GradientFeed,
    validation: Samples | None,
) -> dict[str, Any]:
    """Versions, device, precision, seeds, and the fingerprints of datasets and checkpoints."""
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
        "precision": config.gradients.precision,
        "seeds": [
            seed for options in config.detectors if (seed := getattr(options, "seed", None)) is not None
        ],
        "dataset": {
            "source": config.resolved["data"]["source"],
            "samples": len(samples),
            "fingerprint": samples.fingerprint,
        },
        "validation": None
        if validation is None
        else {"samples": len(validation), "fingerprint": validation.fingerprint},
        "checkpoints": dict(checkpoints),
        "parameters": dict(feed.gradients.parameters),
        "batch_size": feed.batch_size(),
        "notes": list(feed.notes),
    }


def checkpoint_sums(source: ModelSource) -> dict[str, str]:
    """SHA-256 of each file that the model's weights come from.

    Raises:
        CheckpointError: There is no such file, or it cannot be read.
    """
    return {path: sha256(path) for path in source.checkpoint_files()}
