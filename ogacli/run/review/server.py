"""A server on this machine alone, which shows the page of a run and saves the decisions.

In: a run. Out: pages for one browser, and a file of decisions that is whole at any time. Every address
contains a random token, so that neither other users of the machine nor pages of other sites can read or
decide anything:

    GET  /TOKEN/                the page
    GET  /TOKEN/look/POSITION   the picture or text of a sample on the page, as JSON
    PUT  /TOKEN/decisions/PAGE/COUNT
                                the decisions so far, a document as ``oga trim --decisions`` reads it; which
                                page they come from, and how often it has sent some
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from ogacli.base.documents.json_document import parse_json
from ogacli.errors import OgaError, RunError
from ogacli.run.directory import Run
from ogacli.run.reports.review import plain_look
from ogacli.run.review import served_page, with_flags
from ogacli.run.review.saved import SavedDecisions, checked
from ogacli.run.review.source import Looks

ADDRESS = "127.0.0.1"
_LARGEST = 64 << 20
"""Bytes of decisions that are accepted."""
_STRANGERS = 64
"""Connections that have not shown the token; of more, the oldest is closed."""
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
        self.token = secrets.token_urlsafe(24)
        self.saved = SavedDecisions(decisions, opened.fingerprint)
        self._strangers: dict[socket.socket, None] = {}
        self._meeting = threading.Lock()
        self.run = opened
        _, found = served_page(opened, self.saved)
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
        return served_page(self.run, self.saved)[0]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; whoever is not known yet may have to make room for others."""
        with self._meeting:
            self._strangers[request] = None
            if len(self._strangers) > _STRANGERS:
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def welcome(self, connection: socket.socket) -> None:
        """A connection has shown the token, or is closed."""
        with self._meeting:
            self._strangers.pop(connection, None)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.welcome(request)
        super().shutdown_request(request)

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
            self._page()
            return
        found = re.fullmatch(r"look/([0-9]{1,18})", path)
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

    def _page(self) -> None:
        try:
            page = self.server.page()
        except OgaError as error:
            self._answer(HTTPStatus.CONFLICT, str(error).encode(), "text/plain; charset=utf-8")
            return
        self._answer(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")

    def do_PUT(self) -> None:
        path = self._path()
        if path is None:
            return
        found = re.fullmatch(r"decisions/([0-9]{1,9})/([0-9]{1,9})", path)
        own = {f"http://{host}" for host in self.server.hosts}
        if found is None or not own.issuperset(self.headers.get_all("Origin", [])):
            self._refuse(HTTPStatus.FORBIDDEN)
        elif (length := self._length()) is None:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._save(self.rfile.read(length), int(found[1]), int(found[2]))

    def _length(self) -> int | None:
        """Bytes of the body; None where they are not told once, or too many."""
        told = self.headers.get_all("Content-Length", [])
        if len(told) != 1 or "Transfer-Encoding" in self.headers:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", told[0]) or int(told[0]) > _LARGEST:
            return None
        return int(told[0])

    def _save(self, body: bytes, page: int, count: int) -> None:
        try:
            decisions = checked(parse_json(body, "the request", RunError))
        except (ValueError, RunError):
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        try:
            saved = self.server.saved.replace(decisions, page, count)
        except RunError:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE)
            return
        if not saved:
            self._refuse(HTTPStatus.CONFLICT)
            return
        self._json({"saved": len(decisions)})

    def _path(self) -> str | None:
        """What follows the token in the address; None where the request was refused."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        token, slash, rest = self.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        self.server.welcome(self.connection)
        return rest

    def _json(self, values: Mapping[str, Any]) -> None:
        self._answer(HTTPStatus.OK, json.dumps(values).encode(), "application/json")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request, or of another method, without repeating what was sent."""
        self._refuse(HTTPStatus(code))

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
