"""``summary.json``: the result of a scan in figures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ogacli.base.tables.columns import Columns
from ogacli.errors import ConfigError
from ogacli.run.annotators import AnnotatorSummary
from ogacli.run.words import EntitySummary
from ogacli.verdict.benefit import Benefit
from ogacli.verdict.budget import Budget
from ogacli.verdict.diagnosis import CheckpointDiagnosis, Diagnosis
from ogacli.verdict.estimate import Estimate
from ogacli.verdict.evaluation import Evaluation
from ogacli.verdict.precision import ExpectedPrecision

SCHEMA_VERSION = 1


class Document(BaseModel):
    """Base of the JSON documents."""

    model_config = ConfigDict(frozen=True)


class ClassSummary(Document):
    """One given label."""

    name: str
    samples: int
    flagged: int
    quarantined: int
    held_back: int = 0
    """Within the budget but not flagged, as the class is protected."""


class Histogram(Document):
    """Counts of the scores in equally wide bins from ``low`` to ``high``."""

    low: float
    high: float
    counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class Consensus(Document):
    """Agreement of several detectors, each of which flags as many samples as the budget allows."""

    detectors: int
    any: int
    """Samples that at least one of them flags."""
    all: int
    """Samples that all of them flag."""


class CellSummary(Document):
    """A class, a target of a regression, or a tag of words, where cells of labels are judged one by one."""

    name: str
    given: int
    """Cells that have this value: the samples with the class, the words with the tag; of a target all
    samples."""
    wrong: dict[str, int]
    """Cells that are more probably wrong than right, by reason: ``wrongly given``, ``forgotten``,
    ``wrong target``; reasons that do not occur are left out."""
    suggested: int = 0
    """Cells for which it is suggested, where values are class names, as of words."""
    often: str | None = None
    """The reason where it is systematic: the class is ``forgotten``, or ``wrongly given``, far more often
    than the others."""


class NearDuplicates(Document):
    """Groups of samples with nearly the same inputs."""

    groups: int
    samples: int
    """Samples, flagged or not, that are left out where one of each group is kept."""
    conflicts: int
    """How many of these have another label than the one that is kept."""


class RescoredSummary(Document):
    """The second pass, in float32, after one in lower precision."""

    samples: int
    """Samples that were scored again: the flagged ones and those near the cut."""
    changed: int
    """How many of them became flagged or are no longer."""


class Summary(Document):
    """The result of a scan."""

    schema_version: int = SCHEMA_VERSION
    samples: int = Field(ge=1)
    scored: int = Field(ge=0)
    flagged: int = Field(ge=0)
    quarantined: int = Field(ge=0)
    budget: float | int | str | dict[str, Any]
    """A plain YAML value, as in the config."""
    benefit: Benefit | None = None
    """With ``budget: benefit``: what was tried out, and what was chosen."""
    estimate: Estimate | None = None
    """The share of the scored samples whose label is wrong; None without classes or where it is unknown."""
    cut: float | None
    """The lowest flagged score."""
    below_half: float | None = None
    """Share of the flagged samples whose label is more probably right than wrong; None without a detector
    that gives probabilities, and where nothing is flagged."""
    expected: tuple[ExpectedPrecision, ...] = ()
    """How many of the first samples of the ranking are expected to be wrong."""
    detectors: tuple[str, ...] = Field(min_length=1)
    """The names of the score columns. The first detector decides what is flagged."""
    parameters: int
    """p, the number of parameters that the gradients are taken with respect to."""
    layers: tuple[str, ...]
    """Their names."""
    reasons: dict[str, int]
    held_back: int = 0
    """Within the budget but not flagged, as their classes are protected."""
    duplicates: int = 0
    """Samples, flagged or not, that have the same inputs as one of another label."""
    near_duplicates: NearDuplicates | None = None
    """None where they were not looked for."""
    leaks: int | None = None
    """Samples, flagged or not, that another dataset has, too; None where there is no other one."""
    far: int | None = None
    """Samples, flagged or not, that are far from all others of their class; None where they were not looked
    for."""
    pictures: dict[str, int] = {}
    """Pictures, flagged or not, that are ``blank``, ``dark``, ``bright``, ``blurred``, or odd."""
    consensus: Consensus | None = None
    """None with a single detector."""
    overlap: dict[str, float] = {}
    """Split-half stability of each randomised detector: the share of the samples flagged by one half that the
    other half flags too. With several checkpoints it is that of the last one."""
    cells: tuple[CellSummary, ...] = ()
    """Each class or target, where the cells of labels are judged one by one; of taggers each tag."""
    entities: tuple[EntitySummary, ...] = ()
    """Each kind of entity, where words have tags such as ``B-PER``."""
    annotators: tuple[AnnotatorSummary, ...] = ()
    """Each of several annotators, the worst first."""
    classes: tuple[ClassSummary, ...]
    class_order: Literal["model", "given", "indices", "sorted"] = "given"
    """How classes were matched with the model's outputs. ``model``: by the names that the model has for them.
    ``given``: in the order of a list in the config or the dataset. ``indices``: labels are the numbers of the
    outputs. ``sorted``: a guess, as neither names an order."""
    histogram: Histogram | None
    diagnosis: Diagnosis
    checkpoints: tuple[CheckpointDiagnosis, ...] = ()
    """Each of several checkpoints; empty where there is one."""
    rescored: RescoredSummary | None = None
    """None where all samples were scored in float32."""
    evaluation: Annotated[dict[str, Evaluation], Field(min_length=1)] | None
    """By detector, where the truth is known."""
    cell_evaluation: Evaluation | None = None
    """Of the cells of labels, where they are judged one by one and the truth is known: those that are more
    probably wrong than right stand for the flagged ones."""
    columns: Columns | None = None
    """The use of the columns of a table; None where the samples are not rows of one."""
    notes: tuple[str, ...] = ()
    """On the data: files that are no samples, texts that were cut; on gradients: how they were computed."""

    @field_validator("budget")
    @classmethod
    def _parses(cls, value: Any) -> Any:
        try:
            Budget.parse(value)
        except ConfigError as error:
            raise ValueError(f"{error.problem}: {error.found}") from None
        return value
