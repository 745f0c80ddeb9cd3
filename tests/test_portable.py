"""Calls that only POSIX systems have are used with a fallback, as Windows is supported as well."""

import ast
from pathlib import Path

import pytest

import ogacli

ONLY_POSIX = {
    **dict.fromkeys(
        ("fork", "getuid", "geteuid", "mkfifo", "uname", "killpg", "setsid", "sync", "chown"), "os"
    ),
    **dict.fromkeys(("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "statvfs", "fchmod"), "os"),
    **dict.fromkeys(("SIGHUP", "SIGALRM", "SIGKILL", "alarm", "setitimer", "pthread_kill"), "signal"),
}
"""Names that their module lacks on Windows."""
ABSENT = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty")
"""Modules that Windows lacks."""
SOURCES = sorted(Path(ogacli.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(SOURCES[0].parent).as_posix())
def test_no_posix_call_without_a_fallback(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            )
            assert not set(names) & set(ABSENT), f"{source}:{node.lineno}"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and ONLY_POSIX.get(node.attr) == node.value.id
        ):
            asked = f'hasattr({node.value.id}, "{node.attr}")' in text or 'sys.platform != "win32"' in text
            assert asked, f"{source}:{node.lineno}: {node.attr}"
