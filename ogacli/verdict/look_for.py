"""What a scan looks for beside wrong labels, where it is asked to: the key ``look_for``.

In: words, from YAML or Python. Out: a set of them.
"""

from collections.abc import Collection, Mapping
from typing import Final

from ogacli.base import wording
from ogacli.base.options import Where
from ogacli.errors import ConfigError

NEAR_DUPLICATES: Final = "near_duplicates"
"""Samples with nearly the same inputs."""
FAR: Final = "far"
"""Samples whose features are far from those of all others."""
WORDS = (NEAR_DUPLICATES, FAR)
LookFor = frozenset[str]


def parse_look_for(value: object, where: Where = lambda key: "look_for") -> LookFor:
    """From YAML, or from the settings of a run.

    Args:
        value: Some of ``WORDS``; one alone may be a text; None or an empty list for none.
        where: Names the key in a message.

    Raises:
        ConfigError: It is something else.
    """
    words = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(words, Collection) or isinstance(words, Mapping):
        words = [value]
    unknown = [word for word in words if word not in WORDS]
    if unknown:
        raise ConfigError(
            "nothing that a scan can look for",
            place=where(()),
            found=f"{unknown[0]!r}{wording.suggestion(str(unknown[0]), WORDS)}",
            expected=f"a list of {', '.join(WORDS)}",
        )
    return frozenset(word for word in WORDS if word in words)
