"""The conditions of a gate as workflow commands of GitHub Actions, which are shown beside the changed files.

A name in the data may hold any text; what would end a command or begin another one is escaped.
"""

from ogacli.base.wording import visible
from ogacli.run.gate.formats import MARK, formats
from ogacli.run.gate.outcome import Gate, Outcome

_LEVELS = {"failed": "error", "warned": "warning"}


@formats.register
def render(gate: Gate) -> str:
    """A line for the verdict, for each condition that failed or warns, and for each warning of the run."""
    failed = sum(not outcome.passed for outcome in gate.conditions)
    verdict = "passed" if gate.passed else f"failed: {failed} of {len(gate.conditions)} conditions"
    lines = [_command("notice", MARK, verdict)]
    lines += [
        _command(_LEVELS[one.status], f"{MARK}: {one.name}", _text(one))
        for one in gate.conditions
        if one.status in _LEVELS
    ]
    lines += [_command("warning", MARK, warning) for warning in gate.warnings]
    return "\n".join(lines) + "\n"


def _text(outcome: Outcome) -> str:
    return f"found {outcome.found}, allowed {outcome.allowed}" + f"; {outcome.detail}" * bool(outcome.detail)


def _command(level: str, title: str, text: str) -> str:
    return f"::{level} title={_escaped(title, ':,')}::{_escaped(text)}"


def _escaped(text: str, further: str = "") -> str:
    text = visible(" ".join(text.split())).replace("%", "%25")
    for character in further:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
