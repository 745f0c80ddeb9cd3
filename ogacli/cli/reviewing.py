"""The command ``review``."""

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ogacli.cli.arguments import Json, Overwrite, Quiet, RunFolder
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal, shown


@command(order=65)
def review(
    run: RunFolder,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page to write; default: RUN/report.html.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine alone, with all pictures.")
    ] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --serve: file of decisions; default: RUN.decisions.json."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve: 0 means any free port.")] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Config with the data section to read samples from."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Open a page in which people decide on the flagged samples.

    The page keeps the decisions in the browser and exports them as decisions.json, which
    `oga trim RUN --decisions decisions.json` obeys. With --serve they are saved in a file at once.
    """
    from ogacli.config import load_config
    from ogacli.errors import ConfigError
    from ogacli.run.review import review as write_page

    terminal = Terminal(json=json, quiet=quiet)
    source = None if config is None else load_config(config).data
    if serve:
        if output is not None:
            raise ConfigError("no page is written while it is served", place="--output", hint="leave it out")
        _serve(run, decisions, source, port, terminal, open_browser=open_browser)
        return
    if decisions is not None or port:
        option = "--decisions" if decisions is not None else "--port"
        raise ConfigError("of use only with --serve", place=option, hint="add --serve, or leave it out")
    page = write_page(run, output, source=source, overwrite=overwrite)
    if page.not_read is not None:
        terminal.note(f"pictures and texts are those of the run directory: {page.not_read}")
    if page.shown < page.flagged:
        terminal.warn(f"the page holds the {page.shown:,} most anomalous of {page.flagged:,} flagged samples")
    if page.without_look:
        hint = "" if page.not_read else "; --serve shows all of them"
        terminal.warn(
            f"{page.without_look:,} samples are shown without picture or text, as the page would be larger "
            f"than 20 MB or they could not be read{hint}"
        )
    document = {
        "schema_version": 1,
        "page": str(page.path),
        "flagged": page.flagged,
        "shown": page.shown,
        "without_look": page.without_look,
    }
    terminal.result(document, shown(page.path))
    if open_browser and not json:
        webbrowser.open(page.path.absolute().as_uri())


def _serve(
    run: Path, decisions: Path | None, source: object, port: int, terminal: Terminal, *, open_browser: bool
) -> None:
    from ogacli.data.sources import Source
    from ogacli.run.directory import Run
    from ogacli.run.review.server import serving
    from ogacli.run.review.source import Looks

    opened = Run.open(run)
    file = decisions or opened.path.absolute().with_name(f"{opened.path.absolute().name}.decisions.json")
    looks = Looks(opened, source if isinstance(source, Source) else None)
    with serving(opened, file, looks, port) as server:
        document = {"schema_version": 1, "url": server.url, "decisions": str(file)}
        terminal.result(document, server.url)
        terminal.note(f"only this machine can open it; decisions are saved in {shown(file)}; Ctrl-C ends")
        if open_browser and not terminal.json:
            threading.Timer(0.2, webbrowser.open, [server.url]).start()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        decided = len(server.saved.all)
        terminal.note(f"{decided:,} decisions in {shown(file)}" if decided else "no decisions")
        if decided:
            terminal.note(f"next: oga trim {shown(opened.path)} --decisions {shown(file)} --to DEST")
