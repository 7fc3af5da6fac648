"""Registration on a real registry and vault: what is stored, how often, under which key, and what a crash leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.errors import Refused, UnreadableFile, UnsafeArtifact, UsageError
from lifecycle.domain.voices import DataClass, Role
from lifecycle.services.doctor import examine
from lifecycle.services.registration.arrivals import Arrivals
from lifecycle.services.registration.preview import preview
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import Reference, RegisterRequest
from tests.files import recording, recordings, speaker, weights
from tests.formats import build
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Crash(BaseException):
    """What a kill is to everything but the operating system."""


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    with session(tmp_path, now=NOW) as opened:
        yield opened


def whole(folder: Path, name: str = "kol-lin", **more: object) -> RegisterRequest:
    """A request with something of every class."""
    consent = folder / "consent.pdf"
    consent.write_bytes(b"%PDF I agree")
    values: dict[str, object] = {
        "name": name,
        "weights": (weights(folder / "lin.safetensors"),),
        "embedding": speaker(folder / "lin.speaker.safetensors"),
        "audio": () if "audio" in more else (recordings(folder / "recordings"),),
        "subject": "patient-10042",
        "consents": (consent,),
        "consent_until": date(2028, 6, 30),
        **more,
    }
    return RegisterRequest(**values)  # type: ignore[arg-type]


def rows(rooms: Rooms, name: str = "kol-lin"):
    with rooms.registry.read() as uow:
        return uow.voices.artifacts(uow.voices.get(name).uid)


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_things_are_kept_by_class(rooms: Rooms, tmp_path: Path) -> None:
    done = register(whole(tmp_path), rooms=rooms)

    kept = {artifact.role: artifact for artifact in rows(rooms)}
    assert (done.created, done.version, done.recordings) == ("voice", 1, 2)
    assert {role: a.key_id is not None for role, a in kept.items()} == {
        Role.WEIGHTS: False, Role.IO_SPEC: False, Role.EMBEDDING: True, Role.AUDIO: True, Role.CONSENT: True,
    }  # fmt: skip
    assert len({a.key_id for a in kept.values() if a.key_id}) == 3, "one key for each class"
    assert [v.role for v in rows(rooms) if v.version_uid is None] == [Role.AUDIO, Role.AUDIO, Role.CONSENT]


def test_nothing_personal_is_readable_in_the_home(rooms: Rooms, tmp_path: Path) -> None:
    wav = (recordings(tmp_path / "recordings") / "take-0.wav").read_bytes()

    register(whole(tmp_path), rooms=rooms)

    home = every_byte(rooms.settings.home)
    for secret in (
        b"patient-10042",
        b"take-0.wav",
        b"I agree",
        b"lin.speaker",
        str(tmp_path / "recordings").encode(),
    ):
        assert secret not in home
    assert wav[1000:1064] not in home


def test_labels_tell_where_things_came_from_to_whoever_has_the_keys(rooms: Rooms, tmp_path: Path) -> None:
    register(whole(tmp_path), rooms=rooms)

    label = next(a.label for a in rows(rooms) if a.role is Role.AUDIO)
    assert label is not None
    told = json.loads(rooms.vault.keys.open_text(label))
    assert told == {"name": "take-0.wav", "path": str(tmp_path / "recordings" / "take-0.wav")}


def test_the_same_files_again_write_nothing(rooms: Rooms, tmp_path: Path) -> None:
    first = register(whole(tmp_path), rooms=rooms)
    before = sorted(rooms.vault.blobs)
    with rooms.registry.read() as uow:
        events = uow.trail.head()

    again = register(whole(tmp_path), rooms=rooms)

    assert (again.created, again.version, again.stored_bytes) == ("nothing", first.version, 0)
    assert sorted(rooms.vault.blobs) == before
    with rooms.registry.read() as uow:
        assert uow.trail.head() == events


def test_other_weights_make_the_next_version(rooms: Rooms, tmp_path: Path) -> None:
    register(whole(tmp_path), rooms=rooms)

    done = register(RegisterRequest("kol-lin", weights=(weights(tmp_path / "b.st", seed=2),)), rooms=rooms)

    assert (done.created, done.version) == ("version", 2)
    with rooms.registry.read() as uow:
        assert uow.voices.current(uow.voices.get("kol-lin").uid).number == 2


def test_the_order_and_names_of_weights_do_not_matter(rooms: Rooms, tmp_path: Path) -> None:
    one, two = weights(tmp_path / "a.st", seed=1), weights(tmp_path / "b.st", seed=2)
    register(RegisterRequest("kol-lin", weights=(one, two)), rooms=rooms)
    two.rename(tmp_path / "renamed.st")

    again = register(RegisterRequest("kol-lin", weights=(tmp_path / "renamed.st", one)), rooms=rooms)

    assert again.created == "nothing"


def test_weights_that_share_a_file_with_the_version_before_are_whole(rooms: Rooms, tmp_path: Path) -> None:
    one, two, three = (weights(tmp_path / f"{n}.st", seed=n) for n in (1, 2, 3))
    register(RegisterRequest("kol-lin", weights=(one, two)), rooms=rooms)

    register(RegisterRequest("kol-lin", weights=(one, three)), rooms=rooms)

    with rooms.registry.read() as uow:
        uid = uow.voices.get("kol-lin").uid
        current = uow.voices.current(uid)
        assert len(uow.voices.artifacts(uid, role=Role.WEIGHTS, version_uid=current.uid)) == 2


def test_equal_weights_of_two_voices_are_stored_once(rooms: Rooms, tmp_path: Path) -> None:
    for name in ("kol-a", "kol-b"):
        register(RegisterRequest(name, weights=(weights(tmp_path / "same.st"),)), rooms=rooms)

    digests = {a.digest for name in ("kol-a", "kol-b") for a in rows(rooms, name) if a.role is Role.WEIGHTS}
    assert len(digests) == 1


def test_equal_recordings_of_two_voices_share_no_byte_and_no_key(rooms: Rooms, tmp_path: Path) -> None:
    register(whole(tmp_path), rooms=rooms)
    register(whole(tmp_path, name="kol-mei"), rooms=rooms)

    sealed = [[a for a in rows(rooms, name) if a.key_id] for name in ("kol-lin", "kol-mei")]
    assert {a.digest for a in sealed[0]}.isdisjoint(a.digest for a in sealed[1])
    assert {a.key_id for a in sealed[0]}.isdisjoint(a.key_id for a in sealed[1])
    with rooms.registry.read() as uow:
        people = {uow.voices.get(name).subject_uids for name in ("kol-lin", "kol-mei")}
    assert len(people) == 1, "one person with two voices"


def test_a_damaged_blob_is_healed_by_registering_its_file_again(rooms: Rooms, tmp_path: Path) -> None:
    request = RegisterRequest("kol-lin", weights=(weights(tmp_path / "a.st"),))
    register(request, rooms=rooms)
    digest = next(a.digest for a in rows(rooms) if a.role is Role.WEIGHTS)
    path = rooms.settings.home / "blobs" / digest.hex[:2] / digest.hex[2:]
    path.write_bytes(b"rotten")

    register(request, rooms=rooms)

    assert rooms.vault.blobs.verify(digest)


def test_recordings_are_told_by_content_and_links_are_not_followed(rooms: Rooms, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    (folder / "inner").mkdir(parents=True)
    recording(folder / "inner" / "take.bin", seed=1)
    (folder / "notes.wav").write_text("no sound in here")
    outside = recording(tmp_path / "outside.wav", seed=2)
    (folder / "link.wav").symlink_to(outside)

    done = register(whole(tmp_path, audio=(folder,)), rooms=rooms)

    assert done.recordings == 1
    assert sorted(done.skipped) == ["link.wav (a link)", "notes.wav (no recording)"]


def test_a_folder_without_a_recording_is_refused(rooms: Rooms, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UnreadableFile, match="holds no recording"):
        register(whole(tmp_path, audio=(tmp_path / "empty",)), rooms=rooms)

    with rooms.registry.read() as uow:
        assert uow.voices.all() == []
    assert list(rooms.vault.blobs) == []


def test_the_same_recording_twice_in_a_folder_is_kept_once(rooms: Rooms, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        recording(folder / name, seed=7)

    register(whole(tmp_path, audio=(folder,)), rooms=rooms)

    assert len([a for a in rows(rooms) if a.role is Role.AUDIO]) == 1


def test_moving_removes_originals_after_their_sealed_copies_were_read_back(
    rooms: Rooms, tmp_path: Path
) -> None:
    folder = recordings(tmp_path / "recordings")

    done = register(whole(tmp_path, audio=(folder,), move=True), rooms=rooms)

    assert (done.originals_removed, done.originals_left) == (2, 0)
    assert list(folder.iterdir()) == []
    (artifact, _) = (a for a in rows(rooms) if a.role is Role.AUDIO)
    assert artifact.key_id is not None
    key = rooms.vault.keys.data_key(artifact.key_id)
    with rooms.vault.blobs.reader(artifact.digest, key=key) as file:
        assert file.read(4) == b"RIFF"


def test_moving_later_removes_what_an_earlier_registration_sealed(rooms: Rooms, tmp_path: Path) -> None:
    first = register(whole(tmp_path), rooms=rooms)

    again = register(whole(tmp_path, move=True), rooms=rooms)

    assert first.originals_left == 2
    assert (again.created, again.originals_removed) == ("nothing", 2)


def test_a_file_that_changes_while_it_is_read_is_refused(rooms: Rooms, tmp_path: Path) -> None:
    path = weights(tmp_path / "a.st")

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    failpoints.arm("blob.before_write", grow)
    try:
        with pytest.raises(UnreadableFile, match="changed while it was read"):
            register(RegisterRequest("kol-lin", weights=(path,)), rooms=rooms)
    finally:
        failpoints.arm(None)
    assert list(rooms.vault.blobs) == []


def test_references_keep_their_words_sealed(rooms: Rooms, tmp_path: Path) -> None:
    clip = Reference(recording(tmp_path / "calm.wav"), "calm", "what is said in private", "en")

    register(whole(tmp_path, references=(clip,)), rooms=rooms)

    found = [a for a in rows(rooms) if a.role is Role.REFERENCE]
    assert sorted(a.kind for a in found) == ["audio", "transcript"]
    assert all(a.facts["style"] == "calm" and a.data_class is DataClass.SOURCE for a in found)
    assert b"said in private" not in every_byte(rooms.settings.home)


def test_several_consents_are_evidence_with_an_end_of_their_own(rooms: Rooms, tmp_path: Path) -> None:
    papers = []
    for number in range(2):
        papers.append(tmp_path / f"consent-{number}.pdf")
        papers[-1].write_bytes(b"%PDF " + bytes([number]))

    register(whole(tmp_path, consents=tuple(papers)), rooms=rooms)
    again = register(whole(tmp_path, consents=tuple(papers)), rooms=rooms)

    with rooms.registry.read() as uow:
        voice = uow.voices.get("kol-lin")
        given = uow.subjects.consents(voice.subject_uids[0], voice_uid=voice.uid)
    assert len(given) == 2
    assert {c.valid_until for c in given} == {datetime(2028, 6, 30, 23, 59, 59, 999999, tzinfo=UTC)}
    assert again.created == "nothing"


def test_a_consent_can_arrive_alone_and_for_longer(rooms: Rooms, tmp_path: Path) -> None:
    request = whole(tmp_path)
    register(request, rooms=rooms)

    renewed = RegisterRequest("kol-lin", consents=request.consents, consent_until=date(2030, 1, 1))

    assert register(renewed, rooms=rooms).created == "additions"
    assert register(renewed, rooms=rooms).created == "nothing"


def test_words_about_a_voice_can_be_changed_alone(rooms: Rooms, tmp_path: Path) -> None:
    register(whole(tmp_path), rooms=rooms)

    done = register(RegisterRequest("kol-lin", owner="video", contact="a@example.com"), rooms=rooms)

    with rooms.registry.read() as uow:
        voice = uow.voices.get("kol-lin")
    assert (done.created, voice.owner, voice.contact) == ("additions", "video", "a@example.com")


def test_another_persons_things_do_not_enter_a_voice(rooms: Rooms, tmp_path: Path) -> None:
    register(whole(tmp_path), rooms=rooms)

    with pytest.raises(Refused, match="belongs to subject s-"):
        register(whole(tmp_path, subject="somebody-else"), rooms=rooms)


def test_a_pseudonym_stands_for_the_person(rooms: Rooms, tmp_path: Path) -> None:
    first = register(whole(tmp_path), rooms=rooms)

    second = register(whole(tmp_path, name="kol-mei", subject=first.subject), rooms=rooms)

    assert second.subject == first.subject


def test_a_name_that_gives_the_person_away_is_warned_of(rooms: Rooms, tmp_path: Path) -> None:
    done = register(whole(tmp_path, name="kol-10042", subject="10042"), rooms=rooms)

    assert any("contains the subject's id" in warning for warning in done.warnings)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"subject": None, "consents": (), "consent_until": None}, "say whose"),
        ({"own_voice": True}, "exclude each other"),
        ({"weights": ()}, "needs --weights"),
        ({"consents": ()}, "belongs to a --consent"),
        ({"name": "../kol"}, "is not a voice name"),
        ({"owner": "a\x1b[2Jb"}, "cannot be printed"),
    ],
)
def test_what_contradicts_itself_is_refused_before_a_file_is_read(
    rooms: Rooms, tmp_path: Path, more, words
) -> None:
    with pytest.raises(UsageError, match=words):
        register(whole(tmp_path, **more), rooms=rooms)

    assert list(rooms.vault.blobs) == []


def test_a_failed_registration_leaves_shared_blobs_of_others(rooms: Rooms, tmp_path: Path) -> None:
    same = weights(tmp_path / "same.st")
    register(RegisterRequest("kol-a", weights=(same,)), rooms=rooms)
    (tmp_path / "bad.st").write_bytes(b"\x00" * 40)

    with pytest.raises(UnreadableFile):
        register(RegisterRequest("kol-b", weights=(same, tmp_path / "bad.st")), rooms=rooms)

    digest = next(a.digest for a in rows(rooms, "kol-a") if a.role is Role.WEIGHTS)
    assert rooms.vault.blobs.verify(digest)
    assert [finding.id for finding in examine(rooms).findings if "stray" in finding.id] == []


@pytest.mark.parametrize(("name", "data"), build.unread_files().items(), ids=build.unread_files())
def test_what_cannot_be_read_without_doubt_is_refused(
    rooms: Rooms, tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(UnreadableFile) as caught:
        register(RegisterRequest("kol-lin", weights=(tmp_path / name,)), rooms=rooms)

    assert caught.value.exit_code == 6
    assert list(rooms.vault.blobs) == []


@pytest.mark.parametrize(("name", "data"), build.unsafe_files().items(), ids=build.unsafe_files())
def test_what_would_run_something_is_refused(rooms: Rooms, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(UnsafeArtifact, match="nothing was stored"):
        register(RegisterRequest("kol-lin", weights=(tmp_path / name,)), rooms=rooms)

    assert list(rooms.vault.blobs) == []


def test_saying_what_would_be_done_stores_nothing(rooms: Rooms, tmp_path: Path) -> None:
    told = preview(whole(tmp_path), rooms=rooms)

    assert (told.dry_run, len(told.artifacts)) == (True, 4)
    assert list(rooms.vault.blobs) == []
    with rooms.registry.read() as uow:
        assert uow.voices.all() == []
        assert uow.subjects.by_tag(rooms.vault.keys.lookup_tag("patient-10042")) is None


@pytest.mark.parametrize(
    "point",
    [
        "blob.before_write",
        "blob.before_rename",
        "blob.after_rename",
        "register.after_files",
        "register.before_commit",
    ],
)
def test_a_crash_before_the_commit_leaves_no_voice_and_what_doctor_removes(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> None:
        raise Crash

    with session(tmp_path, now=NOW) as rooms:
        failpoints.arm(point, crash)
        # A process that is killed cleans nothing up.
        monkeypatch.setattr(Arrivals, "drop", lambda _self: None)
        with pytest.raises(Crash):
            register(whole(tmp_path), rooms=rooms)
        failpoints.arm(None)
        monkeypatch.undo()

    with session(tmp_path, now=NOW) as rooms:
        found = examine(rooms)
        assert found.open == 0
        assert list(rooms.vault.blobs) == []
        assert examine(rooms).findings == ()
        assert register(whole(tmp_path), rooms=rooms).created == "voice"


@pytest.mark.parametrize("point", ["register.after_commit", "register.during_move", "trail.before_anchor"])
def test_a_crash_after_the_commit_keeps_the_voice_whole(tmp_path: Path, point: str) -> None:
    def crash() -> None:
        raise Crash

    with session(tmp_path, now=NOW):
        pass
    failpoints.arm(point, crash)
    try:
        with pytest.raises(Crash), session(tmp_path, now=NOW) as rooms:
            register(whole(tmp_path, move=True), rooms=rooms)
    finally:
        failpoints.arm(None)

    with session(tmp_path, now=NOW) as rooms:
        assert examine(rooms).open == 0
        assert len(rows(rooms)) == 6
        assert all(rooms.vault.blobs.verify(a.digest) for a in rows(rooms))
