"""A server on this machine alone, which shows the page of a run and saves the decisions.

In: a run. Out: pages for one browser, and a file of decisions that is whole at any time. Every address
contains a random token, so that neither other users of the machine nor pages of other sites can read or
decide anything:

    GET  /TOKEN/                the page
    GET  /TOKEN/look/POSITION   the picture or text of a sample on the page, as JSON
    PUT  /TOKEN/decisions       the decisions so far, a document as ``oga trim --decisions`` reads it
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from ogacli.base.atomic import new_file
from ogacli.base.json_document import parse_json, read_json
from ogacli.errors import OgaError, RunError
from ogacli.run.decisions import ACTIONS, SCHEMA_VERSION, Decision
from ogacli.run.directory import Run
from ogacli.run.reports.review import plain_look
from ogacli.run.review import served_page, with_flags
from ogacli.run.review.source import Looks

ADDRESS = "127.0.0.1"
_LARGEST = 64 << 20
"""Bytes of decisions that are accepted."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ReviewServer(ThreadingHTTPServer):
    """Serves one run until it is closed.

    Args:
        run: The run, or its folder.
        decisions: The file that decisions are saved in; those in it are shown again.
        looks: Shows samples; by default from the run directory and its source.
        port: 0: any free one.

    Raises:
        RunError: Nothing is flagged, the file holds something else, or the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, run: Run | str | Path, decisions: Path, looks: Looks | None = None, port: int = 0
    ) -> None:
        opened = with_flags(run)
        self.looks = looks or Looks(opened)
        self.file = decisions
        self.token = secrets.token_urlsafe(24)
        self.saved = saved_decisions(decisions)
        """The decisions so far."""
        self.run = opened
        _, found = served_page(opened, [], decisions)
        samples, others = found.data["samples"], found.data["others"]
        self.positions = frozenset([*samples["position"], *others["position"]])
        """Only these samples are shown."""
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise RunError("cannot listen", place=f"{ADDRESS}:{port}", found=error.strerror) from None

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{ADDRESS}:{self.server_address[1]}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """The values of the Host header that are answered; a foreign name that leads here is none of them."""
        port = self.server_address[1]
        return frozenset({f"{ADDRESS}:{port}", f"localhost:{port}"})

    def page(self) -> str:
        """The page with the decisions so far."""
        return served_page(self.run, self.saved, self.file)[0]

    def save(self, decisions: list[dict[str, str]]) -> None:
        """Replace the file of decisions."""
        document = {"schema_version": SCHEMA_VERSION, "run": self.run.fingerprint, "decisions": decisions}
        with new_file(self.file, overwrite=True) as file:
            file.write((json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
        self.saved = decisions

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "oga", ""
    timeout: ClassVar[int] = 30

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path == "":
            self._answer(HTTPStatus.OK, self.server.page().encode(), "text/html; charset=utf-8")
            return
        found = re.fullmatch(r"look/(\d{1,18})", path)
        if found is None or int(found[1]) not in self.server.positions:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            shown = plain_look(self.server.looks(int(found[1])))
        except OgaError as error:
            shown = {"missing": str(error).partition("\n")[0]}
        if shown is None:
            shown = {"missing": self.server.looks.not_read or "the sample has no picture or text"}
        self._json(shown)

    def do_PUT(self) -> None:
        path = self._path()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        own = {f"http://{host}" for host in self.server.hosts}
        if path != "decisions" or self.headers.get("Origin", next(iter(own))) not in own:
            self._refuse(HTTPStatus.FORBIDDEN)
        elif not length.isdecimal() or int(length) > _LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._save(self.rfile.read(int(length)))

    def _save(self, body: bytes) -> None:
        try:
            decisions = checked(parse_json(body, "the request", RunError))
        except (ValueError, RunError):
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        try:
            self.server.save(decisions)
        except RunError:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE)
            return
        self._json({"saved": len(decisions)})

    def _path(self) -> str | None:
        """What follows the token in the address; None where the request was refused."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        token, slash, rest = self.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return rest

    def _json(self, values: Mapping[str, Any]) -> None:
        self._answer(HTTPStatus.OK, json.dumps(values).encode(), "application/json")

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._answer(status, status.phrase.encode(), "text/plain; charset=utf-8")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (_HEADERS | {"Content-Type": kind, "Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged; their addresses contain the token."""


@contextmanager
def serving(
    run: Run | str | Path, decisions: Path, looks: Looks | None = None, port: int = 0
) -> Iterator[ReviewServer]:
    """A server that is closed at the end."""
    with ReviewServer(run, decisions, looks, port) as server:
        yield server


def checked(document: Any) -> list[dict[str, str]]:
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


def saved_decisions(file: Path) -> list[dict[str, str]]:
    """The decisions in a file that an earlier server left; none where there is no file.

    Raises:
        RunError: The file holds something else, which is left alone.
    """
    try:
        return checked(read_json(file, RunError))
    except FileNotFoundError:
        return []
    except (ValueError, RunError) as error:
        raise RunError(
            "not a file of decisions",
            place=str(file),
            found=error.found or error.problem if isinstance(error, RunError) else error,
            hint="choose another file with --decisions, or move this one away",
        ) from None
