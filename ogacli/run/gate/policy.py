"""What a gate allows. In: a YAML file of limits, or none. Out: a ``GatePolicy``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator

from ogacli.base.options import Options
from ogacli.base.yaml_document import Checker, read
from ogacli.errors import ConfigError
from ogacli.verdict.budget import Budget


def _limit(value: object) -> Budget | None:
    """A share or a count; None switches the condition off."""
    if value is None or isinstance(value, Budget):
        return value
    try:
        limit = Budget.parse(value)
    except ConfigError:
        limit = Budget("auto")
    if limit.value == "auto":
        raise ValueError("not a limit: a fraction such as 0.05 (or 5%), a count such as 200, or null")
    return limit


def _share(value: object) -> float | None:
    """A fraction; None switches the condition off."""
    limit = _limit(float(value) if value in (0, 1) and not isinstance(value, bool) else value)
    if limit is not None and not isinstance(limit.value, float):
        raise ValueError("not a share: a fraction such as 0.02 (or 2%), or null")
    return None if limit is None else float(limit.value)


Limit = Annotated[Budget | None, PlainValidator(_limit)]
Share = Annotated[float | None, PlainValidator(_share)]


class GatePolicy(Options):
    """The limits of a gate, the keys of a policy file; ``null`` switches one off."""

    require_useful: bool = False
    """A checkpoint that has learned wrong labels by heart, so that its flags mean little, does not pass."""
    min_samples: Annotated[int, Field(ge=0)] = 1
    """At least so many samples must have a score."""
    max_flagged: Limit = Budget(0.1)
    """Flagged samples: a share of the scored ones, or a count."""
    max_flagged_per_class: Limit = Budget(0.3)
    """Flagged samples of any one given label: a share of its scored ones, or a count."""
    max_quarantined: Limit = Budget(0.01)
    """Quarantined samples: a share of all, or a count."""
    min_class_samples: Annotated[int, Field(ge=1)] = 10
    """Classes with fewer scored samples are left out of the conditions on classes."""
    max_flagged_increase: Share = 0.02
    """With a baseline: how far the flagged share may lie above the baseline's."""
    max_class_increase: Share = 0.1
    """With a baseline: how far the flagged share of any one given label may lie above the baseline's."""
    max_above_cut_increase: Share = 0.02
    """With a baseline of the same detector and layers: how far the share of scores that reach the
    baseline's cut may lie above the baseline's own."""


def load_policy(
    path: Path | None = None, *, max_flagged: str | None = None, require_useful: bool = False
) -> GatePolicy:
    """The policy of a YAML file, or the default one.

    Args:
        path: The file.
        max_flagged: Takes the place of the key of that name, as given on the command line.
        require_useful: Switches the condition of that name on.

    Raises:
        ConfigError: The file cannot be read, or keys or values in it are wrong; all are listed.
    """
    policy = GatePolicy()
    if path is not None:
        document = read(path, "policy")
        checker = Checker(document)
        policy = checker.options(GatePolicy, document.values, ())
        if checker.problems:
            raise ConfigError.of(checker.problems)
    if require_useful:
        policy = policy.model_copy(update={"require_useful": True})
    if max_flagged is None:
        return policy
    try:
        return policy.model_copy(update={"max_flagged": _limit(max_flagged)})
    except ValueError as error:
        raise ConfigError(str(error), place="--max-flagged", found=repr(max_flagged)) from None
