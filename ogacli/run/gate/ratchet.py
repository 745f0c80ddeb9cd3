"""Flagged samples that are new, or were changed, since an earlier run.

In: a run, the earlier one, and the samples that somebody has looked at. Out: ids. Of both runs one part of
the rows is in memory at a time, and the flagged samples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base.arrow import texts
from ogacli.base.documents.json_document import parse_json
from ogacli.base.special_files import refuse_special
from ogacli.errors import ConfigError
from ogacli.run.directory import Run

_PLACE = "reviewed"


@dataclass(slots=True)
class Since:
    """What is flagged and was not there before."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    reviewed: int = 0
    """Further ones, which somebody has looked at."""
    by_label: bool = False
    """Whether some sample has no fingerprint, so that its label alone was compared."""


def flagged_since(run: Run, earlier: Run, reviewed: Mapping[str, str | None]) -> Since:
    """The flagged samples of a run that an earlier run does not have, or has with other inputs or labels.

    Args:
        run: The run.
        earlier: The earlier run.
        reviewed: Samples that do not count; where a fingerprint is given, as long as it is theirs.
    """
    flagged = {one: rest for one, *rest in _rows(run, lambda rows: rows["flagged"])}
    ids = texts(list(flagged))
    before = {one: rest for one, *rest in _rows(earlier, lambda rows: pc.is_in(rows["id"], ids))}
    found = Since()
    for one, (label, mark) in flagged.items():
        old_label, old_mark = before.get(one, (None, None))
        compared = mark is not None and old_mark is not None
        found.by_label |= one in before and not compared
        if one in before and (mark == old_mark if compared else label == old_label):
            continue
        if one in reviewed and reviewed[one] in (None, mark):
            found.reviewed += 1
        else:
            (found.changed if one in before else found.new).append(one)
    return found


def _rows(
    run: Run, where: Callable[[pa.RecordBatch], pa.BooleanArray]
) -> Iterator[tuple[str, Any, str | None]]:
    """Id, label and fingerprint of the rows that meet a condition."""
    marks = ["fingerprint"] if "fingerprint" in run.schema.names else []
    for batch in run.batches(["id", "label", "flagged", *marks]):
        some = batch.filter(where(batch))
        columns = [some[name].to_pylist() for name in ("id", "label", *marks)]
        yield from zip(*columns, *([] if marks else [[None] * len(some)]), strict=True)


def reviewed(given: str | Sequence[str] | None) -> dict[str, str | None]:
    """The samples that somebody has looked at, each with its fingerprint where one was noted.

    Args:
        given: Ids; or a text file, or a document that ``oga review`` exports.

    Raises:
        ConfigError: The file cannot be read, or is none of these.
    """
    if given is None:
        return {}
    if not isinstance(given, str):
        return dict.fromkeys(given)
    file = Path(given)
    refuse_special(file, ConfigError)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            "cannot be read as text",
            place=f"{_PLACE}: {given}",
            found=found,
            expected="a file with an id a line",
        ) from None
    return _kept(text, given) if file.suffix == ".json" else dict(_lines(text))


def _lines(text: str) -> Iterator[tuple[str, str | None]]:
    for line in text.splitlines():
        one, _, mark = line.partition("\t")
        if one.strip() and not one.startswith("#"):
            yield one.strip(), mark.strip() or None


def _kept(text: str, place: str) -> dict[str, str | None]:
    """The ids with the decision ``keep``."""
    try:
        decisions = parse_json(text, place, ConfigError)["decisions"]
        return {str(one["id"]): None for one in decisions if one["action"] == "keep"}
    except (ConfigError, TypeError, KeyError) as error:
        raise ConfigError(
            "not decisions of a review",
            place=f"{_PLACE}: {place}",
            found=error.found if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}",
            expected="the document that `oga review` exports, or a text file (.txt) with an id a line",
        ) from None
