"""The file of decisions that several pages of one server save.

In: the decisions of a page. Out: a file that is whole at any time. A page that does not know what another
one, or another program, has saved since it was sent is refused, so that it replaces no decisions that it has
not seen.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from ogacli.base.atomic import new_file, refuse_link
from ogacli.base.documents.json_document import parse_json, read_bytes
from ogacli.errors import RunError
from ogacli.run.decisions import ACTIONS, SCHEMA_VERSION, Decision

Decisions = list[dict[str, str]]


class SavedDecisions:
    """The decisions in one file.

    Args:
        file: The file; there may be none yet.
        run: The fingerprint of the run.

    Raises:
        RunError: The file holds something else, which is left alone.
    """

    def __init__(self, file: Path, run: str) -> None:
        self.file = file
        self._run = run
        self._content = content_of(file)
        """What the file holds, as far as is known here."""
        self.all: Decisions = _decisions_in(self._content, file)
        """The decisions so far."""
        self._pages = 0
        """So many pages were sent."""
        self._known = 0
        """Pages up to this number were sent before the last change, and do not know it."""
        self._writer, self._count = 0, 0
        """The page that saved last, and how often it had."""
        self._lock = threading.Lock()

    def for_page(self) -> tuple[int, Decisions]:
        """The number of a new page, and the decisions that it shows.

        Raises:
            RunError: Another program has put something else in place of the file.
        """
        with self._lock:
            found = content_of(self.file)
            if found is not None and found != self._content:
                self.all = _decisions_in(found, self.file)
                self._content, self._known, self._writer = found, self._pages, 0
            self._pages += 1
            return self._pages, self.all

    def replace(self, decisions: Decisions, page: int, count: int) -> bool:
        """Save the decisions of a page.

        Args:
            decisions: All of them.
            page: Its number.
            count: How often it has sent some; an older request that comes later changes nothing.

        Returns:
            False where the page does not know what was saved since it was sent.

        Raises:
            RunError: The file cannot be written.
        """
        document = {"schema_version": SCHEMA_VERSION, "run": self._run, "decisions": decisions}
        content = (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
        with self._lock:
            if page == self._writer and count <= self._count:
                return True
            if page != self._writer and not self._known < page <= self._pages:
                return False
            if content_of(self.file) not in (None, self._content):
                return False
            with new_file(self.file, overwrite=True) as file:
                file.write(content)
            self._content, self.all = content, decisions
            self._writer, self._count, self._known = page, count, self._pages
            return True


def content_of(file: Path) -> bytes | None:
    """What a file of decisions holds; None where there is none.

    Raises:
        RunError: It cannot be read, or is a link.
    """
    refuse_link(file)
    try:
        return read_bytes(file, RunError)
    except FileNotFoundError:
        return None


def checked(document: Any) -> Decisions:
    """The decisions of a document; whether they fit the run is checked when they are used.

    Raises:
        ValueError: It is of another form.
    """
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError("not a document of decisions")
    decisions = document.get("decisions")
    if not isinstance(decisions, list):
        raise ValueError("no list of decisions")
    return [_checked(one) for one in decisions]


def _checked(one: Any) -> dict[str, str]:
    if not isinstance(one, dict) or not isinstance(one.get("id"), str) or one.get("action") not in ACTIONS:
        raise ValueError("not a decision")
    label = one.get("label")
    if label is not None and not isinstance(label, str):
        raise ValueError("not a label")
    return Decision(one["id"], one["action"], label).plain()


def _decisions_in(content: bytes | None, file: Path) -> Decisions:
    if content is None:
        return []
    try:
        return checked(parse_json(content, str(file), RunError))
    except (ValueError, RunError) as error:
        raise RunError(
            "not a file of decisions",
            place=str(file),
            found=error.found or error.problem if isinstance(error, RunError) else error,
            hint="choose another file with --decisions, or move this one away",
        ) from None
