"""The server: only this machine, only with the token, only samples of the page; decisions are saved whole."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from ogacli.config.commands import scan
from ogacli.errors import RunError
from ogacli.run.decisions import read_decisions
from ogacli.run.review.server import ADDRESS, ReviewServer, serving
from small_scans import make_place
from synthetic_runs import Recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return scan(make_place(tmp_path_factory.mktemp("served")).config())


@pytest.fixture
def server(run, tmp_path, in_thread):
    with serving(run, tmp_path / "decisions.json") as opened, in_thread(opened):
        yield opened


def ask(server, path, *, method="GET", body=None, token=None, **headers):
    """The status, headers and body of an answer."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    prefix = server.token if token is None else token
    try:
        connection.putrequest(method, f"/{prefix}/{path}", skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def put(server, decisions, *, page=1, count=1, **headers):
    body = json.dumps({"schema_version": 1, "run": "x", "decisions": decisions}).encode()
    return ask(server, f"decisions/{page}/{count}", method="PUT", body=body, **headers)


def opened_page(server):
    """The data of a new page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', ask(server, "")[2].decode())[1])


def raw(server, request):
    """All that is answered to some bytes."""
    with socket.create_connection(server.server_address, timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def first(server):
    return min(server.positions)


def test_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1" == ADDRESS
    assert len(server.token) >= 32


def test_the_page_asks_only_its_own_server(server):
    status, headers, body = ask(server, "")
    page = body.decode()
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert "connect-src 'self'" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_a_sample_of_the_page_is_shown_and_no_other(server):
    status, _, body = ask(server, f"look/{first(server)}")
    assert status == 200
    assert json.loads(body)["text"]
    outside = next(i for i in range(1000) if i not in server.positions)
    assert ask(server, f"look/{outside}")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "look/../../config.yaml",
        "look/%2e%2e%2fconfig.yaml",
        "config.yaml",
        "look/-1",
        "look/1e9",
        "look/" + "9" * 400,
        "look/",
        "decisions",
        "//",
        "look/0?x=1",
        "look/0%00",
    ],
)
def test_no_other_address_leads_anywhere(server, path):
    status, _, body = ask(server, path)
    assert status in (400, 404)
    assert b"root:" not in body
    assert b"source" not in body


@pytest.mark.parametrize("token", ["", "x", "favicon.ico", "é".encode().decode("latin1"), "a" * 5000])
def test_without_the_token_nothing_is_told(server, token):
    status, _, body = ask(
        server, f"look/{first(server)}", token=token.encode("ascii", "ignore").decode() or "-"
    )
    assert status == 404
    assert body == b"Not Found"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", "[::1]:80"]
)
def test_a_foreign_name_that_leads_here_is_refused(server, host):
    """A page of another site may make its own name lead to this machine (DNS rebinding)."""
    assert ask(server, "", Host=host)[0] == 421
    assert put(server, [], Host=host)[0] == 421


def test_localhost_is_this_machine(server):
    assert ask(server, "", Host=f"localhost:{server.server_address[1]}")[0] == 200


def test_decisions_are_saved_and_shown_again(server, run):
    name = run.scores["id"][0].as_py()
    status, _, body = put(server, [{"id": name, "action": "keep"}])
    assert (status, json.loads(body)) == (200, {"saved": 1})
    assert [one.id for one in read_decisions(server.saved.file, run).decided] == [name]
    assert opened_page(server)["decisions"] == [{"id": name, "action": "keep"}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema_version": 1}',
        b'{"schema_version": 2, "decisions": []}',
        b'{"schema_version": 1, "decisions": [3]}',
        b'{"schema_version": 1, "decisions": [{"id": "a", "action": "burn"}]}',
        b'{"schema_version": 1, "decisions": [{"id": "a", "action": ["keep"]}]}',
        b'{"schema_version": 1, "decisions": [{"id": "a", "action": "relabel", "label": 3}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_rubbish_is_refused_and_changes_nothing(server, body):
    put(server, [{"id": "a", "action": "drop"}])
    before = server.saved.file.read_bytes()
    assert ask(server, "decisions/1/2", method="PUT", body=body)[0] == 400
    assert server.saved.file.read_bytes() == before


def test_a_page_of_another_site_cannot_decide(server):
    assert put(server, [], Origin="http://evil.example")[0] == 403
    assert put(server, [], Origin="null")[0] == 403
    assert not server.saved.file.exists()
    assert put(server, [], Origin=server.url.rsplit("/", 2)[0])[0] == 200


def test_a_body_without_end_is_not_read(server):
    assert ask(server, "decisions/1/2", method="PUT", Content_Length=str(1 << 40))[0] == 413
    assert ask(server, "decisions/1/2", method="PUT", Content_Length="-5")[0] == 413


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_known(server, method):
    assert ask(server, "", method=method)[0] == 501


@pytest.mark.parametrize(
    "length",
    ["", "+2", "2_0", "\xb2", "1" * 5_000, "2\r\nContent-Length: 2", "2\r\nTransfer-Encoding: chunked"],
)
def test_a_body_of_unclear_length_is_not_read(server, length):
    head = f"PUT /{server.token}/decisions/1/1 HTTP/1.1\r\nHost: localhost:{server.server_address[1]}\r\n"
    told = raw(server, f"{head}Content-Length: {length}\r\n\r\n[]".encode("latin1"))
    assert told.startswith(b"HTTP/1.1 413 ")
    assert not server.saved.file.exists()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example", 421),
        ("GET {path} HTTP/1.1\r\nX: y", 421),
        ("GET {path} HTTP/1.0", 421),
        ("GET http://{host}{path} HTTP/1.1\r\nHost: {host}", 404),
        ("GET /?token={token} HTTP/1.1\r\nHost: {host}\r\nCookie: {token}\r\nReferer: {path}", 404),
        ("GET /x/..{path} HTTP/1.1\r\nHost: {host}", 404),
        ("GET {path}look/\xb2 HTTP/1.1\r\nHost: {host}", 404),
        ("PUT {path}decisions/1/1 HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nOrigin: null", 403),
        ("PUT {path}decisions/1/1/../../x HTTP/1.1\r\nHost: {host}", 403),
        ("<b>x</b> {path} HTTP/1.1\r\nHost: {host}", 501),
        ("GET {path} HTTP/1.1\r\nHost: {host}\r\n" + "X: y\r\n" * 300 + "Z: z", 431),
        ("GET /" + "x" * 70_000 + " HTTP/1.1", 414),
    ],
)
def test_odd_requests_are_refused_in_a_word(server, head, status):
    host, token = f"localhost:{server.server_address[1]}", server.token
    given = head.format(host=host, token=token, path=f"/{token}/")
    told = raw(server, given.encode("latin1") + b"\r\n\r\n")
    assert told.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"nosniff" in told
    assert b"text/html" not in told
    assert b"<b>" not in told


def test_ranges_and_lines_that_are_no_requests(server):
    host = f"localhost:{server.server_address[1]}"
    head = (
        f"GET /{server.token}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nRange: bytes=9-1,,-\r\n\r\n"
    )
    assert raw(server, head.encode()).startswith(b"HTTP/1.1 200 ")
    for line in (b"\0\xff\r\n\r\n", b"\x16\x03\1\2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        assert raw(server, line) in (b"Bad Request", b"HTTP Version Not Supported")
    assert ask(server, "")[0] == 200


def test_who_has_no_token_cannot_keep_others_out(server):
    """Silent and slow connections without the token replace each other, not those with it."""
    silent = [socket.create_connection(server.server_address, timeout=20) for _ in range(30)]
    known = http.client.HTTPConnection(*server.server_address, timeout=20)
    known.request("GET", f"/{server.token}/")
    assert len(known.getresponse().read()) > 1000
    silent += [socket.create_connection(server.server_address, timeout=20) for _ in range(150)]
    try:
        assert silent[0].recv(1) == b""  # closed long before the time-out of 30 s
        known.request("GET", f"/{server.token}/look/{first(server)}")
        assert known.getresponse().status == 200
        assert ask(server, "")[0] == 200
        assert len(server._strangers) <= 65
    finally:
        for one in (*silent, known):
            one.close()


# --- the file of decisions -------------------------------------------------------------------------------


def test_a_page_that_does_not_know_what_another_has_saved_is_refused(server):
    mine, other = opened_page(server)["page"], opened_page(server)["page"]
    assert put(server, [{"id": "a", "action": "drop"}], page=mine)[0] == 200
    assert put(server, [{"id": "b", "action": "drop"}], page=other)[0] == 409
    assert put(server, [{"id": "b", "action": "drop"}], page=77)[0] == 409
    assert put(server, [{"id": "a", "action": "keep"}], page=mine, count=2)[0] == 200
    assert [one["action"] for one in server.saved.all] == ["keep"]
    again = opened_page(server)
    assert again["decisions"] == [{"id": "a", "action": "keep"}]
    both = [*again["decisions"], {"id": "b", "action": "drop"}]
    assert put(server, both, page=again["page"])[0] == 200
    assert put(server, [], page=mine, count=3)[0] == 409
    assert json.loads(server.saved.file.read_bytes())["decisions"] == both


def test_an_older_request_that_comes_later_changes_nothing(server):
    page = opened_page(server)["page"]
    newer = [{"id": "a", "action": "drop"}, {"id": "b", "action": "keep"}]
    assert put(server, newer, page=page, count=2)[0] == 200
    assert put(server, newer[:1], page=page, count=1)[0] == 200
    assert json.loads(server.saved.file.read_bytes())["decisions"] == newer


def test_what_another_program_writes_is_not_replaced_before_it_is_seen(server):
    page = opened_page(server)["page"]
    assert put(server, [{"id": "a", "action": "drop"}], page=page)[0] == 200
    theirs = [{"id": "z", "action": "keep"}]
    server.saved.file.write_text(json.dumps({"schema_version": 1, "decisions": theirs}))
    assert put(server, [], page=page, count=2)[0] == 409
    again = opened_page(server)
    assert again["decisions"] == theirs
    assert put(server, [], page=page, count=3)[0] == 409
    assert put(server, [*theirs, {"id": "a", "action": "drop"}], page=again["page"])[0] == 200
    server.saved.file.write_text("my notes")
    status, _, told = ask(server, "")
    assert (status, b"not a file of decisions" in told) == (409, True)
    assert put(server, [], page=again["page"], count=2)[0] == 409
    assert server.saved.file.read_text() == "my notes"
    server.saved.file.unlink()
    assert put(server, [], page=again["page"], count=3)[0] == 200


def test_a_link_or_folder_in_place_of_the_file_is_left_alone(server, run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    page = opened_page(server)["page"]
    server.saved.file.symlink_to(secret)
    assert put(server, [], page=page)[0] == 507
    with pytest.raises(RunError, match="a link stands there"):
        ReviewServer(run, server.saved.file)
    server.saved.file.unlink()
    server.saved.file.mkdir()
    assert put(server, [], page=page, count=2)[0] == 507
    assert (secret.read_text(), list(server.saved.file.iterdir())) == ("mine", [])


def test_a_file_that_holds_something_else_is_left_alone(run, tmp_path):
    file = tmp_path / "decisions.json"
    file.write_text("my notes")
    with pytest.raises(RunError, match="not a file of decisions"):
        ReviewServer(run, file)
    assert file.read_text() == "my notes"


def test_nothing_flagged_is_nothing_to_serve(tmp_path):
    run = Recipe(budget=0).write(tmp_path / "run")
    with pytest.raises(RunError, match="nothing is flagged"):
        ReviewServer(run, tmp_path / "decisions.json")


def test_a_source_that_changed_is_told_in_place_of_pictures(tmp_path, in_thread):
    place = make_place(tmp_path, n=400)
    run = scan(place.config("budget=300"))
    place.write(x=place.arrays["x"] + 1)
    with serving(run, tmp_path / "d.json") as server, in_thread(server):
        shown = set(run.previews["position"].to_pylist())
        outside = next(iter(server.positions - shown), None)
        if outside is None:
            pytest.skip("all samples have previews")
        assert "has changed" in json.loads(ask(server, f"look/{outside}")[2])["missing"]


def test_ctrl_c_ends_the_command_with_the_decisions_saved(run, tmp_path):
    file = tmp_path / "mine.json"
    # What runs in the background of a shell ignores the signal, and hands that on.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    start += "from ogacli.cli import main; main()"
    command = [sys.executable, "-c", start, "review", str(run.path), "--serve", "--no-open"]
    process = subprocess.Popen(
        [*command, "--decisions", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        url = process.stdout.readline().strip()
        host, token = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/([\w-]+)/", url).groups()
        connection = http.client.HTTPConnection(host, timeout=20)
        body = json.dumps({"schema_version": 1, "decisions": [{"id": "7", "action": "drop"}]})
        connection.request("PUT", f"/{token}/decisions/1/1", body)
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "1 decision" in errors
    assert json.loads(file.read_text())["decisions"] == [{"id": "7", "action": "drop"}]
