from contextlib import contextmanager
from threading import Thread

import pytest

from browsing import chromium


@pytest.fixture(scope="session")
def browser():
    """The browser, where there is one."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def in_thread():
    """Runs a server beside the test."""

    @contextmanager
    def run(server):
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)

    return run
