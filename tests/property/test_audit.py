"""An audit that only looks at the voices that could be at risk finds what one that looks at every voice finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lifecycle.bootstrap import Rooms
from lifecycle.domain.digest import Digest
from lifecycle.domain.filters import ALL, GROUPS, VoiceFilter
from lifecycle.domain.policies import (
    NEVER_MISSING,
    STATES,
    Action,
    AppliesTo,
    IfMissing,
    Period,
    Policy,
    Rule,
    TimeBase,
)
from lifecycle.domain.purges import Purge, PurgeState
from lifecycle.domain.risks import Severity
from lifecycle.domain.subjects import WITHDRAWAL, Case, Consent, Hold, Subject
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, DataClass, Role, State, Version, Voice
from lifecycle.registry.queries.risks import AcceptedRow
from lifecycle.registry.unit_of_work import UnitOfWork
from lifecycle.services.audits import look as audit_look
from lifecycle.services.audits.facts import Context, voice_facts
from lifecycle.services.audits.look import Question, look, note
from lifecycle.watch.rules import RISKS, machine_risks, notices_of, risks_of
from lifecycle.watch.snapshot import Snapshot
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
COMMANDS = frozenset({"vlm retire", "vlm show", "vlm verify", "vlm register", "vlm doctor", "vlm golden record",
                      "vlm image build", "vlm export", "vlm migrate", "vlm policy plan", "vlm lock",
                      "vlm subject show", "vlm unhold"})  # fmt: skip
PEOPLE = ("1" * 32, "2" * 32)
DIGESTS = tuple(Digest("blake3", digit * 64) for digit in "abcdef")
KINDS = (
    "vlm-voice",
    "vlm-speaker",
    "gpt-sovits-gpt",
    "torchscript",
    "torch-zip",
    "safetensors",
    "pickle",
    "audio",
)


def mostly(sound: Any, otherwise: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A sound value three times out of four: a voice with one flaw shows more than one with many."""
    return st.integers(0, 3).flatmap(lambda n: otherwise if n == 0 else st.just(sound))


ages = st.sampled_from([0, 1, 6, 7, 29, 30, 31, 89, 90, 91, 200, 365, 400, 1827])
moments = ages.map(lambda days: NOW - timedelta(days=days))
maybe_moments = st.none() | moments
ends = st.none() | st.sampled_from([-400, -1, 0, 1, 29, 30, 31, 400]).map(lambda d: NOW + timedelta(days=d))


@st.composite
def rules(draw: st.DrawFn, number: int) -> Rule:
    action, base = draw(st.sampled_from(list(Action))), draw(st.sampled_from(list(TimeBase)))
    states = [s for s in STATES[action] if base is not TimeBase.RETIRED or s is State.RETIRED] or [
        State.RETIRED
    ]
    return Rule(
        id=f"rule-{number}",
        applies_to=AppliesTo(
            classes=tuple(draw(st.sets(st.sampled_from(list(DataClass)), min_size=1))),
            states=tuple(draw(st.sets(st.sampled_from(states), min_size=1))),
            owners=draw(st.sampled_from([(), ("video",)])),
        ),
        time_base=base,
        if_time_base_missing=IfMissing.OLDEST
        if base in NEVER_MISSING
        else draw(st.sampled_from(list(IfMissing))),
        delete_after=draw(st.sampled_from([Period(), Period(days=30), Period(months=3), Period(years=5)])),
        action=action,
    )


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Policy]:
    def one(name: str) -> Policy:
        return Policy(
            name=name, version=1, owner="x", legal_basis="x",
            timezone=draw(st.sampled_from(["UTC", "Asia/Shanghai", "America/Los_Angeles"])),
            rules=tuple(draw(rules(n)) for n in range(draw(st.integers(0, 3)))),
            consent_due_days=draw(st.sampled_from([0, 30])), verify_every_days=draw(st.sampled_from([1, 90])),
        )  # fmt: skip

    return {name: one(name) for name in ("default", "strict")}


artifacts = st.fixed_dictionaries(
    {
        "role": st.sampled_from(
            [Role.WEIGHTS, Role.WEIGHTS, Role.AUDIO, Role.EMBEDDING, Role.LOCKFILE, *Role]
        ),
        "kind": st.sampled_from(KINDS),
        "version": st.sampled_from([None, 0, 1]),
        "digest": mostly(DIGESTS[0], st.sampled_from(DIGESTS)),
        "added_at": mostly(NOW, moments),
        "recorded_at": mostly(NOW, maybe_moments),
        "present": mostly(True, st.booleans()),
        "facts": st.sampled_from(
            [
                {},
                {"pinned": 3, "packages": 3},
                {"pinned": 2, "packages": 3},
                {"pinned": 3, "packages": 3, "resolves": {"verdict": "broken", "packages": ["torch"]}},
                {"pinned": 3, "packages": 3, "resolves": {"verdict": "works", "packages": []}},
            ]
        ),
    }
)
verdicts = st.fixed_dictionaries(
    {
        "version": st.sampled_from([0, 1]),
        "torch": st.sampled_from(["2.13.0", "2.15.0"]),
        "verdict": mostly(Verdict.WORKS, st.sampled_from(list(Verdict))),
        "at": mostly(NOW, moments),
        "detail": mostly({"ran": True}, st.sampled_from([{}, {"ran": False}])),
    }
)
consents = st.fixed_dictionaries(
    {
        "subject_uid": st.sampled_from(PEOPLE),
        "voice": st.sampled_from([None, 0, 1, 2]),
        "received_at": moments,
        "valid_from": mostly(None, maybe_moments | st.just(NOW + timedelta(days=3))),
        "valid_until": mostly(None, ends),
        "withdrawn_at": mostly(None, maybe_moments),
        "renews": st.booleans(),
    }
)
voices = st.fixed_dictionaries(
    {
        "state": mostly(State.ACTIVE, st.sampled_from([State.DEPRECATED, State.RETIRED])),
        "owner": st.sampled_from([None, "", "video"]),
        "policy": st.sampled_from(["default", "strict"]),
        "upstream": st.sampled_from([None, "https://example.com/x"]),
        "created_at": mostly(NOW, moments),
        "changed_at": mostly(NOW, moments),
        "mute": mostly(False, st.booleans()),
        "own_voice": mostly(False, st.booleans()),
        "subject_uids": mostly(
            PEOPLE[:1], st.sets(st.sampled_from(PEOPLE)).map(lambda chosen: tuple(sorted(chosen)))
        ),
        "last_used_at": mostly(NOW, maybe_moments),
        "retired_at": mostly(NOW, maybe_moments),
        "contract_ends_at": mostly(NOW, maybe_moments),
    }
)
registries = st.fixed_dictionaries(
    {
        "voices": st.lists(
            st.tuples(
                voices,
                st.lists(artifacts, max_size=5),
                st.lists(verdicts, max_size=3).map(lambda rows: sorted(rows, key=lambda row: row["at"])),
                st.sampled_from(["one", "two", "second withdrawn", "first withdrawn"]),
                mostly(False, st.booleans()),
            ),
            min_size=1,
            max_size=6,
        ),
        "consents": st.lists(consents, max_size=4),
        "consented": mostly(True, st.booleans()),
        "cases": st.lists(
            st.tuples(st.sampled_from(PEOPLE), st.integers(-9, 12), mostly(False, st.booleans())), max_size=1
        ),
        "holds": st.lists(
            st.tuples(st.sampled_from([0, 1, *PEOPLE]), st.integers(-3, 3), st.booleans()), max_size=1
        ),
        "accepted": st.lists(
            st.tuples(st.sampled_from(sorted(RISKS)), st.sampled_from([None, 0, 1])), max_size=3
        ),
        "damaged": st.dictionaries(
            st.sampled_from(DIGESTS).map(str), st.sampled_from(["changed", "missing"]), max_size=2
        ),
        "policies": policies(),
        "lost": st.dictionaries(st.sampled_from(["default", "strict"]), st.just("is gone"), max_size=1),
        "runtimes": st.sampled_from([[], ["2.13.0"]]),
    }
)


def uid(kind: int, number: int) -> str:
    return f"{kind:x}{number:031x}"


def fill(uow: UnitOfWork, made: dict[str, Any]) -> list[str]:
    """Store a random registry in a transaction that nobody commits."""
    for person in PEOPLE:
        uow.subjects.add(Subject(person, f"s-{person[:8]}", None, 0, NOW), tag=None)
    names = [uid(3, number) for number in range(len(made["voices"]))]
    for number, (told, files, ran, shape, purged) in enumerate(made["voices"]):
        uow.voices.add(Voice(uid=names[number], name=f"voice-{number}", contact=None, **told))
        _versions(uow, number, names[number], files, ran, shape)
        if purged:
            uow.purges.add(
                Purge(uid(4, number), names[number], "purge-audio", PurgeState.PLANNED, {}, "sha256:0", None,
                      None, NOW, NOW)
            )  # fmt: skip
    if made["consented"]:
        given = Consent(uid(12, 0), PEOPLE[0], "speak", None, NOW - timedelta(days=9), None)
        uow.subjects.add_consent(given, voice_uid=None)
    for number, told in enumerate(made["consents"]):
        _consent(uow, number, dict(told), names)
    for number, (person, days, is_open) in enumerate(made["cases"]):
        uow.cases.add(
            Case(uid=uid(6, number), subject_uid=person, voice_uid=None, kind=WITHDRAWAL, received_on=date(2026, 11, 1),
                 due_on=NOW.date() + timedelta(days=days), opened_at=NOW, closed_at=None if is_open else NOW)
        )  # fmt: skip
    for number, (whose, days, active) in enumerate(made["holds"]):
        if isinstance(whose, int) and whose >= len(names):
            continue
        on = {"voice_uid": names[whose], "subject_uid": None} if isinstance(whose, int) else {
            "voice_uid": None, "subject_uid": whose}  # fmt: skip
        uow.subjects.add_hold(
            Hold(uid=uid(7, number), reason=b"x", placed_at=NOW, released_at=None if active else NOW,
                 review_on=NOW.date() + timedelta(days=days), **on)
        )  # fmt: skip
    return names


def _versions(uow: UnitOfWork, number: int, voice: str, files: Any, ran: Any, shape: str) -> None:
    versions = [uid(8, number * 2 + n) for n in range(1 if shape == "one" else 2)]
    for n, version in enumerate(versions):
        gone = NOW if shape == ("first withdrawn", "second withdrawn")[n] else None
        uow.voices.add_version(voice, Version(version, n + 1, DIGESTS[n], NOW, gone))
    for n, told in enumerate(files):
        version = None if told["version"] is None else versions[min(told["version"], len(versions) - 1)]
        rest = {key: value for key, value in told.items() if key != "version"}
        uow.voices.add_artifact(
            voice,
            Artifact(
                uid=uid(9, number * 10 + n), version_uid=version, data_class=CLASS_OF_ROLE[told["role"]],
                size_bytes=1, key_id=None, label=None, fingerprint=None, **rest,
            ),
        )  # fmt: skip
    for n, told in enumerate(ran):
        uow.verdicts.add(
            Row(
                uid=uid(10, number * 10 + n), voice="", version_uid=versions[min(told["version"], len(versions) - 1)],
                torch=told["torch"], build="cpu", python="3.11", lock_hash="x", engine_hash="x", device="cpu",
                code="engine", verdict=told["verdict"], reason="", next=None, detail=told["detail"], sandbox="none",
                at=told["at"],
            ),
            inputs_hash="x",
        )  # fmt: skip


def _consent(uow: UnitOfWork, number: int, told: dict[str, Any], names: list[str]) -> None:
    which, renews = told.pop("voice"), told.pop("renews")
    voice = names[which] if which is not None and which < len(names) else None
    before = uid(5, number - 1) if renews and number else None
    consent = Consent(uid=uid(5, number), scope="speak", evidence_uid=None, renews_uid=before, **told)
    uow.subjects.add_consent(consent, voice_uid=voice)


def question(made: dict[str, Any], names: list[str], **more: Any) -> Question:
    accepted = [
        AcceptedRow(
            uid(11, n), risk, None if which is None else names[which], NOW + timedelta(days=9), b"", NOW
        )
        for n, (risk, which) in enumerate(made["accepted"])
        if which is None or which < len(names)
    ]
    asked = Question(
        snapshot=Snapshot((), NOW, "2.13.0", COMMANDS, runtimes=made["runtimes"], highest_seen=NOW),
        policies=made["policies"],
        policies_lost=made["lost"],
        accepted=accepted,
        damaged=made["damaged"],
        wanted=ALL,
        only_new=False,
        group_by=None,
        limit=1000,
    )
    return replace(asked, **more)


def everything(asked: Question, uow: UnitOfWork) -> list[tuple[Any, ...]]:
    """Look at every voice, one by one: what the rules say when nobody chose for them."""
    context = Context(
        asked.damaged, uow.cases.open_by_voice(), uow.cases.reviews_by_voice(), asked.policies_lost
    )
    found = [(None, risk) for risk in machine_risks(asked.snapshot)]
    for looked in uow.audits.look(range(1, 1000)):
        if asked.wanted.matches(looked.voice):
            policy = asked.policies[looked.voice.policy]
            facts = voice_facts(looked, policy, now=NOW, context=context)
            found += [(looked, risk) for risk in risks_of(facts, asked.snapshot)]
    return found


def lived_with(risk: Any, looked: Any, asked: Question) -> bool:
    whose = {None, None if looked is None else looked.voice.uid}
    return any(row.risk == risk.risk and row.voice_uid in whose for row in asked.accepted)


def said(risk: Any) -> tuple[str, str, str, str]:
    return risk.voice, risk.risk, risk.severity.value, risk.message


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    folder: Path = tmp_path_factory.mktemp("registry")
    with session(folder, now=NOW) as opened:
        yield opened


# Shrinking a whole registry takes minutes and rarely says more.
MANY = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@MANY
@given(made=registries)
def test_what_is_looked_at_closely_is_all_that_could_be_found(rooms: Rooms, made: dict[str, Any]) -> None:
    with rooms.registry.write() as uow:
        asked = question(made, fill(uow, made))
        truth, answer = everything(asked, uow), look(asked, uow=uow)
        suspects = audit_look.suspects(asked, uow=uow)

        serious = {looked.id for looked, risk in truth if looked and risk.severity is not Severity.NOTICE}
        assert serious <= suspects
        assert sorted(said(f.risk) for f in answer.findings()) == sorted(said(risk) for _, risk in truth)
        assert sorted(said(f.risk) for f in answer.reported()) == sorted(
            said(risk) for looked, risk in truth if not lived_with(risk, looked, asked)
        )


@MANY
@given(
    made=registries,
    wanted=st.sampled_from(
        [ALL, VoiceFilter(owner=""), VoiceFilter(owner="video"), VoiceFilter(states=(State.RETIRED,)),
         VoiceFilter(subject_uid=PEOPLE[0]), VoiceFilter(upstream=""), VoiceFilter(policy="strict"),
         VoiceFilter(names=("voice-0", "voice-2"))]
    ),
    by=st.sampled_from(GROUPS),
    limit=st.sampled_from([1, 2, 1000]),
)  # fmt: skip
def test_numbers_are_exact_whatever_is_listed(
    rooms: Rooms, made: dict[str, Any], wanted: VoiceFilter, by: str, limit: int
) -> None:
    with rooms.registry.write() as uow:
        asked = question(made, fill(uow, made), wanted=wanted, group_by=by, limit=limit)
        truth, answer = everything(asked, uow), look(asked, uow=uow)

        def number(severity: str, key: str) -> int:
            return sum(
                1
                for looked, risk in truth
                if risk.severity.value == severity
                and risk.risk == key
                and not lived_with(risk, looked, asked)
            )

        for tally in answer.tallies():
            told = [risk for _, risk in truth if (risk.risk, risk.severity) == (tally.risk, tally.severity)]
            assert tally.found == len(told)
            assert tally.reported == tally.new == number(tally.severity.value, tally.risk)
            assert tally.not_listed == max(0, tally.reported - limit)
        assert {t.risk for t in answer.tallies()} == {risk.risk for _, risk in truth}
        if by != "subject":
            assert sum(s.critical + s.warning + s.notice for s in answer.sections()) == sum(
                1 for looked, risk in truth if looked and not lived_with(risk, looked, asked)
            )
            assert sum(s.voices for s in answer.sections()) == answer.voices


@MANY
@given(made=registries, limit=st.sampled_from([1, 1000]))
def test_what_was_found_once_is_not_new_and_what_is_gone_is_forgotten(
    rooms: Rooms, made: dict[str, Any], limit: int
) -> None:
    with rooms.registry.write() as uow:
        names = fill(uow, made)
        first = question(made, names, limit=limit)
        note(first, look(first, uow=uow), uow=uow)

        again = look(replace(first, only_new=True), uow=uow)
        assert [tally for tally in again.tallies() if tally.new or tally.reported] == []
        assert again.reported() == []
        note(first, look(first, uow=uow), uow=uow)
        assert [t for t in look(first, uow=uow).tallies() if t.new] == []

        sound = replace(first, damaged={}, snapshot=replace(first.snapshot, commands=frozenset()))
        note(sound, look(sound, uow=uow), uow=uow)
        assert uow.findings.of_voices(ALL, without=[Severity.NOTICE.value]) == []


def test_every_notice_of_the_rules_can_be_counted(rooms: Rooms) -> None:
    from lifecycle.registry.queries.candidates import notices

    policy = Policy("default", 1, "x", "x", "UTC", (), 30, 90)
    snapshot = Snapshot((), NOW, "2.13.0", COMMANDS)
    assert set(notices_of(snapshot, policy)) == set(notices(audit_look.KINDS))
