from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.policies import _KEYS, Limits, Period, Policy, parse_policy
from lifecycle.services.policy import load_policy, policy_folder

GOOD = """\
keep_recordings: P5Y
keep_weights: P90D
keep_evidence: P3Y
consent_due_days: 30
verify_every_days: 90
limits:
  verify_seconds: 600
"""


def read(text: str) -> Policy:
    return parse_policy(text, name="mine", source="mine.yaml")


@pytest.mark.parametrize("path", sorted(policy_folder().glob("*.yaml")), ids=lambda p: p.stem)
def test_every_policy_that_ships_is_read_and_commented(path):
    policy = load_policy(path.stem)

    assert policy.name == path.stem
    keys = [line for line in path.read_text().splitlines() if ":" in line and not line.startswith("#")]
    assert all("#" in line for line in keys if not line.endswith(":"))


def test_every_field_of_a_policy_has_a_key():
    assert set(_KEYS) == {field.name for field in fields(Policy)} - {"name"}


def test_a_policy_says_what_it_says():
    policy = read(GOOD)

    assert policy.keep_weights == Period(days=90)
    assert policy.consent_due_days == 30
    assert policy.limits == Limits(verify_seconds=600)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        (GOOD + "keep_recording: P1Y\n", 8, '"keep_recording" is not a key'),
        (GOOD + "keep_weights: P1Y\n", 8, '"keep_weights" stands twice'),
        (GOOD.replace("P90D", "90 days"), 2, "is not a period"),
        (GOOD.replace("P90D", "[1]"), 2, "a period such as"),
        (GOOD.replace("30", "-1"), 4, "a whole number from 0 to 3650"),
        (GOOD.replace("30", "true"), 4, "a whole number"),
        (GOOD.replace("  verify_seconds: 600", "  verify_second: 6"), 7, '"verify_second" is not a key'),
        (GOOD.replace("limits:\n  verify_seconds: 600", "limits: 3"), 6, "a table of keys"),
        (GOOD.replace("consent_due_days: 30\n", ""), 1, '"consent_due_days" is missing'),
        ("- a\n- b\n", 1, "a table of keys"),
        (GOOD + "x: [1\n", 9, "not YAML"),
    ],
)
def test_an_error_names_the_file_and_the_line(text, line, word):
    with pytest.raises(UsageError) as caught:
        read(text)

    assert f'"mine.yaml", line {line}' in caught.value.message
    assert word in caught.value.message


def test_an_empty_policy_is_an_error():
    with pytest.raises(UsageError, match="empty"):
        read("# nothing\n")


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text):
    with pytest.raises(UsageError):
        read(text)


def test_a_policy_that_does_not_exist_is_not_found_with_those_that_do():
    with pytest.raises(NotFound) as caught:
        load_policy("strictest")

    assert "default" in (caught.value.hint or "")


def test_a_policy_s_name_cannot_leave_its_folder():
    with pytest.raises(UsageError):
        load_policy("../default")


def test_the_packaged_folder_comes_before_the_checkout(tmp_path):
    package = tmp_path / "lifecycle"
    checkout = tmp_path / "policies"
    checkout.mkdir(parents=True)
    (checkout / "default.yaml").write_text(GOOD)
    assert policy_folder(package) == checkout

    packaged = package / "_data" / "policies"
    packaged.mkdir(parents=True)
    (packaged / "default.yaml").write_text(GOOD)
    assert policy_folder(package) == packaged


def test_a_user_s_own_policy_is_read_by_its_name(tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD.replace("P90D", "P1D"))

    assert load_policy("mine", own=tmp_path).keep_weights == Period(days=1)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("P1M", "2026-01-31", "2026-02-28"),
        ("P18M", "2026-11-24", "2028-05-24"),
        ("P1Y", "2024-02-29", "2025-02-28"),
        ("P2W", "2026-12-25", "2027-01-08"),
        ("P1Y2M3D", "2026-01-01", "2027-03-04"),
    ],
)
def test_periods_follow_the_calendar(period, start, end):
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)

    assert Period.parse(period).after(moment).date().isoformat() == end


@given(st.builds(Period, st.integers(0, 999), st.integers(0, 9999), st.integers(0, 99999)))
def test_a_period_is_read_back_as_it_was_written(period):
    assert Period.parse(str(period)) == period


@pytest.mark.parametrize("text", ["P", "", "1Y", "P-1D", "PT5H", "P1D1Y", "p1d"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(ValueError, match="not a period"):
        Period.parse(text)
