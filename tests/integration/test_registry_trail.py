"""Checkpoints, the anchor, and a registry that was put back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lifecycle.domain import failpoints
from lifecycle.domain.errors import IntegrityError
from lifecycle.services.doctor import examine
from lifecycle.services.trail import seal_checkpoint, verify_trail
from lifecycle.vault.signing import verify_record
from tests.rooms import change, session


def note(folder: Path, count: int = 1) -> None:
    with session(folder) as rooms:
        for _ in range(count):
            with rooms.registry.write() as uow:
                uow.trail.append("note", details={"word": "told"})
                uow.commit()


def problems(folder: Path) -> tuple[str, ...]:
    with session(folder, writable=False) as rooms:
        return verify_trail(rooms=rooms).problems


def test_every_command_leaves_a_signed_checkpoint_and_an_anchor(tmp_path: Path) -> None:
    note(tmp_path, count=3)

    with session(tmp_path) as rooms:
        report = verify_trail(rooms=rooms)
        anchor = rooms.vault.anchor.read()
        record = seal_checkpoint(rooms=rooms)
        body = verify_record("checkpoint", record, rooms.vault.signing.trusted("checkpoint"))

    assert report.problems == ()
    assert (report.size, report.anchor, report.details) == (4, "ok", 3)
    assert anchor is not None
    assert anchor.trail_size == 4
    assert (body["size"], body["root"], body["log"]) == (4, report.root, rooms.installation)


@pytest.mark.sqlite
def test_rewriting_history_is_noticed_even_when_every_hash_was_made_anew(tmp_path: Path) -> None:
    note(tmp_path, count=2)
    other = tmp_path / "other"
    note(other, count=2)
    shutil.copy(other / "home" / "registry.db", tmp_path / "home" / "registry.db")

    found = problems(tmp_path)

    assert any("checkpoint" in problem for problem in found)
    assert any("another history" in problem for problem in found)


def test_a_checkpoint_that_somebody_changed_is_noticed(tmp_path: Path) -> None:
    note(tmp_path)
    change(tmp_path, "UPDATE checkpoints SET note = replace(note, '\"size\":2', '\"size\":3')")

    assert any("signature" in problem or "differ" in problem for problem in problems(tmp_path))


def test_events_that_were_cut_off_are_noticed(tmp_path: Path) -> None:
    note(tmp_path, count=2)
    change(tmp_path, "DELETE FROM event_details WHERE event_sequence = 2")
    change(tmp_path, "DELETE FROM events WHERE sequence = 2")

    found = problems(tmp_path)

    assert any("shorter than what was signed" in problem for problem in found)
    assert any("older than the anchor" in problem for problem in found)


@pytest.mark.sqlite
def test_a_registry_that_was_put_back_opens_for_looking_only(tmp_path: Path) -> None:
    note(tmp_path)
    shutil.copytree(tmp_path / "home", tmp_path / "backup")
    note(tmp_path)
    shutil.rmtree(tmp_path / "home")
    shutil.copytree(tmp_path / "backup", tmp_path / "home")

    with pytest.raises(IntegrityError, match="older than the anchor") as caught, session(tmp_path):
        pass

    assert caught.value.exit_code == 5
    with session(tmp_path, writable=False) as rooms:
        assert verify_trail(rooms=rooms).anchor == "older"
        assert [finding.id for finding in examine(rooms).findings] == ["put-back"]


def test_a_crash_between_commit_and_anchor_is_mended_by_the_next_command(tmp_path: Path) -> None:
    note(tmp_path)
    with session(tmp_path) as rooms:
        with rooms.registry.write() as uow:
            uow.trail.append("note")
            uow.commit()
        rooms.closing.clear()

    with session(tmp_path) as rooms:
        assert verify_trail(rooms=rooms).anchor == "ahead"

    with session(tmp_path) as rooms:
        assert verify_trail(rooms=rooms).anchor == "ok"


def test_a_crash_before_the_anchor_moves_is_mended_too(tmp_path: Path) -> None:
    class Crash(BaseException):
        pass

    def crash() -> None:
        raise Crash

    note(tmp_path)
    failpoints.arm("trail.before_anchor", crash)
    try:
        with pytest.raises(Crash):
            note(tmp_path)
    finally:
        failpoints.arm(None)

    note(tmp_path)
    assert problems(tmp_path) == ()


def test_events_behind_the_anchor_that_do_not_chain_on_are_not_believed(tmp_path: Path) -> None:
    note(tmp_path)
    with session(tmp_path) as rooms:
        with rooms.registry.write() as uow:
            uow.trail.append("note")
            uow.commit()
        rooms.closing.clear()
    change(tmp_path, "UPDATE events SET verb = 'other' WHERE sequence = 2")

    with pytest.raises(IntegrityError, match="another history"), session(tmp_path):
        pass
