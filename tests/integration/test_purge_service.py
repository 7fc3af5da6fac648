"""The machinery of a purge on a real registry and vault: races, crashes, and results that are not good."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.errors import Busy, Held, Refused
from lifecycle.domain.purges import PurgeState
from lifecycle.domain.subjects import Hold, Subject
from lifecycle.domain.voices import Artifact, DataClass, Role, State, Voice
from lifecycle.erasure.graph import NodeState
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.registry.queries.voices import RecordingSet
from lifecycle.services.home import initialise
from lifecycle.services.purges.check import Places, look_again
from lifecycle.services.purges.purge import Purged, PurgeRequest, preview, purge, resume_open
from lifecycle.services.session import open_session
from lifecycle.settings import Settings, load_settings
from lifecycle.vault.ledger import EntryKind

ANN = "a" * 32
# Every place where a purge may be killed; a point that only a purge of originals passes has a test of its own.
POINTS = [
    name
    for name in failpoints.POINTS
    if name.split(".")[0] in {"purge", "keys", "ledger", "anchor", "trail"}
    and name != "purge.during_originals"
] + ["blob.before_remove", "blob.after_remove"]


class Crash(BaseException):
    """What a kill is to everything but the operating system."""


def settings_of(folder: Path) -> Settings:
    return load_settings(
        {
            "VLM_HOME": str(folder / "home"),
            "VLM_KEYS": str(folder / "keys"),
            "VLM_RUNTIMES": str(folder / "runtimes"),
            "VLM_CONFIG": str(folder / "vlm.toml"),
        }
    )


@contextmanager
def opened(folder: Path) -> Iterator[Rooms]:
    """One command's stay; a crash leaves without finishing anything."""
    rooms = open_session(settings_of(folder))
    try:
        yield rooms
    except Crash:
        rooms.registry.close()
        raise
    except BaseException:
        rooms.close()
        raise
    rooms.close()


def add_person(rooms: Rooms) -> None:
    keys = rooms.vault.keys
    keys.create_subject(ANN)
    with rooms.registry.write() as uow:
        subject = Subject(ANN, f"s-{ANN[:8]}", keys.seal_text(ANN, "ann-patient-number"), 0, rooms.clock())
        uow.subjects.add(subject, tag=keys.lookup_tag("ann-patient-number"))
        uow.commit()


def add_voice(rooms: Rooms, name: str, originals: Path) -> str:
    """Store a voice with three recordings, an embedding and a model."""
    keys, uid, now = rooms.vault.keys, rooms.new_uid(), rooms.clock()
    with rooms.registry.write() as uow:
        uow.voices.add(
            Voice(uid, name, State.ACTIVE, None, None, "default", None, now, now, subject_uids=(ANN,))
        )
        for data_class, roles in (
            (DataClass.SOURCE, [Role.AUDIO, Role.AUDIO, Role.AUDIO]),
            (DataClass.TEMPLATE, [Role.EMBEDDING]),
        ):
            key = keys.create_data_key(subject_uid=ANN, purpose=data_class.value)
            uow.voices.add_set(RecordingSet(rooms.new_uid(), uid, ANN, data_class, key.id, now))
            for number, role in enumerate(roles):
                path = originals / f"{name}-{role.value}-{number}.wav"
                path.write_bytes(os.urandom(3000))
                blob = rooms.vault.blobs.put(io.BytesIO(path.read_bytes()), key=key)
                uow.voices.add_artifact(
                    uid,
                    Artifact(
                        rooms.new_uid(), None, role, data_class, blob.digest, blob.size, key.id, "audio",
                        {"seconds": 2.0}, keys.seal_text(ANN, json.dumps({"path": str(path)})),
                        keys.fingerprint(ANN, blob.content_digest), now,
                    ),
                )  # fmt: skip
        blob = rooms.vault.blobs.put(io.BytesIO(b"the model of " + name.encode()))
        uow.voices.add_artifact(
            uid,
            Artifact(
                rooms.new_uid(), None, Role.WEIGHTS, DataClass.MODEL, blob.digest, blob.size, None,
                "safetensors", {}, None, None, now,
            ),
        )  # fmt: skip
        uow.trail.append("register", voice_uid=uid, subject_uid=ANN, details={"from": "ann-folder"})
        uow.commit()
    return uid


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    initialise(settings_of(folder))
    (folder / "originals").mkdir()
    with opened(folder) as rooms:
        add_person(rooms)
        add_voice(rooms, "leaver", folder / "originals")
        add_voice(rooms, "survivor", folder / "originals")
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    for part in ("home", "keys"):
        shutil.copytree(template / part, tmp_path / part)
    return tmp_path


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm(None)


def run(rooms: Rooms, verb: PurgeVerb = PurgeVerb.PURGE_AUDIO, *, originals: bool = False) -> Purged:
    return purge(preview(PurgeRequest("leaver", verb, originals), rooms=rooms), rooms=rooms)


def begin_or_resume(folder: Path, *, originals: bool = False) -> None:
    with opened(folder) as rooms:
        if resume_open("leaver", rooms=rooms) is None:
            run(rooms, originals=originals)


def at(name: str, action: Callable[[], None]) -> None:
    """Let `action` happen at a failpoint, the first time."""
    done: list[bool] = []

    def once() -> None:
        if not done:
            done.append(True)
            action()

    failpoints.arm(name, once)


def crash() -> None:
    raise Crash


def state_of(rooms: Rooms, name: str) -> State:
    with rooms.registry.read() as uow:
        return uow.voices.get(name).state


def sealed_of(rooms: Rooms, name: str) -> list[Artifact]:
    with rooms.registry.read() as uow:
        artifacts = uow.voices.artifacts(uow.voices.get(name).uid, present=None)
    return [artifact for artifact in artifacts if artifact.key_id is not None]


def assert_finished(folder: Path) -> None:
    """The same final states, however the purge came there."""
    with opened(folder) as rooms:
        assert state_of(rooms, "leaver") is State.RETIRED
        assert state_of(rooms, "survivor") is State.ACTIVE
        for artifact in sealed_of(rooms, "survivor"):
            key = rooms.vault.keys.data_key(str(artifact.key_id))
            assert len(rooms.vault.blobs.read_bytes(artifact.digest, key=key, limit=9999)) == 3000
        assert not any(artifact.present for artifact in sealed_of(rooms, "leaver"))
        assert not any(rooms.vault.blobs.exists(a.digest) for a in sealed_of(rooms, "leaver"))
        with rooms.registry.read() as uow:
            found = uow.purges.of_voice(uow.voices.get("leaver").uid)
            assert [each.state for each in found if each.state is not PurgeState.ABORTED] == [
                PurgeState.VERIFIED
            ]
            assert uow.outbox.count_open() == 0
            subject = uow.subjects.by_uid(ANN)
            assert subject is not None
            assert subject.generation == 1
        assert rooms.vault.keys.check() == []
    assert len(list((folder / "home" / "certificates").glob("*.dsse.json"))) == 1
    assert not list((folder / "keys").rglob("*purge-*")), "the journal was left"


def killed_at(folder: Path, name: str, *, originals: bool = False) -> int:
    """Purge in a process of its own that kills itself (SIGKILL) at a failpoint; return how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            failpoints.arm(name, lambda: os.kill(os.getpid(), signal.SIGKILL))
            begin_or_resume(folder, originals=originals)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("name", POINTS)
def test_a_purge_killed_anywhere_is_finished_by_the_same_command(folder: Path, name: str) -> None:
    assert killed_at(folder, name) == -signal.SIGKILL, f"{name} is not on the way of a purge"

    with opened(folder) as rooms:
        if resume_open("leaver", rooms=rooms) is None:
            planned = preview(PurgeRequest("leaver", PurgeVerb.PURGE_AUDIO), rooms=rooms)
            if not planned.plan.empty:
                purge(planned, rooms=rooms)

    assert_finished(folder)


def test_a_purge_killed_between_two_originals_is_finished(template: Path, tmp_path: Path) -> None:
    initialise(settings_of(tmp_path))
    originals = tmp_path / "originals"
    originals.mkdir()
    with opened(tmp_path) as rooms:
        add_person(rooms)
        add_voice(rooms, "leaver", originals)
    assert killed_at(tmp_path, "purge.during_originals", originals=True) == -signal.SIGKILL
    assert len(list(originals.iterdir())) == 3

    with opened(tmp_path) as rooms:
        done = resume_open("leaver", rooms=rooms)

    assert done is not None
    assert done.receipt.result is NodeState.VERIFIED
    assert list(originals.iterdir()) == []


def test_two_crashes_in_a_row_are_finished_too(folder: Path) -> None:
    for name in ("keys.after_rewrap", "keys.after_switch", "purge.after_vacuum"):
        at(name, crash)
        with pytest.raises(Crash):
            begin_or_resume(folder)

    failpoints.arm(None)
    with opened(folder) as rooms:
        assert resume_open("leaver", rooms=rooms) is not None
    assert_finished(folder)


def test_a_hold_that_comes_between_the_question_and_the_decision_wins(folder: Path) -> None:
    with opened(folder) as rooms:

        def hold() -> None:
            with rooms.registry.write() as uow:
                voice = uow.voices.get("leaver")
                reason = rooms.vault.keys.seal_text(None, "case 7")
                uow.subjects.add_hold(Hold(rooms.new_uid(), voice.uid, None, reason, rooms.clock()))
                uow.commit()

        at("purge.after_ledger_planned", hold)
        with pytest.raises(Held):
            run(rooms)

        assert state_of(rooms, "leaver") is State.ACTIVE
        assert all(rooms.vault.blobs.exists(artifact.digest) for artifact in sealed_of(rooms, "leaver"))
        kinds = [entry.kind for entry in rooms.vault.ledger.read()]
        assert kinds == [EntryKind.PLANNED, EntryKind.ABORTED]
        assert rooms.vault.ledger.to_replay() == []
    assert not list((folder / "keys").rglob("*purge-*"))


def test_a_hold_on_the_person_covers_every_voice_of_theirs(folder: Path) -> None:
    with opened(folder) as rooms:
        with rooms.registry.write() as uow:
            reason = rooms.vault.keys.seal_text(ANN, "case 8")
            uow.subjects.add_hold(Hold(rooms.new_uid(), None, ANN, reason, rooms.clock()))
            uow.commit()

        for verb in PurgeVerb:
            with pytest.raises((Held, Refused)):
                preview(PurgeRequest("survivor", verb), rooms=rooms)


def test_the_ledger_says_committed_before_anything_is_destroyed(folder: Path) -> None:
    with opened(folder) as rooms:

        def look() -> None:
            assert [entry.kind for entry in rooms.vault.ledger.read()][-1] is EntryKind.COMMITTED
            assert all(rooms.vault.blobs.exists(artifact.digest) for artifact in sealed_of(rooms, "leaver"))

        at("purge.after_ledger", look)
        run(rooms)


def test_the_ledger_and_the_receipt_do_not_tell_which_model_it_was(folder: Path) -> None:
    with opened(folder) as rooms:
        run(rooms)
        with rooms.registry.read() as uow:
            (model,) = uow.voices.artifacts(uow.voices.get("leaver").uid, role=Role.WEIGHTS)
        done = run(rooms, PurgeVerb.ERASE)

    assert not list((folder / "home" / "blobs").rglob(model.digest.hex[2:]))
    written = done.certificate.read_bytes() + base64.b64decode(
        json.loads(done.certificate.read_text())["payload"]
    )
    ledger = b"".join(path.read_bytes() for path in (folder / "keys").rglob("ledger.jsonl"))
    assert model.digest.hex.encode() not in written + ledger


def test_a_voice_that_changed_since_it_was_shown_is_left_alone(folder: Path) -> None:
    with opened(folder) as rooms:
        planned = preview(PurgeRequest("leaver", PurgeVerb.PURGE_AUDIO), rooms=rooms)
        with rooms.registry.write() as uow:
            uow.voices.mark_destroyed([planned.plan.targets[0].artifact_uid])
            uow.commit()

        with pytest.raises(Refused, match="changed since"):
            purge(planned, rooms=rooms)


def test_a_recording_that_came_in_since_it_was_shown_is_not_left_behind(folder: Path, template: Path) -> None:
    with opened(folder) as rooms:
        planned = preview(PurgeRequest("leaver", PurgeVerb.PURGE_AUDIO), rooms=rooms)
        with rooms.registry.write() as uow:
            voice = uow.voices.get("leaver")
            one = uow.voices.artifacts(voice.uid, role=Role.AUDIO)[0]
            uow.voices.add_artifact(voice.uid, replace(one, uid=rooms.new_uid(), fingerprint=None))
            uow.commit()

        with pytest.raises(Refused, match="changed since"):
            purge(planned, rooms=rooms)


def test_a_person_who_got_another_voice_since_it_was_shown_does_not_leave(
    template: Path, tmp_path: Path
) -> None:
    initialise(settings_of(tmp_path))
    (tmp_path / "originals").mkdir()
    with opened(tmp_path) as rooms:
        add_person(rooms)
        add_voice(rooms, "leaver", tmp_path / "originals")
        planned = preview(PurgeRequest("leaver", PurgeVerb.PURGE_AUDIO), rooms=rooms)
        assert planned.plan.leaving == (ANN,)
        add_voice(rooms, "second", tmp_path / "originals")

        with pytest.raises(Refused, match="changed since"):
            purge(planned, rooms=rooms)


def test_a_model_that_another_voice_shares_since_it_was_shown_is_not_removed(folder: Path) -> None:
    with opened(folder) as rooms:
        run(rooms)
        planned = preview(PurgeRequest("leaver", PurgeVerb.ERASE), rooms=rooms)
        with rooms.registry.write() as uow:
            (model,) = uow.voices.artifacts(uow.voices.get("leaver").uid, role=Role.WEIGHTS)
            survivor = uow.voices.get("survivor")
            uow.voices.add_artifact(survivor.uid, replace(model, uid=rooms.new_uid()))
            uow.commit()

        with pytest.raises(Refused, match="changed since"):
            purge(planned, rooms=rooms)
        assert rooms.vault.blobs.exists(model.digest)


def test_only_one_process_destroys_at_a_time(folder: Path) -> None:
    with opened(folder) as rooms:
        with (folder / "home" / "purge.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(Busy):
                run(rooms)
        assert state_of(rooms, "leaver") is State.ACTIVE


def test_ciphertext_that_comes_back_is_called_by_its_name(folder: Path) -> None:
    with opened(folder) as rooms:
        blob = sealed_of(rooms, "leaver")[0].digest
        path = folder / "home" / "blobs" / blob.hex[:2] / blob.hex[2:]
        content = path.read_bytes()
        at("purge.after_rows", lambda: path.write_bytes(content) and None)

        done = run(rooms)

    assert done.receipt.result is NodeState.CRYPTO_ERASED
    assert done.exit_code == 0


def test_an_original_that_comes_back_leaves_the_result_open(template: Path, tmp_path: Path) -> None:
    initialise(settings_of(tmp_path))
    (tmp_path / "originals").mkdir()
    with opened(tmp_path) as rooms:
        add_person(rooms)
        add_voice(rooms, "leaver", tmp_path / "originals")
        path = tmp_path / "originals" / "leaver-audio-0.wav"
        at("purge.after_originals", lambda: path.write_bytes(b"again") and None)

        done = run(rooms, originals=True)

    assert done.exit_code == 9
    assert done.receipt.result is NodeState.PENDING
    assert "destroyed, provided" not in "\n".join(done.lines())
    assert sorted(each.name for each in (tmp_path / "originals").iterdir()) == [path.name]


def test_a_purge_whose_journal_was_lost_goes_on_and_does_not_claim_to_have_looked(folder: Path) -> None:
    at("purge.after_blobs", crash)
    with pytest.raises(Crash):
        begin_or_resume(folder)
    (journal,) = (folder / "keys").rglob("purge-*.json")
    journal.unlink()

    with opened(folder) as rooms:
        done = resume_open("leaver", rooms=rooms)

    assert done is not None
    assert done.receipt.result is NodeState.UNVERIFIABLE
    assert done.exit_code == 9


def test_a_look_that_nobody_could_take_is_unverifiable(tmp_path: Path) -> None:
    seen = look_again(
        Places(
            home=str(tmp_path / "nowhere"), keys={"1" * 32: "2" * 32}, rows={"3" * 32: {"voice": "4" * 32}}
        )
    )

    assert {state for state, _ in seen.values()} == {NodeState.UNVERIFIABLE}


def test_the_last_voice_of_a_person_takes_everything_of_theirs_along(folder: Path) -> None:
    with opened(folder) as rooms:
        run(rooms)
        with rooms.registry.read() as uow:
            assert uow.subjects.by_uid(ANN).label is not None  # type: ignore[union-attr]
        purge(preview(PurgeRequest("survivor", PurgeVerb.PURGE_AUDIO), rooms=rooms), rooms=rooms)
        with rooms.registry.read() as uow:
            person = uow.subjects.by_uid(ANN)
            assert person is not None
            assert person.label is None
        assert rooms.vault.keys.key_ids(ANN) == {}
