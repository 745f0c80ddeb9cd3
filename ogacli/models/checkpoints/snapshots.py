"""Which checkpoint scores which samples: one checkpoint, those of one training run, or one a fold.

In: the ``checkpoint:`` of a model and the samples. Out: each checkpoint with the rows that it scores. All
checkpoints of a training run score every row; the checkpoint of a fold scores the rows that it was not
trained on.
"""

import itertools
import os
import re
from collections.abc import Sequence
from typing import Annotated

import fsspec
import numpy as np
import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from ogacli.base.options import Location, Options
from ogacli.base.wording import listed
from ogacli.data import Samples
from ogacli.data.files.npy import open_array
from ogacli.errors import CheckpointError, ConfigError

_WILD = re.compile(r"[*?\[]")
_INSIDE = ("model.safetensors", "pytorch_model.bin")
"""The weights in a folder of the Trainer of transformers, or of accelerate."""


class Fold(Options):
    """A checkpoint, and the samples that it was not trained on."""

    checkpoint: Location
    """The weights."""
    samples: Location
    """npy file of whole numbers: the positions of these samples in the source, counted from 0."""


class Folds(Options):
    """``checkpoint: {folds: [..]}``; ``oga train --folds 5`` makes them."""

    folds: Annotated[tuple[Fold, ...], Field(min_length=2)]
    """Every sample is held out by exactly one of them."""


Weights = Location | Annotated[tuple[Location, ...], Field(min_length=1)] | Folds
"""A file, or a pattern such as ``epoch-*.safetensors``; a list of files; or folds. A folder stands for the
weights in it."""


class Checkpoint(Options):
    """The key ``checkpoint`` alone."""

    checkpoint: Weights | None = None
    """As of a model."""


Scored = tuple[str, Int64[Tensor, " m"]]
"""A checkpoint and the rows of the samples that it scores, ascending."""


def scored_by(weights: Weights, samples: Samples) -> list[Scored]:
    """The checkpoints in order, each with its rows.

    Raises:
        CheckpointError: No file has such a name.
        ConfigError: The folds leave samples out, or hold one out twice.
    """
    if isinstance(weights, Folds):
        return _by_folds(weights, samples)
    everyone = torch.arange(len(samples))
    return [(path, everyone) for path in files(weights)]


def files(weights: Weights) -> tuple[str, ...]:
    """All files of weights; patterns are replaced by the files that match, in natural order.

    Raises:
        CheckpointError: No file has such a name.
    """
    if isinstance(weights, Folds):
        return tuple(fold.checkpoint for fold in weights.folds)
    named = (weights,) if isinstance(weights, str) else weights
    return tuple(path for name in named for path in _files(name))


def is_pattern(name: str) -> bool:
    """Whether a name stands for those that match it."""
    return bool(_WILD.search(name)) and not ("://" not in name and os.path.exists(name))


def distinct(paths: Sequence[str]) -> list[str]:
    """Paths without the folders that they have in common."""
    parts = [path.split("/") for path in paths]
    levels = zip(*(one[:-1] for one in parts), strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, levels))
    return ["/".join(one[common:]) for one in parts]


def _files(name: str) -> list[str]:
    found = matching(name)
    if not found:
        raise CheckpointError(
            "no checkpoint has such a name",
            place=name,
            hint="check the path; `oga train` writes one an epoch",
        )
    inside = [path for path in found if os.path.isdir(path)]
    return [_file(path) for path in inside or found]  # beside folders of steps there may be other files


def _file(path: str) -> str:
    """The file of weights in a folder that a training script left for a step; other paths as they are."""
    if "://" in path or not os.path.isdir(path):
        return path
    names = sorted(os.listdir(path))
    found = next((name for name in _INSIDE if name in names), None)
    if found is not None:
        return os.path.join(path, found)
    hint = None
    if "adapter_config.json" in names:
        hint = "it holds an adapter: name it as `adapter` of a model of `transformers`"
    elif "config.json" in names:
        hint = "it holds a network of transformers: name it as `name` of a model of `transformers`"
    raise CheckpointError(
        "no weights in this folder",
        place=path,
        found=listed(names) or "nothing",
        expected=f"a file, or a folder with {' or '.join(_INSIDE)}",
        hint=hint,
    )


def matching(name: str) -> Sequence[str]:
    """The paths that match a pattern, in the order of their numbers; or the path itself."""
    if not _WILD.search(name):
        return (name,)
    filesystem, pattern = fsspec.core.url_to_fs(name)
    if filesystem.exists(pattern):  # a file whose name looks like a pattern
        return (name,)
    found = [str(path) for path in filesystem.glob(pattern)]
    if "://" in name:
        found = [filesystem.unstrip_protocol(path) for path in found]
    return sorted(found, key=_naturally)


def _naturally(path: str) -> list[str | int]:
    """The key of natural order: ``epoch-9`` before ``epoch-10``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


def _by_folds(weights: Folds, samples: Samples) -> list[Scored]:
    scored, times = [], torch.zeros(len(samples), dtype=torch.int64)
    for fold in weights.folds:
        positions = _positions(fold.samples)
        if len(positions) and (int(positions.min()) < 0 or int(positions.max()) >= samples.source_rows):
            raise ConfigError(
                "the fold is one of another dataset",
                place=fold.samples,
                found=f"position {int(positions.max()):,}",
                expected=f"0 to {samples.source_rows - 1:,}, the rows of the source",
                hint="train the folds on this dataset: `oga train CONFIG --folds 5`",
            )
        rows = torch.isin(samples.positions, positions).nonzero()[:, 0]
        times[rows] += 1
        if len(rows):  # a `limit` may leave none of a fold
            scored.append((fold.checkpoint, rows))
    for wrong, problem in ((times == 0, "held out by no fold"), (times > 1, "held out by several folds")):
        if wrong.any():
            first = int(wrong.nonzero()[0, 0])
            raise ConfigError(
                f"samples are {problem}",
                place="model.checkpoint.folds",
                found=f"{int(wrong.sum())} of {len(samples)}, such as {samples.ids[first].as_py()!r}",
                expected="every sample in the file `samples` of one fold",
                hint="train the folds on this dataset: `oga train CONFIG --folds 5`",
            )
    return scored


def _positions(path: str) -> Int64[Tensor, " m"]:
    values = open_array(path)
    if len(values.shape) != 1 or values.dtype.kind not in "iu":
        raise ConfigError(
            "not positions of samples",
            place=path,
            found=f"{values.dtype} {list(values.shape)}",
            expected="an npy file of whole numbers, one a sample that is held out",
        )
    return torch.from_numpy(np.asarray(values[:], dtype=np.int64))
