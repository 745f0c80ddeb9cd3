"""``Attribution``: the result of ``oga attribute`` in figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Attribution:
    """Sizes, methods and their evaluation."""

    folder: Path
    queries: int
    training: int
    quarantined: int
    """Queries and training samples that could not be read, or whose gradient is not finite."""
    parameters: int
    groups: tuple[str, ...]
    """Empty where single training samples are compared."""
    evaluation: Mapping[str, Mapping[str, float | None]]
    """By method: ``auc`` and ``recall`` of the related training samples, None where those are not known."""
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema_version": SCHEMA_VERSION} | asdict(self) | {"folder": str(self.folder)}
