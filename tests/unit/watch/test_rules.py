from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.risks import Risk, Severity
from lifecycle.domain.subjects import Consent
from lifecycle.domain.time_bases import Facts, Kept, Span
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.domain.voices import DataClass, State
from lifecycle.services.retention.files import load_policy
from lifecycle.watch.rules import RISKS, command_of, find_risks
from lifecycle.watch.snapshot import Damage, Snapshot, VoiceFacts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = load_policy("default")
COMMANDS = frozenset(
    {
        "vlm retire",
        "vlm show",
        "vlm verify",
        "vlm lock",
        "vlm register",
        "vlm doctor",
        "vlm golden record",
        "vlm policy plan",
        "vlm policy explain",
    }
)
SOUND = VoiceFacts(
    "kol-a", State.ACTIVE, POLICY, NOW - timedelta(days=1), owner="video", golden="recorded", lock="full"
)
HELD = replace(SOUND, recordings_since=NOW - timedelta(days=200), subjects=1)


def consent(*, until: int | None = 400, received: int = -300, withdrawn: int | None = None) -> Consent:
    def moment(days: int | None) -> datetime | None:
        return None if days is None else NOW + timedelta(days=days)

    return Consent(
        "c" * 32, "s" * 32, "all", moment(until), NOW + timedelta(days=received), None, moment(withdrawn)
    )


def facts(state: State, data_class: DataClass, *, days: int) -> Facts:
    """What a voice holds of one class since some days."""
    since = NOW - timedelta(days=days)
    span = Span(since, since)
    return Facts("v" * 32, state, None, True, since, since, kept=[Kept(data_class, 1, 1, span, span, 1)])


def row(verdict: Verdict, *, torch: str = "2.13.0", age: int = 0, ran: bool = True) -> Row:
    return Row(
        uid="r" * 32,
        voice="kol-a",
        version_uid="v" * 32,
        torch=torch,
        build="cpu",
        python="3.11.7",
        lock_hash="",
        engine_hash="",
        device="cpu",
        code="engine",
        verdict=verdict,
        reason="",
        next=None,
        detail={"ran": ran},
        sandbox="bwrap",
        at=NOW - timedelta(days=age),
    )


def found(*voices: VoiceFacts, commands: frozenset[str] = COMMANDS, **changes: object) -> dict[str, Risk]:
    snapshot = Snapshot(voices, NOW, "2.13.0", commands, runtimes=("2.13.0",), **changes)  # type: ignore[arg-type]
    return {risk.risk: risk for risk in find_risks(snapshot)}


def test_a_sound_voice_has_no_risk():
    assert found(SOUND) == {}
    assert found(replace(HELD, consents=[consent()])) == {}


@pytest.mark.parametrize(
    ("voice", "risk"),
    [
        (replace(SOUND, damage=[Damage("weights", "changed")]), "hash-drift"),
        (replace(SOUND, damage=[Damage("weights", "missing")]), "missing-artifact"),
        (replace(HELD, subjects=0), "recordings-without-subject"),
        (HELD, "recordings-without-consent"),
        (replace(HELD, consents=[consent(until=-24)]), "consent-expired"),
        (replace(HELD, consents=[consent(withdrawn=-1)]), "consent-withdrawn"),
        (replace(SOUND, checked=[row(Verdict.BROKEN)]), "broken"),
        (replace(SOUND, checked=[row(Verdict.CRASHED)]), "broken"),
    ],
)
def test_what_cannot_wait_is_critical(voice, risk):
    (one,) = found(voice).values()

    assert (one.risk, one.severity) == (risk, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("voice", "risk"),
    [
        (replace(SOUND, checked=[row(Verdict.DIFFERS)]), "differs"),
        (replace(SOUND, checked=[row(Verdict.BROKEN, torch="2.15.0")]), "broken"),
        (replace(HELD, consents=[consent(until=10)]), "consent-due-soon"),
        (replace(SOUND, registered_at=NOW - timedelta(days=91)), "not-verified"),
        (
            replace(SOUND, registered_at=NOW - timedelta(days=300), checked=[row(Verdict.WORKS, age=91)]),
            "not-verified",
        ),
        (replace(SOUND, golden="pending"), "golden-pending"),
        (replace(SOUND, policy_lost="is gone"), "no-policy"),
        (replace(SOUND, unfinished_purge=True), "unfinished-purge"),
        (
            replace(SOUND, retention=facts(State.ACTIVE, DataClass.SOURCE, days=6 * 365)),
            "recordings-past-policy",
        ),
        (
            replace(SOUND, state=State.RETIRED, retention=facts(State.RETIRED, DataClass.MODEL, days=100)),
            "past-policy",
        ),
    ],
)
def test_what_must_be_done_soon_is_a_warning(voice, risk):
    (one,) = found(voice).values()

    assert (one.risk, one.severity) == (risk, Severity.WARNING)


@pytest.mark.parametrize(
    ("voice", "risk"), [(replace(SOUND, lock="none"), "no-lock"), (replace(SOUND, owner=None), "no-owner")]
)
def test_what_would_be_better_is_a_notice(voice, risk):
    (one,) = found(voice).values()

    assert (one.risk, one.severity) == (risk, Severity.NOTICE)


def test_a_lock_that_no_longer_resolves_names_what_is_lost_and_how_to_look():
    (one,) = found(replace(SOUND, lock_lost=["torch 2.6.0+cu124", "mine 0.1"])).values()

    assert (one.risk, one.severity) == ("lock-unresolvable", Severity.WARNING)
    assert one.message == "its lock no longer resolves from wheels: torch 2.6.0+cu124 and 1 more"
    assert one.next == f"vlm lock {SOUND.name} --check"


def test_a_voice_of_one_s_own_needs_no_consent():
    assert found(replace(HELD, own_voice=True, subjects=0)) == {}


def test_a_newer_consent_heals_a_withdrawal_and_an_older_one_does_not():
    withdrawn = consent(withdrawn=-10)

    assert found(replace(HELD, consents=[withdrawn, consent(received=-5)])) == {}
    assert "consent-withdrawn" in found(replace(HELD, consents=[withdrawn, consent(received=-50)]))


def test_the_consent_that_lasts_longest_counts():
    assert found(replace(HELD, consents=[consent(until=-1), consent(until=300)])) == {}
    assert found(replace(HELD, consents=[consent(until=5), consent(until=None)])) == {}


def test_a_risk_whose_cure_is_not_installed_is_not_reported():
    bare = replace(SOUND, image=False, export=False, pickled_only=True)

    assert found(bare) == {}
    assert set(found(bare, commands=COMMANDS | {"vlm image build"})) == {"no-image"}


def test_a_retired_voice_is_asked_about_its_recordings_and_not_about_torch():
    retired = replace(HELD, state=State.RETIRED, checked=[row(Verdict.BROKEN)], owner=None)

    assert set(found(retired)) == {"recordings-without-consent"}


def test_a_mute_voice_is_not_asked_for_a_golden_or_a_verdict():
    mute = replace(SOUND, mute=True, golden="pending", registered_at=NOW - timedelta(days=900))

    assert found(mute) == {}


def test_a_voice_without_consent_is_not_asked_for_what_may_not_be_done():
    ended = replace(SOUND, consented=False, golden="pending", registered_at=NOW - timedelta(days=900))

    assert found(ended) == {}


def test_a_row_for_which_nothing_ran_does_not_count_as_verified():
    tried = replace(
        SOUND, registered_at=NOW - timedelta(days=100), checked=[row(Verdict.NOT_CHECKED, ran=False)]
    )
    loaded = replace(tried, checked=[row(Verdict.NOT_CHECKED, ran=True)])

    assert set(found(tried)) == {"not-verified"}
    assert found(loaded) == {}


def test_without_a_runtime_a_pending_golden_is_no_risk_that_could_be_cured():
    snapshot = Snapshot([replace(SOUND, golden="pending")], NOW, "2.13.0", COMMANDS)

    assert find_risks(snapshot) == []


@pytest.mark.parametrize(
    ("ahead", "severity"),
    [
        (timedelta(seconds=-1), Severity.CRITICAL),
        (timedelta(hours=47), None),
        (timedelta(hours=49), Severity.NOTICE),
    ],
)
def test_a_clock_that_went_back_or_leapt_ahead_is_reported(ahead, severity):
    risks = found(SOUND, highest_seen=NOW - ahead)

    assert [risk.severity for risk in risks.values()] == ([severity] if severity else [])


def test_the_worst_comes_first():
    snapshot = Snapshot(
        [
            replace(SOUND, name="a", owner=None),
            replace(SOUND, name="b", damage=[Damage("weights", "changed")]),
        ],
        NOW,
        "2.13.0",
        COMMANDS,
    )

    assert [risk.voice for risk in find_risks(snapshot)] == ["b", "a"]


@given(
    st.lists(
        st.builds(
            consent,
            until=st.none() | st.integers(-500, 500),
            received=st.integers(-500, 0),
            withdrawn=st.none() | st.integers(-500, 0),
        ),
        max_size=4,
    )
)
def test_recordings_are_quiet_only_under_a_consent_that_holds(consents):
    risks = found(replace(HELD, consents=consents))
    critical = [risk for risk in risks.values() if risk.severity is Severity.CRITICAL]

    if not critical:
        assert any(one.holds_at(NOW) for one in consents)
    if not any(one.holds_at(NOW) for one in consents):
        assert critical


@pytest.mark.parametrize("risk", RISKS)
def test_every_risk_has_a_line(risk):
    assert RISKS[risk]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("vlm verify kol-a --torch 2.13", "vlm verify"),
        ("vlm golden record kol-a", "vlm golden record"),
        ("vlm show golden", "vlm show"),
        ("vlm doctor", "vlm doctor"),
    ],
)
def test_the_command_of_a_line_is_known_without_its_names(line, command):
    assert command_of(line) == command
