"""Backups: consistent while others write, complete, private, and restored to a registry that works."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from pathlib import Path

import pytest

from lifecycle.domain import failpoints
from lifecycle.domain.errors import IntegrityError, NotFound, Refused, Unavailable, UsageError, VlmError
from lifecycle.services.backups.prune import list_backup, prune_backup
from lifecycle.services.put_back import accept_older
from lifecycle.services.trail import verify_trail
from tests.backups import House, files_below, killed_at, plain, sealed
from tests.rooms import session


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A registry with two voices of two people."""
    there = House(tmp_path)
    there.add("kol-a", seed=1, subject="10042")
    there.add("kol-b", seed=2, subject="10043")
    return there


def recordings_of(house: House, name: str) -> set[bytes]:
    return {path.read_bytes() for path in (house.folder / "files" / name).iterdir()}


def test_a_backup_holds_every_file_and_its_keys_open_it(house: House) -> None:
    made = house.create()

    checked = house.check()

    assert made.exit_code == 0
    assert made.copied_files == made.files == 9
    (snapshot,) = checked.snapshots
    assert checked.problems == []
    assert snapshot.attested
    assert snapshot.keys_opened is not None
    assert snapshot.keys_opened > 8
    assert checked.unneeded == 0


def test_a_second_backup_copies_only_what_is_new(house: House) -> None:
    house.create()
    before = files_below(house.backup / "blobs")

    again = house.create()
    house.add("kol-c", seed=3)
    third = house.create()

    assert again.copied_files == 0
    assert third.copied_files == 4
    assert files_below(house.backup / "blobs").items() >= before.items()
    assert house.check().problems == []


def test_a_rehearsal_writes_nothing(house: House) -> None:
    planned = house.create(dry_run=True)

    assert planned.copied_files == 9
    assert not house.backup.exists()
    assert not house.keys_copy.exists()


def test_nothing_of_a_backup_can_be_read_by_others_and_no_key_is_in_it(house: House) -> None:
    house.create()

    for root in (house.backup, house.keys_copy):
        for path in (root, *root.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    keys = [path.read_bytes().strip() for path in house.keys.rglob("*.key")]
    held = b"".join(files_below(house.backup).values())
    assert keys
    assert not any(key in held for key in keys)


def test_a_lost_machine_comes_back_from_backup_and_keys(house: House) -> None:
    house.create()
    wanted = recordings_of(house, "kol-a")
    house.lose(keys=True)

    done = house.restore(keys=True)

    assert (done.standing, done.keys, done.erased_since) == ("ok", "restored", 0)
    assert done.next.endswith("vlm doctor")
    with house.opened(writable=True) as rooms:
        opened = {plain(rooms, artifact) for artifact in sealed(rooms, "kol-a")}
        assert verify_trail(rooms=rooms).problems == ()
    assert opened == wanted
    for path in (house.home, *house.home.rglob("*"), *house.keys.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_copy_that_the_trail_went_past_goes_on_when_somebody_answers_for_it(house: House) -> None:
    house.create()
    house.add("kol-c", seed=3)
    house.lose(keys=False)

    done = house.restore()

    assert (done.standing, done.keys, done.erased_since) == ("older", "in place", 0)
    assert done.next.endswith("vlm doctor --accept-older")
    with house.opened() as rooms:
        accept_older(rooms=rooms)
    with house.opened(writable=True) as rooms:
        assert {plain(rooms, a) for a in sealed(rooms, "kol-b")} == recordings_of(house, "kol-b")


def test_after_a_purge_an_older_backup_opens_who_stayed_and_nobody_who_left(house: House) -> None:
    house.create()
    house.purge("kol-a")
    house.lose(keys=False)

    done = house.restore()

    assert done.keybag is not None
    assert (done.standing, done.erased_since) == ("older", 1)
    with house.opened() as rooms:
        stayed = {plain(rooms, artifact) for artifact in sealed(rooms, "kol-b")}
        left = sealed(rooms, "kol-a")
        assert left
        for artifact in left:
            assert rooms.vault.blobs.exists(artifact.digest), "only the keys protect it"
            with pytest.raises(VlmError):
                plain(rooms, artifact)
        with pytest.raises(IntegrityError, match="decided since this copy was made"):
            accept_older(rooms=rooms)
    assert stayed == recordings_of(house, "kol-b")


def test_a_backup_from_after_a_purge_needs_no_keybag(house: House) -> None:
    house.purge("kol-a")
    house.create()
    house.lose(keys=True)

    done = house.restore(keys=True)

    assert (done.keybag, done.standing, done.erased_since) == (None, "ok", 0)
    with house.opened(writable=True) as rooms:
        assert {plain(rooms, a) for a in sealed(rooms, "kol-b")} == recordings_of(house, "kol-b")
    assert len(list((house.home / "certificates").glob("*.dsse.json"))) == 1


def test_the_copy_of_the_keys_is_always_the_newest_only(house: House) -> None:
    house.create()
    old = {name: content for name, content in files_below(house.keys_copy).items() if "epochs/" in name}
    house.purge("kol-a")

    told = house.create()

    now = {name: content for name, content in files_below(house.keys_copy).items() if "epochs/" in name}
    assert told.before_purge == 1
    assert not set(old) & set(now)
    assert not any(
        content.strip() in b"".join(files_below(house.keys_copy).values()) for content in old.values()
    )
    assert len(now) == 1


@pytest.mark.sqlite
def test_keys_that_are_older_than_the_snapshot_are_refused_before_anything_is_written(house: House) -> None:
    house.create()
    shutil.copytree(house.keys_copy, house.folder / "old-copy")
    house.purge("kol-a")
    house.create()
    house.lose(keys=True)
    shutil.rmtree(house.keys_copy)
    (house.folder / "old-copy").rename(house.keys_copy)

    with pytest.raises(IntegrityError, match="older than the snapshot"):
        house.restore(keys=True)

    assert not house.home.exists()
    assert not list(house.keys.rglob("*.key"))


def test_a_restore_needs_the_keys_and_says_so(house: House) -> None:
    house.create()
    house.lose(keys=True)
    with pytest.raises(NotFound, match="nothing sealed opens without them"):
        house.restore()


def test_a_restore_never_overwrites(house: House) -> None:
    house.create()
    before = files_below(house.home)
    with pytest.raises(Refused, match="not empty"):
        house.restore()
    assert files_below(house.home).keys() == before.keys()


def test_keys_in_place_are_never_replaced(house: House) -> None:
    house.create()
    house.purge("kol-a")
    before = files_below(house.keys)
    house.lose(keys=False)

    done = house.restore(keys=True)

    assert done.keys == "in place"
    kept = {name: content for name, content in files_below(house.keys).items() if ".lock" not in name}
    assert kept.items() <= before.items()


def test_what_a_purge_takes_while_the_copy_is_made_is_left_out_and_named(house: House) -> None:
    def leave() -> None:
        failpoints.arm(None)
        house.purge("kol-a")

    failpoints.arm("backup.after_snapshot", leave)
    try:
        made = house.create()
    finally:
        failpoints.arm(None)

    assert (made.exit_code, len(made.gone), made.missing) == (0, 2, ())
    assert house.check().problems == []


def test_a_file_that_the_registry_lacks_is_named_and_the_rest_is_backed_up(house: House) -> None:
    blobs = sorted(path for path in (house.home / "blobs").rglob("*") if path.is_file())
    blobs[0].unlink()
    content = bytearray(blobs[1].read_bytes())
    content[-1] ^= 1
    blobs[1].write_bytes(content)

    made = house.create()

    assert made.exit_code == 5
    assert sorted(made.missing) == sorted(f"blake3:{path.parent.name}{path.name}" for path in blobs[:2])
    assert made.copied_files == 7
    assert house.check().problems == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("backup", "keys"),
    [
        ("home/backup", None),
        ("keys/backup", None),
        (".", None),
        ("backup", "backup"),
        ("backup", "backup/keys"),
        ("apart/backup", "apart"),
        ("backup", "home/copy"),
        ("backup", "keys"),
    ],
)
def test_a_place_that_one_accident_would_take_too_is_refused(
    house: House, backup: str, keys: str | None
) -> None:
    from lifecycle.services.backups.create import create_backup

    with session(house.folder) as rooms, pytest.raises(UsageError, match="lie in one another"):
        create_backup(
            house.folder / backup, keys_to=None if keys is None else house.folder / keys, rooms=rooms
        )
    assert not (house.folder / "backup").exists()


@pytest.mark.sqlite
def test_a_link_does_not_hide_that_a_place_lies_in_the_registry(house: House) -> None:
    house.backup.symlink_to(house.home / "blobs")
    with pytest.raises(UsageError):
        house.create()


@pytest.mark.sqlite
def test_a_folder_with_something_else_in_it_is_refused(house: House) -> None:
    house.backup.mkdir()
    (house.backup / "diary.txt").write_text("mine")
    with pytest.raises(Refused, match="not empty"):
        house.create()
    assert files_below(house.backup) == {"diary.txt": b"mine"}


def test_the_backup_of_another_registry_is_refused(house: House, tmp_path: Path) -> None:
    house.create(keys=False)
    other = House(tmp_path / "other")
    with session(other.folder) as rooms:
        from lifecycle.services.backups.create import create_backup

        with pytest.raises(Refused, match="another registry"):
            create_backup(house.backup, keys_to=None, rooms=rooms)


@pytest.mark.sqlite
def test_a_newer_copy_of_the_keys_is_left_as_it_is(house: House) -> None:
    shutil.copytree(house.keys, house.folder / "earlier")
    house.create()
    house.purge("kol-a")
    house.create()
    before = files_below(house.keys_copy)
    from lifecycle.services.backups.keys import accept_target

    (target,) = house.keys_copy.iterdir()
    with pytest.raises(Refused, match="newer"):
        accept_target(target, epoch=1, trail_size=3)
    assert files_below(house.keys_copy) == before


@pytest.mark.sqlite
def test_a_full_disk_leaves_the_backup_as_it_was(house: House) -> None:
    def full() -> None:
        raise OSError(28, os.strerror(28))

    house.create()
    house.add("kol-c", seed=3)
    failpoints.arm("backup.during_blobs", full)
    try:
        with pytest.raises(Unavailable, match="no room"):
            house.create()
    finally:
        failpoints.arm(None)

    assert house.check().problems == []
    assert len(house.check().snapshots) == 1
    assert house.create().copied_files == 4
    assert len(house.check().snapshots) == 2


CREATE_POINTS = [point for point in failpoints.POINTS if point.startswith("backup.")]
RESTORE_POINTS = [point for point in failpoints.POINTS if point.startswith("restore.")]


@pytest.mark.sqlite
@pytest.mark.parametrize("point", CREATE_POINTS)
def test_a_backup_that_is_killed_is_made_by_the_next_run(house: House, point: str) -> None:
    killed_at(point, house.create)

    house.create()

    assert house.check().problems == []
    assert not [
        path for path in house.backup.rglob("*") if path.name.startswith(".") or path.suffix == ".part"
    ]
    assert not list(house.keys_copy.rglob(".new"))


@pytest.mark.sqlite
@pytest.mark.parametrize("point", [*RESTORE_POINTS, "backup.during_blobs", "backup.after_batch"])
def test_a_restore_that_is_killed_is_no_registry_yet_and_goes_on(house: House, point: str) -> None:
    house.create()
    house.lose(keys=True)
    killed_at(point, lambda: house.restore(keys=True))

    done = house.restore(keys=True)

    assert done.standing == "ok"
    assert not (house.home / "restoring.json").exists()
    with house.opened(writable=True) as rooms:
        assert {plain(rooms, a) for a in sealed(rooms, "kol-a")} == recordings_of(house, "kol-a")


@pytest.mark.sqlite
def test_a_restore_with_a_keybag_that_is_killed_goes_on(house: House) -> None:
    house.create()
    house.purge("kol-a")
    house.lose(keys=False)
    killed_at("restore.after_keybag", house.restore)

    assert house.restore().keybag is not None
    with house.opened() as rooms:
        assert {plain(rooms, a) for a in sealed(rooms, "kol-b")} == recordings_of(house, "kol-b")


def test_old_snapshots_go_with_the_files_that_only_they_needed(house: House) -> None:
    first = house.create().snapshot
    house.purge("kol-a")
    last = house.create().snapshot

    rehearsed = prune_backup(house.backup, keep=1, dry_run=True)
    done = prune_backup(house.backup, keep=1)

    assert rehearsed.removed == done.removed == (first,)
    assert rehearsed.freed_files == done.freed_files == 2
    assert [each.name for each in list_backup(house.backup).snapshots] == [last]
    assert house.check().problems == []
    assert house.check().unneeded == 0


@pytest.mark.sqlite
def test_at_least_one_snapshot_stays(house: House) -> None:
    house.create()
    with pytest.raises(UsageError):
        prune_backup(house.backup, keep=0)


@pytest.mark.sqlite
def test_nothing_is_pruned_where_a_snapshot_that_stays_is_damaged(house: House) -> None:
    house.create()
    last = house.create().snapshot
    (house.backup / "snapshots" / last / "blobs.txt").write_text("")
    before = files_below(house.backup)
    with pytest.raises(IntegrityError, match="nothing was removed"):
        prune_backup(house.backup, keep=1)
    assert files_below(house.backup) == before


def test_backups_hold_together_while_others_register_and_purge(house: House) -> None:
    children = [_busy(house, prefix, seed=seed) for seed, prefix in enumerate(("east", "west"), 10)]
    try:
        deadline = time.monotonic() + 30
        made = []
        while len(made) < 4 and time.monotonic() < deadline:
            made.append(house.create())
    finally:
        for child in children:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)

    checked = house.check(keys=False)
    assert len(made) >= 2
    assert checked.problems == []
    assert all(each.missing == () for each in made)
    last = house.create()
    house.lose(keys=True)
    assert house.restore(keys=True, snapshot=last.snapshot).standing in {"ok", "ahead"}
    with house.opened(writable=True) as rooms:
        assert verify_trail(rooms=rooms).problems == ()
        with rooms.registry.read() as uow:
            names = [voice.name for voice in uow.voices.all() if voice.name]
        assert len(names) > 2
        for name in names:
            for artifact in sealed(rooms, name):
                plain(rooms, artifact)


def _busy(house: House, prefix: str, *, seed: int) -> int:
    """Register and purge in a process of its own until it is told to end."""
    child = os.fork()
    if child:
        return child
    going = True

    def end(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, end)
    number = 0
    try:
        while going and number < 40:
            try:
                house.add(f"{prefix}-{number}", seed=seed * 100 + number, subject=f"{prefix}-{number}")
                if number % 2:
                    house.purge(f"{prefix}-{number}")
            except VlmError as error:
                if error.exit_code != 8:
                    raise
            number += 1
    finally:
        os._exit(0)


def findings(house: House) -> dict[str, str | None]:
    """What doctor advises, with the command that helps."""
    from lifecycle.services.doctor import examine

    with session(house.folder) as rooms:
        report = examine(rooms)
    assert report.exit_code == 0
    return {finding.id: finding.next for finding in report.findings if finding.advice}


def test_doctor_advises_a_second_copy_of_the_keys_until_there_is_one(house: House) -> None:
    assert findings(house) == {"keys-single-copy": "vlm backup create DIR --keys-to DIR2"}
    house.create(keys=False)
    assert list(findings(house)) == ["keys-single-copy"]
    house.create()
    assert findings(house) == {}


def test_doctor_says_when_the_copy_of_the_keys_is_from_before_a_purge(house: House) -> None:
    house.create()
    house.purge("kol-a")
    again = f"vlm backup create {house.backup} --keys-to {house.keys_copy}"
    assert findings(house) == {"keys-copy-old": again}
    house.create()
    assert findings(house) == {}


def test_doctor_asks_the_copy_itself_after_a_restore(house: House) -> None:
    house.create()
    house.purge("kol-a")
    house.create()
    house.lose(keys=False)
    house.restore()
    with house.opened() as rooms:
        accept_older(rooms=rooms)

    from lifecycle.services.backups.advice import advice

    with house.opened(writable=True) as rooms:
        assert list(advice(rooms)) == []


def test_doctor_says_when_the_last_backup_is_old_and_not_before_there_is_one(house: House) -> None:
    from datetime import UTC, datetime, timedelta

    from lifecycle.services.backups.advice import advice

    later = datetime.now(UTC) + timedelta(days=31)
    house.create()
    with session(house.folder, now=later) as rooms:
        assert [word for word, _, _ in advice(rooms)] == ["backup-stale"]


def test_a_purge_names_the_backups_that_it_does_not_reach(house: House) -> None:
    from lifecycle.erasure.plan import PurgeVerb
    from lifecycle.services.purges.purge import PurgeRequest, preview

    with session(house.folder) as rooms:
        before = preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO), rooms=rooms)
    house.create()
    with session(house.folder) as rooms:
        after = preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO), rooms=rooms)

    new = {node.what for node in after.missed} - {node.what for node in before.missed}
    assert len(new) == 2
    assert any("which holds ciphertext whose keys are gone" in what for what in new)
    assert any("the copy of the keys" in what for what in new)
    assert not any(str(house.folder) in what for what in new)
