"""What a policy makes of a voice: days and zones, consents, and what always wins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.policies import (
    STATES,
    Action,
    AppliesTo,
    Earlier,
    IfMissing,
    Period,
    Policy,
    Rule,
    TimeBase,
)
from lifecycle.domain.retention import (
    Circumstances,
    Status,
    decisions,
    end_of,
    last_day,
    notices_due,
    retained,
    status_of,
)
from lifecycle.domain.subjects import Consent
from lifecycle.domain.time_bases import NEVER, Facts, Kept, Span
from lifecycle.domain.voices import DataClass, State

START = datetime(2024, 2, 29, 12, tzinfo=UTC)
PERSON = "p" * 32


def policy(*rules: Rule, **changes: object) -> Policy:
    plain = Policy("mine", 1, "video", "contract", "UTC", rules, 30, 90)
    return replace(plain, **changes)  # type: ignore[arg-type]


def rule(
    base: TimeBase = TimeBase.REGISTERED,
    after: str | None = "P1Y",
    *,
    action: Action | None = Action.PURGE_AUDIO,
    classes: tuple[DataClass, ...] = (DataClass.SOURCE,),
    keep: str | None = None,
    missing: IfMissing = IfMissing.REFUSE,
    **about: object,
) -> Rule:
    return Rule(
        id=f"{base}-{after}",
        applies_to=AppliesTo(classes, about.pop("states", STATES[action]), **about),  # type: ignore[arg-type]
        time_base=base,
        if_time_base_missing=missing,
        retain_min=None if keep is None else Period.parse(keep),
        delete_after=None if after is None else Period.parse(after),
        action=action if after is not None else None,
    )


def kept(*moments: datetime, data_class: DataClass = DataClass.SOURCE, recorded: Span | None = None) -> Kept:
    span = Span(min(moments), max(moments))
    return Kept(data_class, len(moments), 10 * len(moments), span, recorded or span, 0 if recorded else 1)


def voice(**changes: object) -> Facts:
    plain = Facts("v" * 32, State.ACTIVE, "video", False, START, START, kept=[kept(START)])
    return replace(plain, **changes)  # type: ignore[arg-type]


def consent(*, received: datetime = START, until: datetime | None = None, **changes: object) -> Consent:
    plain = Consent("c" * 32, PERSON, "all", until, received, None)
    return replace(plain, **changes)  # type: ignore[arg-type]


def due(rules: Policy, facts: Facts) -> datetime:
    (one,) = decisions(rules, facts)
    return one.delete_due


@pytest.mark.parametrize(
    ("start", "period", "zone", "end"),
    [
        # Leap days clamp to the last day of the month.
        ("2024-02-29T12:00", "P1Y", "UTC", "2025-03-01T00:00"),
        ("2024-02-29T12:00", "P4Y", "UTC", "2028-03-01T00:00"),
        ("2024-01-31T12:00", "P1M", "UTC", "2024-03-01T00:00"),
        # 36 months and 1,095 days are not the same across a leap year.
        ("2023-03-01T12:00", "P36M", "UTC", "2026-03-02T00:00"),
        ("2023-03-01T12:00", "P1095D", "UTC", "2026-03-01T00:00"),
        # The day is the zone's: half past eleven in the evening in UTC is tomorrow in Berlin.
        ("2026-06-30T23:30", "P0D", "Europe/Berlin", "2026-07-01T22:00"),
        ("2026-06-30T23:30", "P0D", "UTC", "2026-07-01T00:00"),
        ("2026-06-30T23:30", "P0D", "America/Los_Angeles", "2026-07-01T07:00"),
        # A day of 23 and one of 25 hours end at their own midnight.
        ("2026-03-28T01:30", "P1D", "Europe/Berlin", "2026-03-29T22:00"),
        ("2026-10-24T00:30", "P1D", "Europe/Berlin", "2026-10-25T23:00"),
        # Midnight does not exist where the clock jumps over it: the day ends when the next one begins.
        ("2023-04-26T10:00", "P1D", "Africa/Cairo", "2023-04-27T22:00"),
        # A day that a zone left out is over at once.
        ("2011-12-29T12:00", "P1D", "Pacific/Apia", "2011-12-30T10:00"),
    ],
)
def test_a_period_ends_with_a_day_of_the_zone(start, period, zone, end):
    begun = datetime.fromisoformat(start).replace(tzinfo=UTC)

    assert end_of(begun, Period.parse(period), zone) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_a_period_past_the_calendar_never_ends():
    assert end_of(START, Period(years=9000), "UTC") == NEVER


def test_the_oldest_thing_decides_when_all_of_them_are_due():
    young = START + timedelta(days=300)

    assert due(policy(rule()), voice(kept=[kept(START, young)])) == datetime(2025, 3, 1, tzinfo=UTC)


def test_what_must_be_kept_outranks_what_is_due_and_the_newest_decides_it():
    young = START + timedelta(days=360)
    rules = policy(rule(), rule(TimeBase.REGISTERED, None, keep="P2M"))

    (one,) = decisions(rules, voice(kept=[kept(START, young)]))

    assert one.retain_until == end_of(young, Period(months=2), "UTC")
    assert one.delete_due == one.retain_until
    assert one.retain_rule == rules.rules[1].id


def test_keeping_one_class_holds_back_an_action_that_would_destroy_it_with_another():
    rules = policy(rule(), rule(TimeBase.REGISTERED, None, keep="P9Y", classes=(DataClass.TEMPLATE,)))
    facts = voice(kept=[kept(START), kept(START, data_class=DataClass.TEMPLATE)])

    assert due(rules, facts) == end_of(START, Period(years=9), "UTC")
    assert retained(rules, facts, [DataClass.SOURCE]) == (None, None)


def test_keeping_from_an_event_that_has_not_come_has_no_end():
    rules = policy(rule(), rule(TimeBase.CONTRACT_ENDED, None, keep="P1Y"))

    assert due(rules, voice()) == NEVER
    ended = voice(contract_ends_at=START)
    assert due(rules, ended) == end_of(START, Period(years=1), "UTC")


def test_an_unknown_moment_is_refused_or_replaced_by_the_oldest_known_one_as_the_rule_says():
    refusing = policy(rule(TimeBase.RECORDED))
    guessing = policy(rule(TimeBase.RECORDED, missing=IfMissing.OLDEST))

    (one,) = decisions(refusing, voice())
    assert (one.base, one.delete_due) == (None, NEVER)
    assert status_of(one, refusing, voice(), NEVER, Circumstances()) is Status.UNDATED
    (one,) = decisions(guessing, voice())
    assert (one.base, one.substituted) == (START, True)
    dated = voice(kept=[kept(START, recorded=Span(START - timedelta(days=90), START))])
    assert decisions(refusing, dated)[0].base == START - timedelta(days=90)


ENDS = START + timedelta(days=100)


@pytest.mark.parametrize(
    ("base", "consents", "moment"),
    [
        (TimeBase.CONSENT_GIVEN, [consent(), consent(received=ENDS)], ENDS),
        (TimeBase.CONSENT_ENDED, [consent(until=ENDS)], ENDS),
        (TimeBase.CONSENT_ENDED, [consent(until=START), consent(until=ENDS)], ENDS),
        (TimeBase.CONSENT_ENDED, [consent(until=START), consent(until=None)], None),
        # A renewal takes the place of what it renews, also where it ends earlier.
        (TimeBase.CONSENT_ENDED, [consent(), consent(until=ENDS, uid="d" * 32, renews_uid="c" * 32)], ENDS),
        (TimeBase.CONSENT_ENDED, [consent(withdrawn_at=ENDS)], ENDS),
        (TimeBase.CONSENT_WITHDRAWN, [consent(until=ENDS)], None),
        (TimeBase.CONSENT_WITHDRAWN, [consent(withdrawn_at=ENDS)], ENDS),
        # A consent that came after the withdrawal speaks again; one from before never does.
        (
            TimeBase.CONSENT_WITHDRAWN,
            [consent(withdrawn_at=ENDS), consent(received=ENDS + timedelta(1))],
            None,
        ),
        (TimeBase.CONSENT_WITHDRAWN, [consent(withdrawn_at=ENDS), consent(received=START)], ENDS),
    ],
)
def test_consents_give_their_moments(base, consents, moment):
    found = decisions(policy(rule(base)), voice(consents={PERSON: consents}))

    assert [one.base for one in found] == ([] if moment is None else [moment])


def test_one_of_two_people_who_withdraws_is_enough():
    facts = voice(consents={PERSON: [consent(withdrawn_at=ENDS)], "q" * 32: [consent()]})

    assert decisions(policy(rule(TimeBase.CONSENT_WITHDRAWN)), facts)[0].base == ENDS


def test_one_s_own_voice_needs_no_consent_and_nothing_counts_from_one():
    assert decisions(policy(rule(TimeBase.CONSENT_ENDED)), voice(own_voice=True)) == []


def test_a_rule_is_only_about_the_states_owners_and_purposes_that_it_names():
    facts = voice(consents={PERSON: [consent(scope="speak,publish")]})

    assert decisions(policy(rule(states=(State.RETIRED,))), facts) == []
    assert decisions(policy(rule(owners=("audio",))), facts) == []
    assert decisions(policy(rule(consent_scope=("train",))), facts) == []
    assert len(decisions(policy(rule(owners=("video",), consent_scope=("publish",))), facts)) == 1
    assert decisions(policy(rule(classes=(DataClass.MODEL,), action=Action.RETIRE)), facts) == []


def test_idleness_and_retirement_have_their_own_moments():
    model = [kept(START, data_class=DataClass.MODEL)]
    idle = rule(
        TimeBase.LAST_USED, action=Action.RETIRE, classes=(DataClass.MODEL,), missing=IfMissing.OLDEST
    )
    gone = rule(TimeBase.RETIRED, "P90D", action=Action.ERASE, classes=(DataClass.MODEL,))

    assert decisions(policy(idle), voice(kept=model, last_used_at=ENDS))[0].base == ENDS
    assert decisions(policy(idle), voice(kept=model))[0].base == START
    assert decisions(policy(gone), voice(kept=model)) == []
    retired = voice(kept=model, state=State.RETIRED, retired_at=ENDS)
    assert decisions(policy(gone), retired)[0].base == ENDS


LATER = datetime(2030, 1, 1, tzinfo=UTC)


def judged(rules: Policy, seen: Circumstances, facts: Facts | None = None, now: datetime = LATER) -> Status:
    mine = facts or voice()
    return status_of(decisions(rules, mine)[0], rules, mine, now, seen)


def test_what_stands_in_the_way_is_said_in_the_order_of_its_weight():
    rules = policy(rule(), notices=(Period(days=7),), enabled_from=date(2031, 1, 1))
    on = replace(rules, enabled_from=None)

    assert judged(rules, Circumstances(held=True, used_at=("prod",))) is Status.HELD
    assert judged(rules, Circumstances(used_at=("prod",))) is Status.IN_USE
    assert judged(rules, Circumstances(unfinished=True)) is Status.UNFINISHED
    assert judged(rules, Circumstances()) is Status.NOT_ENABLED
    assert judged(on, Circumstances()) is Status.NOTICE
    week = timedelta(days=7)
    assert judged(on, Circumstances(noticed={"P7D": LATER - week + timedelta(seconds=1)})) is Status.NOTICE
    assert judged(on, Circumstances(noticed={"P7D": LATER - week})) is Status.ACT
    assert judged(on, Circumstances(noticed={"P7D": LATER - week}), now=START) is Status.NOT_DUE


def test_grace_retires_first_and_destroys_when_it_is_over():
    graced = policy(replace(rule(states=STATES[None]), grace=Period(days=10)))
    retired = voice(state=State.RETIRED, retired_at=LATER)

    assert judged(graced, Circumstances()) is Status.QUARANTINE
    assert judged(graced, Circumstances(), retired) is Status.GRACE
    assert judged(graced, Circumstances(), retired, LATER + timedelta(days=11)) is Status.ACT


def test_notices_are_given_before_and_all_that_were_missed_at_once():
    rules = policy(rule(), notices=(Period(days=30), Period(days=7)))
    (one,) = decisions(rules, voice())
    day = last_day(one.delete_due, "UTC")

    def missing(moment: date, **noticed: datetime) -> list[str]:
        now = datetime(moment.year, moment.month, moment.day, 12, tzinfo=UTC)
        return notices_due(one, rules, now, noticed)

    assert day == date(2025, 2, 28)
    assert missing(day - timedelta(days=31)) == []
    assert missing(day - timedelta(days=30)) == ["P30D"]
    assert missing(day - timedelta(days=7), P30D=START) == ["P7D"]
    assert missing(day + timedelta(days=400)) == ["P30D", "P7D"]
    assert missing(day + timedelta(days=400), P30D=START, P7D=START) == []


def test_a_longer_policy_gives_nothing_back_that_was_due_or_promised():
    longer = rule(after="P5Y")
    changed = datetime(2026, 1, 1, tzinfo=UTC)
    was = Earlier(longer.id, TimeBase.REGISTERED, Period(years=1), 1, changed)
    old, young = voice(), voice(kept=[kept(changed - timedelta(days=30))])

    assert due(policy(longer, earlier=(was,)), old) == end_of(START, Period(years=1), "UTC")
    assert "version 1 allowed 1 year" in decisions(policy(longer, earlier=(was,)), old)[0].because
    assert due(policy(longer, earlier=(was,)), young) == end_of(
        changed - timedelta(30), Period(years=5), "UTC"
    )
    assert decisions(policy(longer, earlier=(was,)), old, horizon=changed) != []

    bound = rule(TimeBase.CONSENT_ENDED, "P5Y")
    promised = Earlier(bound.id, TimeBase.CONSENT_ENDED, Period(years=1), 1, changed)
    ended = changed + timedelta(days=99)
    before, after = (
        voice(consents={PERSON: [consent(received=changed + timedelta(days=days), until=ended)]})
        for days in (-1, 1)
    )
    assert due(policy(bound, earlier=(promised,)), before) == end_of(ended, Period(years=1), "UTC")
    assert due(policy(bound, earlier=(promised,)), after) == end_of(ended, Period(years=5), "UTC")


moments = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
periods = st.builds(Period, st.integers(0, 9), st.integers(0, 30), st.integers(0, 400))
zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"]
)


@given(moments, periods, zones)
def test_nothing_is_due_before_its_period_is_over_and_never_a_day_late(moment, period, zone):
    end = end_of(moment, period, zone)

    assert end > moment
    assert last_day(end, zone) >= period.after_date(moment.date() - timedelta(days=1)) - timedelta(days=1)
    assert last_day(end, zone) <= period.after_date(moment.date() + timedelta(days=1))


@given(moments, periods, periods, zones)
def test_a_longer_period_is_never_due_earlier(moment, period, more, zone):
    longer = Period(period.years + more.years, period.months + more.months, period.days + more.days)

    assert end_of(moment, longer, zone) >= end_of(moment, period, zone)


@given(moments, moments, periods, zones)
def test_a_younger_thing_is_never_due_earlier(one, other, period, zone):
    first, second = sorted((one, other))

    assert end_of(first, period, zone) <= end_of(second, period, zone)


@given(st.lists(moments, min_size=1, max_size=4), periods, st.lists(periods, max_size=3), zones)
def test_what_must_be_kept_is_never_due_before_that_and_the_same_is_decided_twice(found, after, keep, zone):
    rules = policy(
        rule(after=str(after)),
        *(replace(rule(after=None, keep=str(each)), id=f"keep-{n}") for n, each in enumerate(keep)),
        timezone=zone,
    )
    facts = voice(kept=[kept(*found)])

    (one,) = decisions(rules, facts)

    for each in keep:
        assert one.delete_due >= end_of(max(found), each, zone)
    assert one.delete_due >= end_of(min(found), after, zone)
    assert one.retain_until is None or one.retain_until <= one.delete_due
    assert decisions(rules, facts) == [one]


@given(
    st.sampled_from(list(Action)),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(["P7D", "P30D"])),
    moments,
    st.sampled_from([Period(), Period(days=5)]),
)
def test_a_hold_or_a_live_use_always_wins(action, held, used, noticed, now, grace):
    states = STATES[action]
    rules = policy(
        replace(rule(action=action, after="P0D"), grace=grace), notices=(Period(days=30), Period(days=7))
    )
    facts = voice(state=states[0], retired_at=START)
    seen = Circumstances(held, ("prod",) if used else (), noticed=dict.fromkeys(noticed, START))

    status = judged(rules, seen, facts, now)

    assert not (status.acts and (held or used))
    assert not (status.acts and "P7D" not in noticed)
    assert not (status.acts and now < decisions(rules, facts)[0].delete_due)


@given(moments, periods, moments)
def test_a_horizon_leaves_out_nothing_that_is_due_by_then(moment, period, horizon):
    rules, facts = policy(rule(after=str(period))), voice(kept=[kept(moment)])

    (one,) = decisions(rules, facts)

    if one.delete_due <= horizon:
        assert decisions(rules, facts, horizon=horizon) == [one]
