"""The columns of a table that a starter config makes features, as far as its first rows show.

In: the text of the config, and the table. Out: the use of its columns; or what the user must decide about
them. No torch is imported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml

from ogacli.errors import OgaError

if TYPE_CHECKING:  # which would import pyarrow
    from ogacli.base.tables.columns import Columns


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the first rows of a table show; both are None where samples are not rows of numbers."""

    columns: Columns | None = None
    """The columns that are features, and those that are not."""
    refused: str | None = None
    """The message of an error: what must be decided before columns can be features."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"inputs": None if self.columns is None else asdict(self.columns), "refused": self.refused}


NOTHING = Inputs()


def inputs_of(config: str, place: str) -> Inputs:
    """The use of the columns by the ``data`` section of a config.

    Args:
        config: Its ``data`` section names the columns.
        place: The table.
    """
    section = yaml.safe_load(config).get("data", {})
    if section.get("source") != "table" or "image" in section:
        return NOTHING
    from ogacli.base.tables import read_beginning
    from ogacli.base.tables.features import Choice, features_of

    try:
        found = read_beginning(place)
        taken = [section[key] for key in ("label", "truth", "id") if key in section]
        choice = Choice(taken, decimal=found.dialect.decimal)
        columns = features_of(found.table, place, choice, range(len(found.table))).columns
    except (OgaError, OSError, ValueError) as error:
        return Inputs(refused=str(error))
    return Inputs(replace(columns, notes=(*found.notes, *columns.notes)))
