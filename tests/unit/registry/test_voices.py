"""Voices, people and their rows, as services meet them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound
from lifecycle.domain.subjects import Consent, Hold, Subject
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, DataClass, Role, State, Version, Voice
from lifecycle.registry.engine import Registry
from lifecycle.registry.queries.jobs import Job
from lifecycle.registry.queries.voices import RecordingSet

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


def uid(letter: str) -> str:
    return letter * 32


def voice(name: str, letter: str, **more: object) -> Voice:
    values: dict[str, object] = {
        "uid": uid(letter), "name": name, "state": State.ACTIVE, "owner": None, "contact": None,
        "policy": "default", "upstream": None, "created_at": NOW, "changed_at": NOW, **more,
    }  # fmt: skip
    return Voice(**values)  # type: ignore[arg-type]


def artifact(letter: str, role: Role, **more: object) -> Artifact:
    values: dict[str, object] = {
        "uid": uid(letter), "version_uid": None, "role": role, "data_class": CLASS_OF_ROLE[role],
        "digest": Digest("blake3", letter * 64), "size_bytes": 7, "key_id": None, "kind": "x", "facts": {},
        "label": None, "fingerprint": None, "added_at": NOW, **more,
    }  # fmt: skip
    return Artifact(**values)  # type: ignore[arg-type]


def person(letter: str) -> Subject:
    return Subject(uid(letter), f"s-{letter * 8}", b"sealed", 0, NOW)


def test_a_voice_comes_back_as_it_was_stored(registry: Registry) -> None:
    stored = voice("kol-lin", "a", owner="video", own_voice=True, subject_uids=(uid("b"),), facts={"n": 1})
    with registry.write() as uow:
        uow.subjects.add(person("b"), tag="t")
        uow.voices.add(stored)
        uow.commit()

    with registry.read() as uow:
        assert uow.voices.get("kol-lin") == stored
        assert uow.voices.all() == [stored]
        assert uow.subjects.voices_of(uid("b")) == [uid("a")]


def test_a_name_that_is_nearly_right_is_proposed(registry: Registry) -> None:
    with registry.write() as uow:
        uow.voices.add(voice("kol-lin", "a"))
        uow.commit()

    with registry.read() as uow, pytest.raises(NotFound) as caught:
        uow.voices.get("kol-lim")

    assert caught.value.hint == "did you mean: vlm show kol-lin"


def test_two_voices_cannot_have_one_name(registry: Registry) -> None:
    with registry.write() as uow:
        uow.voices.add(voice("kol-lin", "a"))
        uow.commit()

    with pytest.raises(IntegrityError, match="contradict"), registry.write() as uow:
        uow.voices.add(voice("kol-lin", "b"))


def test_erased_voices_lose_their_name_and_may_be_many(registry: Registry) -> None:
    with registry.write() as uow:
        for letter in "ab":
            uow.voices.add(voice("", letter, state=State.ERASED))
        uow.commit()

    with registry.read() as uow:
        assert [v.name for v in uow.voices.all()] == ["", ""]
        assert uow.voices.all(states=(State.ACTIVE,)) == []
        assert uow.voices.find("") is None


def test_the_newest_version_that_was_not_withdrawn_is_current(registry: Registry) -> None:
    with registry.write() as uow:
        uow.voices.add(voice("kol-lin", "a"))
        for number, withdrawn in ((1, None), (2, None), (3, NOW)):
            version = Version(uid(str(number)), number, Digest("blake3", "c" * 64), NOW, withdrawn)
            uow.voices.add_version(uid("a"), version)
        uow.commit()

    with registry.read() as uow:
        assert uow.voices.current(uid("a")).number == 2
        assert [v.number for v in uow.voices.versions(uid("a"))] == [1, 2, 3]


def test_artifacts_are_found_by_role_version_presence_and_bytes(registry: Registry) -> None:
    version = Version(uid("9"), 1, Digest("blake3", "c" * 64), NOW)
    with registry.write() as uow:
        uow.voices.add(voice("kol-lin", "a"))
        uow.voices.add(voice("kol-mei", "b"))
        uow.voices.add_version(uid("a"), version)
        uow.voices.add_artifact(uid("a"), artifact("1", Role.WEIGHTS, version_uid=uid("9")))
        uow.voices.add_artifact(
            uid("a"), artifact("2", Role.AUDIO, key_id=uid("k"), fingerprint="f", label=b"l")
        )
        uow.voices.add_artifact(uid("b"), artifact("3", Role.WEIGHTS, digest=Digest("blake3", "1" * 64)))
        uow.voices.mark_destroyed([uid("2")])
        uow.commit()

    with registry.read() as uow:
        assert [a.uid for a in uow.voices.artifacts(uid("a"))] == [uid("1")]
        assert [a.uid for a in uow.voices.artifacts(uid("a"), version_uid=uid("9"))] == [uid("1")]
        (gone,) = uow.voices.artifacts(uid("a"), role=Role.AUDIO, present=False)
        assert (gone.label, gone.fingerprint, gone.present) == (None, None, False)
        shared = uow.voices.artifact_by_digest(Digest("blake3", "1" * 64))
        assert [a.uid for a in shared] == [uid("1"), uid("3")]
        assert uow.voices.blob_digests() == {f"blake3:{'1' * 64}"}


def test_a_sealed_artifact_joins_the_set_of_its_key(registry: Registry) -> None:
    recordings = RecordingSet(uid("s"), uid("a"), None, DataClass.SOURCE, uid("k"), NOW)
    with registry.write() as uow:
        uow.voices.add(voice("kol-lin", "a"))
        uow.voices.add_set(recordings)
        uow.voices.add_artifact(uid("a"), artifact("1", Role.AUDIO, key_id=uid("k")))
        uow.voices.end_set(uid("s"), at=NOW)
        uow.commit()
        uow._connection.begin()
        joined = uow._connection.exec_driver_sql("SELECT set_id FROM artifacts").scalar()

    with registry.read() as uow:
        (ended,) = uow.voices.sets(uid("a"))
        assert joined == 1
        assert ended.destroyed_at == NOW


def test_a_row_that_refers_to_nothing_is_refused(registry: Registry) -> None:
    with pytest.raises(IntegrityError), registry.write() as uow:
        uow.voices.add_artifact(uid("a"), artifact("1", Role.WEIGHTS))


def test_people_are_found_by_tag_and_pseudonym(registry: Registry) -> None:
    with registry.write() as uow:
        uow.subjects.add(person("b"), tag="keyed")
        uow.subjects.bump_generation(uid("b"))
        uow.commit()

    with registry.read() as uow:
        found = uow.subjects.by_tag("keyed")
        assert found is not None
        assert (found.uid, found.generation) == (uid("b"), 1)
        assert uow.subjects.by_pseudonym("s-bbbbbbbb") == found
        assert uow.subjects.by_tag("other") is None


def test_consents_cover_one_voice_or_all_of_a_person(registry: Registry) -> None:
    with registry.write() as uow:
        uow.subjects.add(person("p"), tag=None)
        for letter in "ab":
            uow.voices.add(voice(f"kol-{letter}", letter, subject_uids=(uid("p"),)))
        uow.subjects.add_consent(Consent(uid("1"), uid("p"), "voice", NOW, NOW, None), voice_uid=uid("a"))
        uow.subjects.add_consent(Consent(uid("2"), uid("p"), "voice", None, NOW, None), voice_uid=None)
        uow.commit()

    with registry.read() as uow:
        assert [c.uid for c in uow.subjects.consents(uid("p"))] == [uid("1"), uid("2")]
        assert [c.uid for c in uow.subjects.consents(uid("p"), voice_uid=uid("b"))] == [uid("2")]


def test_a_withdrawal_ends_what_was_given_before(registry: Registry) -> None:
    with registry.write() as uow:
        uow.subjects.add(person("p"), tag=None)
        uow.subjects.add_consent(Consent(uid("1"), uid("p"), "voice", None, NOW, None), voice_uid=None)
        assert uow.subjects.withdraw(uid("p"), at=NOW + timedelta(days=1), new_uid=lambda: uid("x")) == 1
        assert uow.subjects.withdraw(uid("p"), at=NOW + timedelta(days=2), new_uid=lambda: uid("x")) == 0
        uow.commit()

    with registry.read() as uow:
        (consent,) = uow.subjects.consents(uid("p"))
        assert consent.withdrawn_at == NOW + timedelta(days=1)


def test_a_hold_on_a_person_lies_over_every_voice_of_theirs(registry: Registry) -> None:
    with registry.write() as uow:
        uow.subjects.add(person("p"), tag=None)
        uow.voices.add(voice("kol-a", "a", subject_uids=(uid("p"),)))
        uow.voices.add(voice("kol-b", "b"))
        uow.subjects.add_hold(Hold(uid("1"), None, uid("p"), b"sealed", NOW))
        uow.commit()

    with registry.read() as uow:
        assert [h.uid for h in uow.subjects.holds_over(uid("a"))] == [uid("1")]
        assert uow.subjects.holds_over(uid("b")) == []

    with registry.write() as uow:
        uow.subjects.release_hold(uid("1"), at=NOW)
        uow.commit()

    with registry.read() as uow:
        assert uow.subjects.holds_over(uid("a")) == []
        assert [h.released_at for h in uow.subjects.holds(active=False)] == [NOW]


def test_jobs_are_open_until_they_end(registry: Registry) -> None:
    with registry.write() as uow:
        uow.jobs.add(Job(uid("1"), "speak", 7, "boot", NOW))
        uow.jobs.add(Job(uid("2"), "train", 8, "boot", NOW))
        uow.jobs.end(uid("1"), at=NOW)
        uow.commit()

    with registry.read() as uow:
        assert uow.jobs.open() == [Job(uid("2"), "train", 8, "boot", NOW)]
