"""What terminal, HTML and Markdown tell of a run, as plain text."""

import html
import io
import re

from rich.console import Console

from ogacli.cli.views.scanning import scan_view
from ogacli.run.reports import report


def plain(text: str) -> str:
    return " ".join(text.split())


def terminal(run) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    for part in scan_view(run):
        console.print(part)
    return plain(console.export_text())


def page(run) -> str:
    text = re.sub(r"<(style|script).*?</\1>", " ", report(run, "html"), flags=re.S)
    return plain(html.unescape(re.sub(r"<[^>]+>", " ", text)))


def markdown(run) -> str:
    return plain(re.sub(r"\\([\\`*_\[\]#|<>&~])", r"\1", report(run, "md")))


OUTPUTS = [terminal, page, markdown]
