"""Checkpoints: a file of weights -> the weights of a module, and back; nothing in the file is executed.

In: a path or fsspec URL of a ``.safetensors`` file or of a state dict that ``torch.save`` wrote. Out: a
module with its weights, or one error that names every tensor that does not fit.
"""

from ogacli.models.checkpoints.matching import head_outputs, put_weights
from ogacli.models.checkpoints.reading import read_weights, sha256
from ogacli.models.checkpoints.writing import check_classes, plain, save_weights, trained_classes, unnamed

__all__ = [
    "check_classes",
    "head_outputs",
    "plain",
    "put_weights",
    "read_weights",
    "save_weights",
    "sha256",
    "trained_classes",
    "unnamed",
]
