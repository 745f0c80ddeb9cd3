"""Progress and messages for machines: one JSON object a line on stderr, for ``--log-json``.

Every line has ``time`` and ``event``: ``stage`` (a step begins) and ``progress`` with ``stage``, ``done``,
``total`` and ``seconds_left``; ``note``, ``warning`` and ``error`` with ``text``.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime

from ogacli.base.progress import Advance, Step

_EVERY = 1.0
"""Seconds between two lines of a step."""


class JsonLog:
    """Lines of JSON on stderr."""

    def write(self, event: str, **fields: object) -> None:
        """Write a line; a reader that has closed the stream stops nothing."""
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        with suppress(BrokenPipeError):
            print(json.dumps({"time": now, "event": event} | fields), file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, description: str, total: int, *, work: float | None = None) -> Iterator[Advance]:
        """A step: a line at its start, at most one a second, and one where all is done."""
        step = Step(description, total, work)
        told = time.monotonic()
        self.write("stage", **asdict(step.state))

        def advance(count: int, work: float | None = None, /) -> None:
            nonlocal told
            step.advance(count, work)
            now = time.monotonic()
            if count and (now - told >= _EVERY or step.done >= total):
                told = now
                self.write("progress", **asdict(step.state))

        yield advance
