from __future__ import annotations

from datetime import timedelta

import pytest

from lifecycle.domain.risks import Risk, Severity
from lifecycle.watch.report import Finding, exit_code, grouped, weigh
from lifecycle.watch.snapshot import Accepted, Snapshot

from .test_rules import NOW


def risk(voice: str = "kol-a", name: str = "no-owner", severity: Severity = Severity.NOTICE) -> Risk:
    return Risk(voice, name, severity, name.replace("-", " "), f"vlm show {voice}")


CRITICAL = risk("kol-b", "hash-drift", Severity.CRITICAL)
WARNING = risk("kol-c", "differs", Severity.WARNING)


def weighed(*risks: Risk, accepted: tuple[Accepted, ...] = (), known: tuple[str, ...] = ()) -> list[Finding]:
    return weigh(risks, Snapshot((), NOW, "2.13.0", (), accepted=accepted), known=known)


@pytest.mark.parametrize(
    ("risks", "fail_on", "code"),
    [
        ([], "warning", 0),
        ([risk()], "warning", 0),
        ([WARNING], "warning", 10),
        ([WARNING, CRITICAL], "warning", 11),
        ([WARNING], "critical", 0),
        ([CRITICAL], "critical", 11),
        ([CRITICAL], "never", 0),
    ],
)
def test_the_exit_code_is_the_worst_that_counts(risks, fail_on, code):
    assert exit_code(weighed(*risks), fail_on=fail_on) == code


def test_an_accepted_risk_is_counted_and_not_listed():
    accepted = Accepted("hash-drift", "kol-b", NOW + timedelta(days=1))

    findings = weighed(CRITICAL, accepted=(accepted,))

    assert findings[0].accepted
    assert exit_code(findings) == 0
    assert grouped(findings) == []


@pytest.mark.parametrize(
    "accepted",
    [
        Accepted("hash-drift", "kol-b", NOW),
        Accepted("hash-drift", "kol-a", NOW + timedelta(days=1)),
        Accepted("differs", "kol-b", NOW + timedelta(days=1)),
    ],
)
def test_an_acceptance_ends_and_covers_nothing_else(accepted):
    assert exit_code(weighed(CRITICAL, accepted=(accepted,))) == 11


def test_an_acceptance_without_a_voice_covers_every_voice():
    every = Accepted("hash-drift", None, NOW + timedelta(days=1))

    assert exit_code(weighed(CRITICAL, accepted=(every,))) == 0


def test_what_the_previous_audit_knew_is_not_new_unless_it_grew_worse():
    known = weighed(WARNING)[0].key
    worse = Risk(WARNING.voice, WARNING.risk, Severity.CRITICAL, "", "vlm doctor")

    assert [f.new for f in weighed(WARNING, worse, CRITICAL, known=(known,))] == [False, True, True]


def test_notices_are_folded_and_two_critical_voices_are_not():
    other = risk("kol-d", "hash-drift", Severity.CRITICAL)

    groups = grouped(weighed(CRITICAL, other, *(risk(f"kol-{i}") for i in range(200))))

    assert [group.who for group in groups] == ["kol-b", "kol-d", "200 voices"]


def test_many_voices_with_one_cause_are_one_line():
    groups = grouped(weighed(*(risk(f"kol-{i}", "differs", Severity.WARNING) for i in range(9))))

    assert [(group.who, len(group.voices)) for group in groups] == [("9 voices", 9)]


def test_a_finding_without_a_voice_is_about_this_machine():
    assert grouped(weighed(risk("", "clock", Severity.CRITICAL)))[0].who == "this machine"
