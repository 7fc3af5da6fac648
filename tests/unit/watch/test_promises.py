"""Cases that are due, and holds that somebody must look at again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from lifecycle.domain.risks import Severity
from lifecycle.domain.voices import State
from lifecycle.services.retention.files import load_policy
from lifecycle.watch.promises import promises
from lifecycle.watch.snapshot import DueCase, Snapshot, VoiceFacts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()


def found(*, due: int | None = None, review: date | None = None) -> list[tuple[str, Severity]]:
    cases = [] if due is None else [DueCase("4be1f06a7c12", "s-7f3a1c9e", TODAY + timedelta(days=due))]
    voice = VoiceFacts(
        name="kol",
        state=State.ACTIVE,
        policy=load_policy("default"),
        registered_at=NOW,
        cases=cases,
        hold_reviews=[] if review is None else [review],
    )
    snapshot = Snapshot(voices=[voice], now=NOW, default_torch="2.13.0", commands=[])
    return [(risk.risk, risk.severity) for risk in promises(voice, snapshot)]


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        (8, []),
        (7, [("case-due", Severity.WARNING)]),
        (0, [("case-due", Severity.WARNING)]),
        (-1, [("case-overdue", Severity.CRITICAL)]),
    ],
)
def test_a_case_is_a_warning_in_its_last_week_and_critical_once_it_is_overdue(due, expected) -> None:
    assert found(due=due) == expected


def test_a_hold_is_to_be_reviewed_on_its_day_and_not_before() -> None:
    assert found(review=TODAY + timedelta(days=1)) == []
    assert found(review=TODAY) == [("hold-review", Severity.WARNING)]


def test_nothing_is_promised_where_nobody_asked_for_anything() -> None:
    assert found() == []
