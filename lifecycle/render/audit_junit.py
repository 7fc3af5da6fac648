"""An audit as JUnit XML: each finding is a failed test of its voice, so that a build server shows it."""

from __future__ import annotations

from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lifecycle.render.audit_sheet import Sheet, SheetRow, plain, plural

#: Severities that fail; a notice is shown as skipped, since a build that is always red says nothing.
FAILING = frozenset({"critical", "warning"})


def audit_junit(sheet: Sheet) -> bytes:
    """Return the report: one suite for each voice that is at risk, and one for the audit itself."""
    rows = sorted(sheet.rows, key=lambda row: row.voice)
    root = Element("testsuites", name="vlm audit", time=f"{sheet.seconds:.2f}")
    own = _suite(root, "vlm audit", [], sheet)
    case = SubElement(own, "testcase", classname="vlm.audit", name="the audit ran")
    if sheet.left_out:
        SubElement(case, "system-out").text = f"{plural(sheet.left_out, 'finding')} more, see: vlm audit"
    for _, found in groupby(rows, key=lambda row: row.voice):
        voices = list(found)
        suite = _suite(root, voices[0].who, voices, sheet)
        for row in voices:
            _case(suite, row)
    failed = sum(row.severity in FAILING for row in rows)
    root.set("tests", str(len(rows) + 1))
    root.set("failures", str(failed))
    root.set("errors", "0")
    indent(root)
    body: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"


def _suite(root: Element, name: str, rows: list[SheetRow], sheet: Sheet) -> Element:
    failed = sum(row.severity in FAILING for row in rows)
    suite = SubElement(
        root,
        "testsuite",
        name=plain(name),
        tests=str(max(1, len(rows))),
        failures=str(failed),
        errors="0",
        skipped=str(len(rows) - failed),
        timestamp=sheet.time.removesuffix("Z"),
    )
    if not rows:
        properties = SubElement(suite, "properties")
        for key, value in (("audit", sheet.audit), ("time", sheet.time), ("voices", str(sheet.voices))):
            SubElement(properties, "property", name=key, value=value)
    return suite


def _case(suite: Element, row: SheetRow) -> None:
    case = SubElement(suite, "testcase", classname=f"vlm.audit.{plain(row.who)}", name=row.risk)
    message = f"{row.severity}: {plain(row.message)}"
    if row.severity not in FAILING:
        SubElement(case, "skipped", message=message)
        return
    failure = SubElement(case, "failure", type=row.severity, message=message)
    failure.text = f"{plain(row.message)}\nfirst thing to do: {plain(row.next)}" + (
        "\nnew" if row.new else ""
    )
