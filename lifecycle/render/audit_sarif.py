"""An audit as SARIF 2.1.0, the format in which code scanners hand findings on. Source: OASIS, SARIF 2.1.0."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import quote

from lifecycle.render.audit_sheet import SEVERITIES, Sheet, SheetRow, plain

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Mapping[str, str] = {"critical": "error", "warning": "warning", "notice": "note"}


def audit_sarif(sheet: Sheet) -> bytes:
    """Return the report; each risk is a rule with help, each finding a result about a voice."""
    words = sorted(sheet.rules)
    index = {word: position for position, word in enumerate(words)}
    usual = _usual(sheet)
    tool, _, version = sheet.tool.partition(" ")
    run: dict[str, object] = {
        "tool": {
            "driver": {
                "name": tool,
                "fullName": "vlm, the voice lifecycle manager",
                "version": version or "0",
                "rules": [_rule(word, sheet.rules[word], usual.get(word, "warning")) for word in words],
            }
        },
        "automationDetails": {"id": f"vlm-audit/{sheet.audit}"},
        "invocations": [{"executionSuccessful": True, "endTimeUtc": sheet.time}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(row, index[row.risk]) for row in sheet.rows],
        "properties": {"voices": sheet.voices, "accepted": sheet.accepted, "left_out": sheet.left_out},
    }
    body = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"


def _usual(sheet: Sheet) -> dict[str, str]:
    """Return for each risk that was found the worst severity it was found with."""
    return {
        risk: severity for severity in reversed(SEVERITIES) for word, risk in sheet.counts if word == severity
    }


def _rule(word: str, meaning: str, severity: str) -> dict[str, object]:
    accept = f'vlm audit accept {word} NAME --until DATE --reason "..."'
    name = "".join(part.capitalize() for part in word.split("-"))
    return {
        "id": word,
        "name": name,
        "shortDescription": {"text": f"{meaning[0].upper()}{meaning[1:]}."},
        "fullDescription": {"text": f"The audit reports {word} where {meaning}."},
        "help": {
            "text": f"Each result names the first thing to do. To live with it until a day: {accept}",
            "markdown": f"Each result names the first thing to do.\n\nTo live with it until a day: `{accept}`",
        },
        "defaultConfiguration": {"level": LEVELS[severity]},
        "properties": {"tags": ["voice"]},
    }


def _result(row: SheetRow, index: int) -> dict[str, object]:
    name = plain(row.voice)
    place = f"voices/{quote(row.voice, safe='')}" if row.voice else "installation"
    identity = hashlib.sha256(f"{row.uid or row.voice}/{row.risk}".encode()).hexdigest()
    return {
        "ruleId": row.risk,
        "ruleIndex": index,
        "level": LEVELS[row.severity],
        "kind": "fail",
        "baselineState": "new" if row.new else "unchanged",
        "message": {"text": f"{plain(row.who)}: {plain(row.message)}. First thing to do: {plain(row.next)}"},
        # A voice is no file; the path is there because viewers show only results that have one.
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": place}, "region": {"startLine": 1}},
                "logicalLocations": [
                    {"name": name or "installation", "fullyQualifiedName": place, "kind": "resource"}
                ],
            }
        ],
        "partialFingerprints": {"vlmFinding/v1": identity},
        "properties": {"severity": row.severity, "next": plain(row.next), "id": row.uid or None},
    }
