"""The columns of a table that a starter config makes features, as far as its first rows show.

In: the text of the config, and the table. Out: the use of its columns; or what the user must decide about
them. No torch is imported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from ogacli.errors import OgaError

if TYPE_CHECKING:  # which would import pyarrow
    from ogacli.base.tables.columns import Columns


def inputs_of(config: str, place: str) -> tuple[Columns | None, str | None]:
    """The use of the columns, and the message of an error; both None where samples are not rows of numbers.

    Args:
        config: Its ``data`` section names the columns.
        place: The table.
    """
    section = yaml.safe_load(config).get("data", {})
    if section.get("source") != "table" or "image" in section:
        return None, None
    from ogacli.base.tables import read_beginning
    from ogacli.base.tables.features import Choice, features_of

    try:
        found = read_beginning(place)
        taken = [section[key] for key in ("label", "truth", "id") if key in section]
        choice = Choice(taken, decimal=found.dialect.decimal)
        columns = features_of(found.table, place, choice, range(len(found.table))).columns
    except (OgaError, OSError, ValueError) as error:
        return None, str(error)
    return replace(columns, notes=(*found.notes, *columns.notes)), None
