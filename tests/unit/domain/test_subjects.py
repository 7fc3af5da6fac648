"""What a consent agrees to, when it holds, and by when a request is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import UsageError
from lifecycle.domain.policies import Period
from lifecycle.domain.subjects import (
    ALL,
    MAX_SCOPE,
    SCOPES,
    Consent,
    checked_receipt,
    checked_scope,
    checked_term,
    covers,
    held_until,
    holding,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)


def consent(uid: str = "a", **changed: object) -> Consent:
    values = {
        "uid": uid,
        "subject_uid": "p",
        "scope": ALL,
        "valid_until": None,
        "received_at": NOW - 10 * DAY,
        "evidence_uid": None,
    }
    return Consent(**{**values, **changed})  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(SCOPES), min_size=1))
def test_scope_words_come_in_one_order_and_fit_their_column(words: list[str]) -> None:
    scope = checked_scope(" , ".join(dict.fromkeys(words)))

    assert scope.split(",") == [word for word in SCOPES if word in words]
    assert len(scope) <= MAX_SCOPE
    assert all(covers(scope, word) == (word in words) for word in SCOPES)


def test_all_outranks_every_other_word() -> None:
    assert checked_scope("train, ALL") == ALL
    assert all(covers(ALL, word) for word in SCOPES)


def test_a_consent_of_before_scopes_had_words_covers_everything() -> None:
    assert all(covers("voice", word) for word in SCOPES)


@pytest.mark.parametrize(
    "text", ["", " , ", "sing", "speak,sing", "speak;train", "a" * 65, "speak\n\x1b[31m"]
)
def test_another_word_is_no_scope(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_scope(text)
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (date(2027, 2, 1), date(2027, 1, 1), "before it begins"),
        (None, TODAY - DAY, "is past"),
        (date(2020, 1, 1), date(2021, 1, 1), "is past"),
    ],
)
def test_a_term_in_which_a_consent_never_holds_is_refused(begins, ends, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked_term(begins, ends, today=TODAY)


def test_a_consent_of_one_day_today_is_a_term() -> None:
    checked_term(TODAY, TODAY, today=TODAY)
    checked_term(TODAY + 40 * DAY, None, today=TODAY)


def test_a_consent_that_has_not_begun_does_not_hold() -> None:
    later = consent(valid_from=NOW + DAY)

    assert holding([later], NOW) == []
    assert holding([later], NOW + DAY) == [later]


def test_a_renewed_consent_gives_way_once_the_newer_one_has_begun() -> None:
    old = consent("old", scope="speak,train")
    new = consent("new", scope="speak", renews_uid="old", valid_from=NOW + DAY)

    assert holding([old, new], NOW, "train") == [old]
    assert holding([old, new], NOW + DAY, "train") == []
    assert holding([old, new], NOW + DAY, "speak") == [new]


@given(
    given_before=st.lists(st.integers(0, 100), max_size=5),
    withdrawn=st.integers(0, 100),
    asked=st.integers(0, 200),
)
def test_nothing_that_was_given_before_a_withdrawal_holds_after_it(given_before, withdrawn, asked) -> None:
    at = NOW + withdrawn * DAY
    consents = [consent(str(i), received_at=NOW + day * DAY) for i, day in enumerate(given_before)]
    gone = consent("gone", received_at=NOW - 1000 * DAY, withdrawn_at=at)

    held = holding([*consents, gone], NOW + asked * DAY)

    if asked >= withdrawn:
        assert all(each.received_at > at for each in held)


def test_one_consent_without_an_end_outlasts_all_others() -> None:
    end = NOW + DAY

    assert held_until([consent(valid_until=end), consent(valid_until=end + DAY)]) == end + DAY
    assert held_until([consent(valid_until=end), consent()]) is None


@pytest.mark.parametrize(
    ("received", "due"),
    [
        (date(2027, 1, 31), date(2027, 2, 28)),
        (date(2028, 1, 31), date(2028, 2, 29)),
        (date(2026, 12, 15), date(2027, 1, 15)),
        (date(2024, 2, 29), date(2024, 3, 29)),
    ],
)
def test_a_month_after_its_receipt_is_a_calendar_month(received: date, due: date) -> None:
    start = datetime(received.year, received.month, received.day, tzinfo=UTC)
    assert Period.parse("P1M").after(start).date() == due


@pytest.mark.parametrize("received", [TODAY + DAY, date(2036, 1, 1), date(2020, 12, 31), date(1, 1, 1)])
def test_a_request_cannot_come_from_the_future_or_from_long_ago(received: date) -> None:
    with pytest.raises(UsageError):
        checked_receipt(received, today=TODAY)


def test_a_request_of_today_and_of_last_year_can_be() -> None:
    checked_receipt(TODAY, today=TODAY)
    checked_receipt(date(2025, 1, 1), today=TODAY)
