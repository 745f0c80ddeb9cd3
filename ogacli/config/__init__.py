"""YAML -> a frozen ``Config``.

In: a file, ``--set`` overrides, and the environment (``${NAME}`` and ``${NAME:-default}`` inside values).
Out: a ``Config``; each section was checked by its option class. All problems are listed at once, each with
file, line and dotted key. Importing this module does not import torch; loading a config does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogacli.base.documents.overrides import override
from ogacli.base.documents.yaml_document import Document, parse, read

if TYPE_CHECKING:
    from ogacli.data.sources import Source
    from ogacli.detectors import DetectorOptions
    from ogacli.gradients import GradientOptions
    from ogacli.models.sources import ModelSource
    from ogacli.models.tasks import Task
    from ogacli.models.training.loop import TrainOptions
    from ogacli.scan.attribution.options import AttributeOptions
    from ogacli.scan.retraining.verify import VerifyOptions
    from ogacli.verdict.budget import Budget
    from ogacli.verdict.look_for import LookFor
    from ogacli.verdict.protection import Protection
    from ogacli.verdict.relabel import Relabel

_WORDS = dict.fromkeys(("data", "model", "verify.test", "validation", "query", "against"), "source")
_WORDS |= dict.fromkeys(("detector", "loss"), "name")
"""Sections that may be a single word, and the key that the word is the value of."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a command, checked; the fields are the sections of the YAML file."""

    data: Source
    model: ModelSource
    gradients: GradientOptions
    loss: Task
    detectors: tuple[DetectorOptions, ...]
    budget: Budget
    protect: Protection
    """What each class keeps; or ``off``."""
    relabel: Relabel
    """From which probability on a suggested label replaces the given one."""
    look_for: LookFor
    """What a scan looks for beside wrong labels."""
    train: TrainOptions
    verify: VerifyOptions
    test: Source | None
    """The test split, ``verify.test``."""
    validation: Source | None
    """Samples with correct labels, for detectors that compute influence on them."""
    query: Source | None
    """The samples whose predictions ``oga attribute`` explains."""
    against: Source | None
    """Another dataset that should share no sample with ``data``."""
    attribute: AttributeOptions
    output: str | None
    resolved: Mapping[str, Any]
    """The sections as plain YAML values, with absolute paths and without ``output``, as a run keeps them."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a config file.

    Args:
        path: The YAML file.
        overrides: Each ``dotted.key=value``; the value is YAML.

    Raises:
        ConfigError: The file cannot be read or parsed, or keys or values in it are wrong; every problem
            is listed.
    """
    return _checked(read(path, "config", hint="`oga init` writes a starter config"), overrides)


def parse_config(
    text: str, overrides: Sequence[str] = (), *, place: str = "config", base: Path | None = None
) -> Config:
    """Check the text of a config; relative paths start from ``base``, by default the current folder."""
    return _checked(parse(text, place, base or Path.cwd()), overrides)


def _checked(document: Document, overrides: Sequence[str]) -> Config:
    from ogacli.config.sections import check

    override(document, overrides, _WORDS)
    return Config(**check(document))
