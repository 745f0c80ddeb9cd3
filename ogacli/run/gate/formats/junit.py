"""The conditions of a gate as JUnit XML, which CI systems show as tests: one test case a condition."""

import re
from xml.etree import ElementTree

from ogacli.run.gate.formats import MARK, formats
from ogacli.run.gate.outcome import Gate, Outcome

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


@formats.register
def render(gate: Gate) -> str:
    """The XML document."""
    outcomes = gate.conditions
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(sum(not outcome.passed for outcome in outcomes)),
        "errors": "0",
        "skipped": str(sum(outcome.status == "skipped" for outcome in outcomes)),
    }
    root = ElementTree.Element("testsuites", {"name": MARK} | counts)
    suite = ElementTree.SubElement(root, "testsuite", root.attrib)
    for outcome in outcomes:
        _case(suite, outcome)
    if gate.warnings:
        ElementTree.SubElement(suite, "system-err").text = _clean("\n".join(gate.warnings))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _case(suite: ElementTree.Element, outcome: Outcome) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="oga.gate", name=outcome.name)
    if outcome.status == "skipped":
        ElementTree.SubElement(case, "skipped", message=_clean(outcome.detail))
        return
    text = f"found {outcome.found}, allowed {outcome.allowed}"
    if outcome.status == "failed":
        failure = ElementTree.SubElement(case, "failure", type="limit", message=_clean(text))
        failure.text = _clean(outcome.detail) or None
    else:
        told = f"{outcome.status}: " * (outcome.status == "warned") + text
        told += f"; {outcome.detail}" * bool(outcome.detail and outcome.status == "warned")
        ElementTree.SubElement(case, "system-out").text = _clean(told)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
