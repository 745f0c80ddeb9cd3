"""The budget: how many samples may be flagged.

A budget is a fraction of the samples (at most 1), a count (a whole number), ``auto`` (as many as labels are
estimated to be wrong) or ``benefit`` (as many as it helps to leave out of a training). ``{review: 100}``
flags samples that people are to look at; ``oga trim`` drops none of them without a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ogacli.base.options import Options, Where
from ogacli.errors import ConfigError

Action = Literal["trim", "relabel", "weight"]
"""What is done with the samples: the flagged ones are dropped; they get the suggested label where it is
probable enough, and are dropped otherwise; all are kept and weighted."""
_EXPECTED = "a fraction such as 0.05 (or 5%), a count such as 200, or auto or benefit"
_IN_A_CONFIG = "; in a config also {benefit: {amounts: ..}} or {review: 100}"


class BenefitOptions(Options):
    """``budget: {benefit: {..}}``: how it is tried out which amount to leave out."""

    amounts: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=1)] = (
        0.0,
        0.02,
        0.05,
        0.1,
        0.2,
        0.3,
        0.45,
    )
    """The shares of the samples that are tried; 0 is always among them."""
    folds: Annotated[int, Field(ge=2)] = 3
    """The samples are divided into so many parts; each is held out once from ranking and training."""
    seeds: Annotated[int, Field(ge=1)] = 2
    """Trainings of each choice in each fold."""
    probe: Literal["auto", "head", "network"] = "auto"
    """What is trained: a head on fixed features of the model, or the whole network as ``train:`` says.
    ``auto``: the network where ``oga train`` trained it on these samples, as its features have learned their
    labels; elsewhere a head."""
    actions: Annotated[tuple[Action, ...], Field(min_length=1)] = ("trim", "weight")
    """What is done with the samples: ``trim``, ``relabel``, ``weight``."""

    @field_validator("amounts")
    @classmethod
    def _with_zero(cls, amounts: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted({0.0, *amounts}))

    @field_validator("actions")
    @classmethod
    def _once(cls, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        return tuple(dict.fromkeys(actions))


@dataclass(frozen=True, slots=True)
class Budget:
    """A fraction (float from 0 to 1), a count (int), ``auto`` or ``benefit``."""

    value: float | int | Literal["auto", "benefit"]
    benefit: BenefitOptions = field(default_factory=BenefitOptions)
    """Of a budget ``benefit``."""
    amount: float | None = None
    """The share that a budget ``benefit`` flags, once it is chosen."""
    review: bool = False
    """Whether the flagged samples are only to be looked at."""

    @classmethod
    def parse(cls, value: object, place: str | None = None, *, where: Where | None = None) -> Budget:
        """From YAML or a command-line option: ``0.05``, ``5%``, ``200``, ``auto``, ``{review: 100}``.

        Args:
            value: What is given.
            place: Where, for messages.
            where: Names a key within the value in messages, in place of ``place``.

        Raises:
            ConfigError: It is none of these.
        """
        where = where or (lambda key: ".".join([place or "budget", *map(str, key)]))
        if isinstance(value, dict) and list(value) == ["benefit"]:
            inner = {} if value["benefit"] is None else value["benefit"]
            return cls("benefit", BenefitOptions.checked(inner, lambda key: where(("benefit", *key))))
        if isinstance(value, dict) and list(value) == ["review"]:
            number = _number(value["review"])
            if number is not None:
                return cls(number, review=True)
            raise ConfigError(
                "not a number of samples to look at",
                place=where(("review",)),
                found=repr(value["review"]),
                expected="a count such as 100, or a fraction such as 0.05",
            )
        if value == "auto" or value == "benefit":
            return cls("auto" if value == "auto" else "benefit")
        number = _number(value)
        if number is not None:
            return cls(number)
        raise ConfigError(
            "not a budget",
            place=where(()) if place is None else place,
            found=repr(value),
            expected=_EXPECTED + _IN_A_CONFIG,
        )

    @property
    def plain(self) -> Any:
        """As a YAML value, which :meth:`parse` reads."""
        if self.review:
            return {"review": self.value}
        if self.value == "benefit":
            return {"benefit": self.benefit.plain()}
        return self.value

    def chosen(self, amount: float) -> Budget:
        """A budget ``benefit`` that flags this share of the samples."""
        return replace(self, amount=amount)

    def count(self, n: int, wrong: int) -> int:
        """How many of n scored samples to flag.

        Args:
            n: Samples that have a score.
            wrong: The estimated number of wrong labels, which ``auto`` flags.
        """
        if self.value == "auto":
            return min(wrong, n)
        if self.value == "benefit":
            # Before the choice: at most so many.
            return round((max(self.benefit.amounts) if self.amount is None else self.amount) * n)
        if isinstance(self.value, float):
            return round(self.value * n)
        return min(self.value, n)


def _number(value: object) -> float | int | None:
    """A fraction from 0 to 1 or a count from 0, from YAML or text; None where it is neither."""
    number: object = None
    if isinstance(value, str):
        text, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
        try:
            number = float(text) / 100 if percent else int(text) if text.isdigit() else float(text)
        except ValueError:
            return None
    elif isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)  # of numpy
    elif isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
    if isinstance(number, float) and 0 <= number <= 1:
        return number
    return number if isinstance(number, int) and number >= 0 else None
