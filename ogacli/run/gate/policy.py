"""The limits of a gate.

In: a YAML file, its keys and values, or nothing. Out: the conditions with their limits. The keys of a policy
are the fields of all conditions; ``null`` switches a condition off.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import create_model

from ogacli.base.documents.overrides import override
from ogacli.base.documents.yaml_document import Checker, Document, read
from ogacli.base.options import Options
from ogacli.errors import ConfigError
from ogacli.run.gate.conditions import Condition, all_conditions
from ogacli.run.gate.limits import limit


def policy_class() -> type[Options]:
    """The option class of a policy: it has the fields of all conditions."""
    return _merged(tuple(all_conditions()))


@lru_cache(maxsize=1)
def _merged(classes: tuple[type[Condition], ...]) -> type[Options]:
    fields: dict[str, Any] = {}
    for cls in classes:
        fields |= {name: (field.annotation, field) for name, field in cls.model_fields.items()}
    return create_model("Policy", __base__=Options, **fields)


def load_policy(
    policy: Options | Mapping[str, Any] | str | Path | None = None,
    *,
    max_flagged: object = None,
    require_useful: bool = False,
    reviewed: str | Path | Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> Options:
    """An instance of :func:`policy_class`.

    Args:
        policy: A YAML file, or its keys and values; the default limits where left out.
        max_flagged: Replaces the key of that name.
        require_useful: Switches the condition of that name on.
        reviewed: Replaces the key of that name: ids, or a file of them.
        overrides: ``key=value``, which change single keys.

    Raises:
        ConfigError: The file cannot be read, or keys or values in it are wrong; all are listed.
    """
    found = policy if isinstance(policy, Options) else _checked(policy, overrides)
    if require_useful:
        found = found.model_copy(update={"require_useful": True})
    if reviewed is not None:
        ids = str(reviewed) if isinstance(reviewed, str | Path) else [str(one) for one in reviewed]
        found = found.model_copy(update={"reviewed": ids})
    if max_flagged is None:
        return found
    try:
        return found.model_copy(update={"max_flagged": limit(max_flagged)})
    except ValueError as error:
        raise ConfigError(str(error), place="--max-flagged", found=repr(max_flagged)) from None


def _checked(policy: Mapping[str, Any] | str | Path | None, overrides: Sequence[str]) -> Options:
    if isinstance(policy, str | Path):
        document = read(policy, "policy")
    elif policy is not None and not isinstance(policy, Mapping):
        raise ConfigError(
            "not a policy", place="policy", found=repr(policy), expected="a YAML file, or keys and values"
        )
    else:
        document = Document("policy", Path.cwd(), dict(policy or {}), {})
    override(document, overrides)
    checker = Checker(document)
    found: Options = checker.options(policy_class(), document.values, ())
    if checker.problems:
        raise ConfigError.of(checker.problems)
    return found


def conditions_of(policy: Options) -> list[Condition]:
    """Each condition with its own part of the policy, in the order in which they are listed."""
    return [
        cls.model_construct(**{name: getattr(policy, name) for name in cls.model_fields})
        for cls in all_conditions()
    ]
