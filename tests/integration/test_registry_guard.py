"""Holds, states, consents and dead jobs on a real registry."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import Mute, NotFound, Refused, UsageError
from lifecycle.domain.voices import State
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.registry.queries.jobs import Job
from lifecycle.services.doctor import examine
from lifecycle.services.guard import check_generation, check_use, generations
from lifecycle.services.hold import hold, unhold
from lifecycle.services.jobs import boot_id, working
from lifecycle.services.purges.purge import PurgeRequest, preview, purge
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from lifecycle.services.shelf import list_voices, show_voice
from lifecycle.services.specs.spec import spec_of
from lifecycle.services.states import deprecate, restore
from tests.files import recordings, speaker, weights
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def consented(folder: Path, rooms: Rooms, name: str = "kol-lin", *, until: date = date(2026, 12, 31)) -> str:
    """Register a voice of a person; return the person's pseudonym."""
    paper = folder / "consent.pdf"
    paper.write_bytes(b"%PDF I agree")
    done = register(
        RegisterRequest(
            name,
            weights=(weights(folder / f"{name}.st"),),
            embedding=speaker(folder / f"{name}.sp"),
            audio=(recordings(folder / "takes", count=1),),
            subject="10042",
            consents=(paper,),
            consent_until=until,
        ),
        rooms=rooms,
    )
    assert done.subject is not None
    return done.subject


def state_to(rooms: Rooms, name: str, **changed: object) -> None:
    with rooms.registry.write() as uow:
        uow.voices.update(replace(uow.voices.get(name), **changed))  # type: ignore[arg-type]
        uow.commit()


def use(rooms: Rooms, name: str, verb: str = "speak") -> bool:
    """Pass the guard; raises where it refuses."""
    with rooms.registry.read() as uow:
        check_use(uow.voices.get(name), verb, uow=uow, now=rooms.clock())
    return True


def test_a_consent_allows_use_until_its_last_day_ends(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        use(rooms, "kol-lin")

    with session(tmp_path, now=datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) as rooms:
        use(rooms, "kol-lin")

    with session(tmp_path, now=datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC)) as rooms:
        with pytest.raises(Refused, match="consent ended 2026-12-31") as caught:
            use(rooms, "kol-lin")
        assert caught.value.hint == "vlm register kol-lin --consent FILE --consent-until DATE"


def test_a_withdrawal_ends_use_and_a_newer_consent_allows_it_again(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        with rooms.registry.write() as uow:
            subject = uow.voices.get("kol-lin").subject_uids[0]
            uow.subjects.withdraw(subject, at=NOW, new_uid=rooms.new_uid)
            uow.commit()
        with pytest.raises(Refused, match="withdrawn"):
            use(rooms, "kol-lin")

    with session(tmp_path, now=NOW + timedelta(days=1)) as rooms:
        paper = tmp_path / "again.pdf"
        paper.write_bytes(b"%PDF I agree again")
        register(RegisterRequest("kol-lin", consents=(paper,)), rooms=rooms)
        use(rooms, "kol-lin")


def test_ones_own_voice_needs_no_consent(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        request = RegisterRequest("mine", weights=(weights(tmp_path / "w.st"),), own_voice=True)
        register(request, rooms=rooms)

        assert use(rooms, "mine")


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"state": State.RETIRED}, Refused, "is retired, so it cannot speak"),
        ({"mute": True}, Mute, "is mute"),
    ],
)
def test_a_voice_that_is_retired_or_mute_does_not_speak(tmp_path: Path, changed, error, words) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        state_to(rooms, "kol-lin", **changed)

        with pytest.raises(error, match=words):
            use(rooms, "kol-lin")


def test_a_mute_voice_speaks_again_with_a_new_speaker_file(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        state_to(rooms, "kol-lin", mute=True)

        register(RegisterRequest("kol-lin", embedding=speaker(tmp_path / "new.sp", seed=9)), rooms=rooms)

        assert use(rooms, "kol-lin")


def test_work_that_began_before_a_purge_is_void(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        with rooms.registry.write() as uow:
            voice = uow.voices.get("kol-lin")
            before = generations(voice, uow=uow)
            uow.subjects.bump_generation(voice.subject_uids[0])
            with pytest.raises(Refused, match="purged or withdrawn meanwhile"):
                check_generation(before, uow=uow)


def test_a_voice_goes_to_deprecated_and_back(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)

        assert deprecate("kol-lin", rooms=rooms, dry_run=True).to_json()["state"] == "active"
        assert deprecate("kol-lin", rooms=rooms).state == "deprecated"
        with pytest.raises(Refused, match="already deprecated"):
            deprecate("kol-lin", rooms=rooms)
        assert restore("kol-lin", rooms=rooms).state == "active"


def test_restoring_needs_a_consent_that_holds_today(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        state_to(rooms, "kol-lin", state=State.RETIRED)

    with session(tmp_path, now=NOW + timedelta(days=90)) as rooms:
        with pytest.raises(Refused, match="cannot be restored: consent ended"):
            restore("kol-lin", rooms=rooms)
        renewed = RegisterRequest(
            "kol-lin", consents=(tmp_path / "consent.pdf",), consent_until=date(2030, 1, 1)
        )
        register(renewed, rooms=rooms)

        assert restore("kol-lin", rooms=rooms).state == "active"


def test_after_a_withdrawal_only_a_newer_consent_brings_a_voice_back(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        wanted = PurgeRequest("kol-lin", PurgeVerb.PURGE_AUDIO, basis="withdrawal")
        purge(preview(wanted, rooms=rooms), rooms=rooms)

        with pytest.raises(Refused, match="consent was withdrawn"):
            restore("kol-lin", rooms=rooms)

    with session(tmp_path, now=NOW + timedelta(days=1)) as rooms:
        paper = tmp_path / "again.pdf"
        paper.write_bytes(b"%PDF I agree again")
        register(RegisterRequest("kol-lin", consents=(paper,)), rooms=rooms)

        assert restore("kol-lin", rooms=rooms).mute


def test_a_retired_voice_takes_consents_and_nothing_else(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        state_to(rooms, "kol-lin", state=State.RETIRED)

        with pytest.raises(Refused, match="nothing is added"):
            register(RegisterRequest("kol-lin", weights=(weights(tmp_path / "n.st", seed=5),)), rooms=rooms)


def test_a_hold_on_a_person_covers_every_voice_of_theirs(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        pseudonym = consented(tmp_path, rooms)
        consented(tmp_path, rooms, "kol-mei")

        placed = hold(pseudonym, reason="case 7", rooms=rooms)

        assert placed.voices == ("kol-lin", "kol-mei")
        assert all(voice.held for voice in list_voices(rooms=rooms).voices)
        with pytest.raises(Refused, match=f"vlm unhold {pseudonym}"):
            unhold("kol-lin", rooms=rooms)
        assert unhold(pseudonym, rooms=rooms).released == 1
        assert not any(voice.held for voice in list_voices(rooms=rooms).voices)


def test_the_reason_of_a_hold_lies_sealed(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        hold("kol-lin", reason="the case of Ann Example", rooms=rooms)

    left = b"".join(path.read_bytes() for path in (tmp_path / "home").glob("*.db*"))
    assert b"Ann Example" not in left


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [("kol-lin", "  ", UsageError), ("kol-nobody", "why", NotFound), ("s-00000000", "why", NotFound)],
)
def test_a_hold_needs_a_reason_and_something_to_hold(tmp_path: Path, name: str, reason: str, error) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)

        with pytest.raises(error):
            hold(name, reason=reason, rooms=rooms)


def test_rehearsing_a_hold_places_none(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)

        hold("kol-lin", reason="why", rooms=rooms, dry_run=True)

        assert not list_voices(rooms=rooms).voices[0].held


def test_showing_a_voice_names_nobody(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        pseudonym = consented(tmp_path, rooms)

        shown = show_voice("kol-lin", rooms=rooms)

    told = str(shown.to_json()) + "\n".join(shown.lines(verbose=True))
    assert pseudonym in told
    assert "10042" not in told
    assert "takes" not in told


def test_a_specification_is_made_of_what_the_files_say(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)

        spec = spec_of("kol-lin", rooms=rooms)

    assert spec.spec["format"] == "vlm-io-spec/1"
    assert spec.spec["dimensions"] == {"embedding": 256}
    assert "sample_rate_hz" not in spec.spec["output"], "what no file says is not guessed"


def test_a_job_that_was_killed_is_emptied_by_the_next_command(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with session(tmp_path, now=NOW) as rooms:
        uid = rooms.new_uid()
        with rooms.registry.write() as uow:
            uow.jobs.add(Job(uid, "speak", gone.pid, boot_id(), NOW))
            uow.commit()
        folder = rooms.settings.home / "work" / uid
        folder.mkdir()
        (folder / "speaker.safetensors").write_bytes(b"decrypted")

    with session(tmp_path, now=NOW) as rooms:
        assert not folder.exists()
        with rooms.registry.read() as uow:
            assert uow.jobs.open() == []


def test_a_job_of_another_start_of_the_machine_is_dead_whatever_its_number(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms, rooms.registry.write() as uow:
        uow.jobs.add(Job(rooms.new_uid(), "train", os.getppid(), "another boot", NOW))
        uow.commit()

    with session(tmp_path, now=NOW) as rooms, rooms.registry.read() as uow:
        assert uow.jobs.open() == []


def test_a_job_has_a_row_before_it_has_a_folder_and_neither_afterwards(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        with working("speak", rooms=rooms) as folder:
            with rooms.registry.read() as uow:
                assert [job.uid for job in uow.jobs.open()] == [folder.name]
            assert folder.stat().st_mode & 0o777 == 0o700
            (folder / "plain").write_bytes(b"decrypted")

        assert not folder.exists()
        with rooms.registry.read() as uow:
            assert uow.jobs.open() == []


def test_doctor_closes_keys_that_others_could_read(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        folder = rooms.settings.keys / rooms.installation
        folder.chmod(0o755)

        looked = examine(rooms, repair=False)
        mended = examine(rooms)

        assert "keys-open" in [f.id for f in looked.findings if not f.repaired]
        assert looked.exit_code == 5
        assert [f.id for f in mended.findings] == ["keys-open"]
        assert mended.exit_code == 0
        assert folder.stat().st_mode & 0o777 == 0o700


def test_doctor_names_the_voice_whose_file_is_gone(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        consented(tmp_path, rooms)
        with rooms.registry.read() as uow:
            artifact = uow.voices.artifacts(uow.voices.get("kol-lin").uid)[0]
        rooms.vault.blobs.remove(artifact.digest)

        (found,) = (f for f in examine(rooms).findings if f.id == "missing-blob")

        assert '"kol-lin"' in found.message
        assert found.next == "vlm show kol-lin"


def test_doctor_removes_what_belongs_to_no_job(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        stray = rooms.settings.home / "work" / "left-by-hand"
        stray.mkdir()
        (stray / "plain.wav").write_bytes(b"decrypted")

        assert "stray-work" in [f.id for f in examine(rooms).findings]
        assert not stray.exists()
