"""What was measured, kept on disk line by line, so that it is not measured again."""

import json
import time
from pathlib import Path
from typing import Any


class Measured:
    """A file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        """Those that there are."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def add(self, **figures: Any) -> None:
        """One more; tells it as well."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        print(time.strftime("%H:%M:%S"), self.path.parent.name, figures, flush=True)
