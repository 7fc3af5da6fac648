"""Purge rows and the rows that a purge deletes, on a real registry."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.purges import Purge, PurgeState
from lifecycle.domain.subjects import Subject
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, DataClass, Role, State, Version, Voice
from lifecycle.registry.engine import Registry
from lifecycle.registry.outbox import Promise
from lifecycle.registry.queries.purges import Forgotten
from lifecycle.registry.queries.voices import RecordingSet

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ANN, BOB = "a" * 32, "b" * 32
LEAVER, SIBLING = "1" * 32, "2" * 32


class PlainSealer:
    """Marks text instead of encrypting it, so that a test sees what is left of it."""

    def seal_bytes(self, subject_uid: str | None, content: bytes) -> bytes:
        return b"SEALED" + content

    def open_bytes(self, sealed: bytes) -> bytes:
        return sealed[6:]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry.open(tmp_path / "registry.db", sealer=PlainSealer(), clock=lambda: NOW)
    yield made
    made.close()


def voice(uid: str, name: str, *subjects: str) -> Voice:
    return Voice(
        uid, name, State.ACTIVE, "team", "t@example.com", "default", None, NOW, NOW, subject_uids=subjects
    )


def artifact(uid: str, role: Role, digest: str, label: bytes | None = None) -> Artifact:
    return Artifact(
        uid, None, role, CLASS_OF_ROLE[role], Digest("blake3", digest * 64), 10, None, "", {"words": "hello"},
        label, "f" * 64 if label else None, NOW,
    )  # fmt: skip


def fill(registry: Registry, *, shared_person: bool = False) -> None:
    with registry.write() as uow:
        for uid, label in ((ANN, b"SEALEDann-patient-number"), (BOB, b"SEALEDbob-patient-number")):
            uow.subjects.add(Subject(uid, f"s-{uid[:8]}", label, 0, NOW), tag=uid * 2)
        uow.voices.add(voice(LEAVER, "leaver", ANN))
        uow.voices.add(voice(SIBLING, "sibling", *((ANN, BOB) if shared_person else (BOB,))))
        uow.voices.add_artifact(LEAVER, artifact("3" * 32, Role.AUDIO, "3", b"SEALEDann-first-take.wav"))
        uow.voices.add_artifact(LEAVER, artifact("4" * 32, Role.WEIGHTS, "4", b"SEALEDann-model-file.pth"))
        uow.voices.add_artifact(SIBLING, artifact("5" * 32, Role.WEIGHTS, "4"))
        uow.voices.add_set(RecordingSet("6" * 32, LEAVER, ANN, DataClass.SOURCE, "7" * 32, NOW))
        uow.trail.append("register", voice_uid=LEAVER, subject_uid=ANN, details={"path": "ann-in-the-trail"})
        uow.trail.append("note", voice_uid=LEAVER, details={"text": "about-nobody"})
        uow.commit()


def purge(uid: str = "9" * 32) -> Purge:
    return Purge(uid, LEAVER, "purge-audio", PurgeState.PLANNED, {"x": 1}, "sha256:00", None, None, NOW, NOW)


def forgotten(*, leaving: tuple[str, ...] = (ANN,), erased: bool = False) -> Forgotten:
    return Forgotten(LEAVER, ["3" * 32], leaving, erased)


def verdict(*, next_command: str) -> Row:
    return Row(
        "8" * 32, "leaver", "e" * 32, "2.13.0", "cpu", "3.11", "", "", "cpu", "engine", Verdict.BROKEN,
        "leaver is broken", next_command, {}, "bwrap", NOW,
    )  # fmt: skip


def bytes_of(registry: Registry) -> bytes:
    return b"".join(path.read_bytes() for path in registry.path.parent.iterdir())


def test_a_purge_goes_one_step_at_a_time_and_locks_its_voice(registry: Registry) -> None:
    fill(registry)
    with registry.write() as uow:
        uow.purges.add(purge())
        committed = uow.purges.move(purge(), PurgeState.COMMITTED, at=NOW)
        uow.commit()

    with registry.read() as uow:
        assert uow.purges.open_of(LEAVER) == committed
        assert uow.purges.open_of(SIBLING) is None
    with registry.write() as uow, pytest.raises(IntegrityError):
        uow.purges.move(committed, PurgeState.VERIFIED, at=NOW)
    with registry.write() as uow, pytest.raises(IntegrityError, match="no longer planned"):
        uow.purges.move(purge(), PurgeState.ABORTED, at=NOW)


def test_work_is_promised_with_the_rows_and_ticked_off_with_its_result(registry: Registry) -> None:
    fill(registry)
    with registry.write() as uow:
        uow.purges.add(purge())
        for number, action in enumerate(("blobs", "keys")):
            uow.outbox.promise(Promise(f"{number:032x}", purge().uid, action, {"n": number}, NOW))
        uow.commit()
    with registry.write() as uow:
        uow.outbox.done(uow.outbox.of(purge().uid)[0], at=NOW, result={"gone": 3})
        uow.commit()

    with registry.read() as uow:
        first, second = uow.outbox.of(purge().uid)
        assert (first.action, first.done, dict(first.payload)) == ("blobs", True, {"n": 0, "gone": 3})
        assert (second.action, second.done) == ("keys", False)
        assert uow.outbox.count_open() == 1


def test_work_that_was_not_committed_is_not_promised(registry: Registry) -> None:
    fill(registry)
    with registry.write() as uow:
        uow.purges.add(purge())
        uow.outbox.promise(Promise("0" * 32, purge().uid, "blobs", {}, NOW))

    with registry.read() as uow:
        assert uow.purges.all_open() == []
        assert uow.outbox.count_open() == 0


def test_what_is_forgotten_leaves_no_byte_in_the_database_files(registry: Registry) -> None:
    fill(registry)
    with registry.write() as uow:
        assert uow.purges.left_of(forgotten()) > 0
        uow.purges.forget(forgotten(), at=NOW)
        uow.commit()

    assert registry.vacuum() == (0, 0, 0)
    left = bytes_of(registry)
    for gone in (
        b"ann-patient-number",
        b"ann-first-take",
        b"ann-model-file",
        b"ann-in-the-trail",
        b"hello ann",
    ):
        assert gone not in left
    assert b"bob-patient-number" in left
    with registry.read() as uow:
        assert uow.purges.left_of(forgotten()) == 0
        assert [a.role for a in uow.voices.artifacts(LEAVER)] == [Role.WEIGHTS]


def test_the_values_that_will_go_are_named_before_they_go(registry: Registry) -> None:
    fill(registry)
    with registry.read() as uow:
        values = uow.purges.sealed_of(forgotten())

    assert any(b"ann-first-take" in value for value in values)
    assert any(b"ann-in-the-trail" in value for value in values)
    assert not any(b"bob" in value or b"about-nobody" in value for value in values)


def test_a_person_with_another_living_voice_does_not_leave(registry: Registry) -> None:
    fill(registry, shared_person=True)
    with registry.read() as uow:
        assert uow.purges.leaving(LEAVER) == []
    fill_again = sqlite3.connect(registry.path)
    fill_again.execute("UPDATE voices SET state = 'erased' WHERE name = 'sibling'")
    fill_again.commit()
    fill_again.close()
    with registry.read() as uow:
        assert uow.purges.leaving(LEAVER) == [ANN]


def test_an_erased_voice_keeps_a_tombstone_without_its_name(registry: Registry) -> None:
    fill(registry)
    with registry.write() as uow:
        uow.voices.add_version(LEAVER, Version("e" * 32, 1, Digest("blake3", "e" * 64), NOW))
        uow.verdicts.add(verdict(next_command="vlm verify leaver --torch 2.x"), inputs_hash="")
        uow.commit()
    with registry.write() as uow:
        uow.purges.forget(forgotten(erased=True), at=NOW)
        uow.commit()

    registry.vacuum()
    assert b"leaver" not in bytes_of(registry)
    with registry.read() as uow:
        tombstone = uow.voices.by_uid(LEAVER)
        assert tombstone is not None
        assert tombstone.state is State.ERASED
        assert tombstone.name == ""
        assert uow.voices.find("leaver") is None


def test_blobs_are_counted_for_every_voice_that_needs_them(registry: Registry) -> None:
    fill(registry)
    shared, mine = f"blake3:{'4' * 64}", f"blake3:{'3' * 64}"
    with registry.read() as uow:
        assert uow.purges.owners([shared, mine]) == {shared: {LEAVER, SIBLING}, mine: {LEAVER}}
