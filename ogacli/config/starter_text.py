"""Changes of the text of a starter config, which keep its comments.

In: the text of an example. Out: the text with values of the user, and the keys that still hold the example's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_PLACEHOLDER = re.compile(r"data/|my_package\b")
"""What files and modules of the examples begin with."""


def without(text: str, key: str) -> str:
    """The config with the lines of a key, and ``attribute.group`` that refers to it, as comments."""
    return re.sub(rf"^(  {key}: |attribute: {{group: {key})", r"# \1", text, flags=re.M)


def with_value(text: str, key: str, value: str, count: int = 0) -> str:
    """The config with another value of a key of its sections; at most ``count`` times, 0 for all."""
    return re.sub(rf"^(  {key}: +)\S+", lambda match: match[1] + value, text, count=count, flags=re.M)


def scalar(text: str) -> str:
    """The text as a YAML scalar."""
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "''") + "'"


def with_truth(text: str, column: str) -> str:
    """The config of a table with the column of the true labels, beside that of the labels."""
    if not re.search("^  source: (table|text)$", text, re.M) or not re.search("^  label: ", text, re.M):
        return text
    text = re.sub("^  # truth:.*\n", "", text, flags=re.M)
    line = f"  truth: {scalar(column)}    # only to evaluate; or remove it"
    return re.sub("^  label: .*$", lambda match: f"{match[0]}\n{line}", text, count=1, flags=re.M)


def _texts(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a config by their dotted keys."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, str):
        yield key, values


def placeholders(text: str, folder: Path, given: Sequence[str] = ()) -> list[str]:
    """The dotted keys whose value is a file or module of the example.

    Args:
        text: The config.
        folder: Of the config; a file of the example that exists there is no placeholder.
        given: Dotted keys that the user has given.
    """
    return [
        key
        for key, value in _texts(yaml.safe_load(text))
        if key not in given and _PLACEHOLDER.match(value) and not (folder / value).exists()
    ]
