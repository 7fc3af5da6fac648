"""What is said of a case: how many days there are left, or over."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from lifecycle.domain.subjects import WITHDRAWAL, Case
from lifecycle.registry.queries.cases import CaseRow
from lifecycle.services.people.cases import ListedCase

DUE = date(2026, 12, 20)


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (18, "in 2 days"),
        (19, "in 1 day"),
        (20, "today"),
        (21, "1 day overdue"),
        (22, "2 days overdue"),
    ],
)
def test_the_days_of_a_case_are_counted(day: int, said: str) -> None:
    opened = datetime(2026, 11, 20, tzinfo=UTC)
    case = Case("c" * 32, "p" * 32, None, WITHDRAWAL, date(2026, 11, 20), DUE, opened)

    assert (
        ListedCase(CaseRow(case, "s-12345678", None), date(2026, 12, day)).standing() == f"due {DUE}, {said}"
    )
