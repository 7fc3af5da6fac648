"""Each risk alone makes a voice one that an audit looks at: no condition of the questions can be left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.policies import Policy
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import Role, State
from tests.property.test_audit import DIGESTS, NOW, PEOPLE, audit_look, fill, look, question
from tests.rooms import session


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    with session(tmp_path_factory.mktemp("registry"), now=NOW) as opened:
        yield opened


def a_voice(**told: Any) -> dict[str, Any]:
    return {"state": State.ACTIVE, "owner": "video", "policy": "default", "upstream": None, "created_at": NOW,
            "changed_at": NOW, "mute": False, "own_voice": True, "subject_uids": PEOPLE[:1], "last_used_at": NOW,
            "retired_at": None, "contract_ends_at": None, **told}  # fmt: skip


def a_file(role: Role, kind: str = "audio", **told: Any) -> dict[str, Any]:
    return {"role": role, "kind": kind, "version": None, "digest": DIGESTS[0], "added_at": NOW,
            "recorded_at": NOW, "present": True, "facts": {}, **told}  # fmt: skip


def a_run(verdict: Verdict = Verdict.WORKS, **told: Any) -> dict[str, Any]:
    return {
        "version": 0, "torch": "2.13.0", "verdict": verdict, "at": NOW, "detail": {"ran": True}, **told,
    }  # fmt: skip


SPEAKS = [a_file(Role.WEIGHTS, audit_look.KINDS.voice), a_file(Role.EMBEDDING, audit_look.KINDS.speaker)]
LOST = {"pinned": 3, "packages": 3, "resolves": {"verdict": "broken", "packages": ["torch"]}}
OLD = NOW - timedelta(days=400)


@pytest.mark.parametrize(
    ("word", "told", "files", "ran", "consents"),
    [
        ("recordings-without-consent", {"own_voice": False}, [a_file(Role.AUDIO)], [], []),
        ("consent-withdrawn", {"own_voice": False}, [a_file(Role.REFERENCE)], [], [{"withdrawn_at": NOW}]),
        ("consent-due-soon", {"own_voice": False}, [a_file(Role.AUDIO)], [],
         [{"valid_until": NOW + timedelta(days=9)}]),
        ("broken", {}, SPEAKS, [a_run(Verdict.BROKEN)], []),
        ("broken", {}, SPEAKS, [a_run(Verdict.CRASHED)], []),
        ("differs", {}, SPEAKS, [a_run(Verdict.DIFFERS)], []),
        ("not-verified", {"created_at": OLD}, SPEAKS, [], []),
        ("not-verified", {"created_at": OLD}, SPEAKS, [a_run(), a_run(detail={})], []),
        ("not-verified", {}, SPEAKS, [a_run(at=OLD)], []),
        ("golden-pending", {}, SPEAKS, [a_run()], []),
        ("lock-unresolvable", {}, [a_file(Role.LOCKFILE, facts=LOST)], [], []),
    ],
)  # fmt: skip
def test_each_risk_alone_makes_a_suspect(
    rooms: Rooms, word: str, told: Any, files: Any, ran: Any, consents: Any
) -> None:
    given = {"subject_uid": PEOPLE[0], "voice": None, "received_at": OLD, "valid_from": None,
             "valid_until": None, "withdrawn_at": None, "renews": False}  # fmt: skip
    made = {"voices": [(a_voice(**told), files, ran, "one", False)], "consented": False, "cases": [], "holds": [],
            "consents": [{**given, **each} for each in consents], "accepted": [], "damaged": {}, "lost": {},
            "policies": {"default": Policy("default", 1, "x", "x", "UTC", (), 30, 90)},
            "runtimes": ["2.13.0"] if word == "golden-pending" else []}  # fmt: skip
    with rooms.registry.write() as uow:
        asked = question(made, fill(uow, made))
        assert audit_look.suspects(asked, uow=uow), "no notice made it one"
        assert word in {finding.risk.risk for finding in look(asked, uow=uow).findings()}


def test_a_newer_lock_that_fixes_less_is_what_counts(rooms: Rooms) -> None:
    locks = [a_file(Role.LOCKFILE, facts={"pinned": n, "packages": 3}) for n in (3, 2)]
    made = {"voices": [(a_voice(), locks, [], "one", False)], "consented": False, "cases": [], "holds": [],
            "consents": [], "accepted": [], "damaged": {}, "lost": {}, "runtimes": [],
            "policies": {"default": Policy("default", 1, "x", "x", "UTC", (), 30, 90)}}  # fmt: skip
    with rooms.registry.write() as uow:
        found = look(question(made, fill(uow, made)), uow=uow).tallies()
        assert {tally.risk: tally.found for tally in found}["no-lock"] == 1
