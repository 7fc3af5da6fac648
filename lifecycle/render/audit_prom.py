"""An audit in the text format of Prometheus, for the textfile collector of node_exporter.

No metric carries a voice: with a million voices that would be a million series, and the file is readable by all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lifecycle.render.audit_sheet import SEVERITIES, Sheet

_Sample = tuple[Mapping[str, str], float]


def audit_prom(sheet: Sheet, *, sent: int = 0, failed: int = 0) -> bytes:
    """Return the metrics; whoever alerts looks at the age of the last success, never at absence.

    Args:
        sent: How many notifications of this audit arrived.
        failed: How many did not.
    """
    metrics: list[tuple[str, str, Sequence[_Sample]]] = [
        (
            "vlm_audit_info",
            "The audit that wrote this file.",
            [({"audit": sheet.audit, "version": sheet.tool}, 1)],
        ),
        (
            "vlm_audit_last_success_timestamp_seconds",
            "When the last whole audit ended, whatever it found; alert on its age.",
            [({}, int(sheet.at.timestamp() + sheet.seconds))],
        ),
        ("vlm_audit_duration_seconds", "How long the last audit took.", [({}, round(sheet.seconds, 3))]),
        (
            "vlm_audit_findings",
            "Findings that nobody accepted, by severity.",
            [({"severity": word}, sheet.count(word)) for word in SEVERITIES],
        ),
        (
            "vlm_audit_findings_new",
            "Findings that the audit before did not find, by severity.",
            [({"severity": word}, sheet.new.get(word, 0)) for word in SEVERITIES],
        ),
        (
            "vlm_audit_risks",
            "Findings that nobody accepted, by risk.",
            [({"severity": s, "risk": risk}, number) for (s, risk), number in sorted(sheet.counts.items())],
        ),
        ("vlm_audit_accepted", "Findings that somebody accepted until a day.", [({}, sheet.accepted)]),
        (
            "vlm_voices",
            "Voices by state.",
            [({"state": state}, number) for state, number in sorted(sheet.states.items())],
        ),
        (
            "vlm_audit_notifications",
            "Notifications of the last audit, by what became of them.",
            [({"result": "sent"}, sent), ({"result": "failed"}, failed)],
        ),
        ("vlm_store_bytes", "Size of the stored files.", [({}, sheet.store_bytes)]),
    ]
    lines = [line for name, told, samples in metrics for line in _metric(name, told, samples)]
    return ("\n".join(lines) + "\n").encode()


def _metric(name: str, told: str, samples: Sequence[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def escaped(value: str) -> str:
    """Return a label's value with backslash, quote and line feed escaped."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
