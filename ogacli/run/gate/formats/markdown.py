"""The conditions of a gate as Markdown, for a comment on a pull request."""

from ogacli.base import markdown
from ogacli.run.gate.formats import MARK, formats
from ogacli.run.gate.outcome import Gate


@formats.register
def render(gate: Gate) -> str:
    """A table of the conditions, below the warnings of the run."""
    failed = sum(not outcome.passed for outcome in gate.conditions)
    verdict = "passed" if gate.passed else f"failed: {failed} of {len(gate.conditions)} conditions"
    rows = [
        [outcome.status, f"`{outcome.name}`"]
        + [markdown.code(text) for text in (outcome.found, outcome.allowed, outcome.detail)]
        for outcome in gate.conditions
    ]
    table = markdown.table(["", "condition", "found", "allowed", "detail"], rows, numeric=0)
    return "\n\n".join([f"## {MARK} {verdict}", *markdown.warnings(gate.warnings), table]) + "\n"
