"""The conditions of a gate as JUnit XML, which CI systems show as tests: one test case a condition."""

import re
from xml.etree import ElementTree

from ogacli.run.gate import Condition, Gate

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


def junit_xml(gate: Gate) -> str:
    """The document."""
    conditions = gate.conditions
    counts = {
        "tests": str(len(conditions)),
        "failures": str(sum(not condition.passed for condition in conditions)),
        "errors": "0",
        "skipped": str(sum(condition.status == "skipped" for condition in conditions)),
    }
    root = ElementTree.Element("testsuites", {"name": "oga gate"} | counts)
    suite = ElementTree.SubElement(root, "testsuite", root.attrib)
    for condition in conditions:
        _case(suite, condition)
    if gate.warnings:
        ElementTree.SubElement(suite, "system-err").text = _clean("\n".join(gate.warnings))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _case(suite: ElementTree.Element, condition: Condition) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="oga.gate", name=condition.name)
    if condition.status == "skipped":
        ElementTree.SubElement(case, "skipped", message=_clean(condition.detail))
        return
    told = f"found {condition.found}, allowed {condition.allowed}"
    if condition.status == "failed":
        failure = ElementTree.SubElement(case, "failure", type="limit", message=_clean(told))
        failure.text = _clean(condition.detail) or None
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(told)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
