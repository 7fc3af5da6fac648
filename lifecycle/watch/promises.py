"""The rules about what was promised to people: cases that are due, holds that somebody must look at again."""

from __future__ import annotations

from collections.abc import Iterator

from lifecycle.domain.risks import Risk, Severity
from lifecycle.watch.snapshot import Snapshot, VoiceFacts

#: What these rules may find.
RISKS = {
    "case-overdue": "a person's request should have been dealt with by now",
    "case-due": "a person's request must be dealt with within a week",
    "hold-review": "a hold must be looked at again: is it still needed",
}
SOON_DAYS = 7


def promises(voice: VoiceFacts, snapshot: Snapshot) -> Iterator[Risk]:
    """Find the open cases that concern a voice and are due, and the holds on it whose day of review has come."""
    today = snapshot.now.date()
    for case in voice.cases:
        left = (case.due_on - today).days
        if left > SOON_DAYS:
            continue
        what = f"case {case.case} of {case.subject} was due {case.due_on}"
        if left >= 0:
            what = f"case {case.case} of {case.subject} is due {case.due_on}"
        risk, severity = ("case-overdue", Severity.CRITICAL) if left < 0 else ("case-due", Severity.WARNING)
        yield Risk(voice.name, risk, severity, what, f"vlm subject show {case.subject}")
    due = [day for day in voice.hold_reviews if day <= today]
    if due:
        what = f"a hold was to be reviewed by {min(due)}"
        yield Risk(voice.name, "hold-review", Severity.WARNING, what, f"vlm unhold {voice.name} --dry-run")
