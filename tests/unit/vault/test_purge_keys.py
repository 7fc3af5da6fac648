"""A purge of keys: older copies open nothing, survivors stay, and a kill at any point is made good."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Busy, IntegrityError, UsageError
from lifecycle.domain.failpoints import POINTS
from lifecycle.vault.keybag import newest_keybag, read_keybag
from lifecycle.vault.keys import EpochGone, KeyDestroyed
from lifecycle.vault.rotation import windows_of
from tests.unit.vault.conftest import ANNA, BORIS, Place

CONTENT = Digest("blake3", "0" * 64)


@pytest.fixture(scope="session")
def peopled(template, tmp_path_factory):
    """Anna has two voices and a consent document, Boris one voice; there is a voice without a person too."""
    folder = tmp_path_factory.mktemp("peopled") / "place"
    shutil.copytree(template, folder)
    store = Place(folder).keys()

    def made(subject, purpose="source"):
        return store.create_data_key(subject_uid=subject, purpose=purpose)

    return folder, {
        "old": made(ANNA),
        "old-golden": made(ANNA, "template"),
        "living": made(ANNA),
        "consent": made(ANNA, "evidence"),
        "boris": made(BORIS),
        "nobody": made(None, "template"),
    }


@pytest.fixture
def people(peopled, place):
    folder, people = peopled
    shutil.copytree(folder, place.folder, dirs_exist_ok=True)
    return people


def purge_old(place, people, **more):
    return place.keys().purge(
        [people["old"].id, people["old-golden"].id], subject_uid=ANNA, subject_leaves=False, **more
    )


def opens(store, key) -> bool:
    try:
        return store.data_key(key.id) == key
    except (KeyDestroyed, EpochGone):
        return False


def which_open(store, people) -> set[str]:
    return {name for name, key in people.items() if opens(store, key)}


SURVIVORS = {"living", "consent", "boris", "nobody"}


def test_what_was_purged_is_gone_and_the_rest_opens(place, people):
    store = place.keys()
    label, note = store.seal_text(ANNA, "living.wav"), store.seal_text(None, "a reason")
    tag, look_up = store.fingerprint(ANNA, CONTENT), store.lookup_tag("Anna")

    done = purge_old(place, people)

    after = place.keys()
    assert which_open(after, people) == SURVIVORS
    assert after.open_text(label) == "living.wav"
    assert after.open_text(note) == "a reason"
    assert (after.fingerprint(ANNA, CONTENT), after.lookup_tag("Anna")) == (tag, look_up)
    assert after.check() == []
    assert set(done.destroyed) == {people["old"].id, people["old-golden"].id}
    assert (done.old_epoch, done.new_epoch, done.residue, done.searched) == (1, 2, 0, True)
    assert after.holder.epochs() == [2]
    assert "fresh process" in done.verified_by


def test_a_home_from_before_opens_nothing_with_the_keys_of_after(place, people):
    """The person has another living voice, so the subject key's purpose survives; its old wrap must not."""
    place.copy("home", "home-before")

    purge_old(place, people)

    assert which_open(place.keys(home="home-before"), people) == set()


def test_a_home_from_before_and_the_newest_keybag_open_the_survivors_and_nobody_else(place, people):
    place.copy("home", "home-before")
    purge_old(place, people)
    place.keys().purge([people["boris"].id], subject_uid=BORIS, subject_leaves=True)

    store = place.keys(home="home-before")
    store.restore_from_keybag()

    assert which_open(store, people) == SURVIVORS - {"boris"}
    with pytest.raises(KeyDestroyed):
        store.fingerprint(BORIS, CONTENT)
    assert store.check() == []


def test_not_even_both_halves_of_the_old_subject_key_are_left(place, people):
    """A backup's wrap of a purged data key hangs under the old subject key: that one must have no wrap either."""
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        query = "SELECT wrapping FROM wraps WHERE wrapped = ?"
        ((subject_key,),) = connection.execute(query, (people["old"].id,)).fetchall()

    purge_old(place, people)

    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        assert (
            connection.execute(
                "SELECT 1 FROM wraps WHERE ? IN (wrapped, wrapping)", (subject_key,)
            ).fetchall()
            == []
        )
        assert connection.execute("SELECT 1 FROM keys WHERE uid = ?", (subject_key,)).fetchall() == []
    bag = newest_keybag(place.folder / "keys" / "keybags").read_text()
    assert subject_key not in bag
    assert people["old"].id not in bag
    assert people["living"].id in bag


def test_when_the_person_leaves_everything_of_theirs_goes_but_evidence(place, people):
    label = place.keys().seal_text(ANNA, "Anna's name")

    done = place.keys().purge([people["old"].id], subject_uid=ANNA, subject_leaves=True)

    store = place.keys()
    assert which_open(store, people) == {"consent", "boris", "nobody"}
    assert {people["old"].id, people["old-golden"].id, people["living"].id} == set(done.destroyed)
    with pytest.raises(KeyDestroyed):
        store.open_text(label)
    with pytest.raises(KeyDestroyed):
        store.fingerprint(ANNA, CONTENT)
    with pytest.raises(KeyDestroyed):
        store.create_data_key(subject_uid=ANNA, purpose="source")


def test_evidence_is_destroyed_when_it_is_named_and_its_root_with_it(place, people):
    place.copy("home", "home-before")

    place.keys().purge([people["consent"].id], subject_uid=ANNA, subject_leaves=False)

    assert which_open(place.keys(), people) == set(people) - {"consent"}
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        assert connection.execute("SELECT 1 FROM keys WHERE purpose = 'evidence-root'").fetchall() == []


def test_a_voice_without_a_person_is_purged_too(place, people):
    place.copy("home", "home-before")

    place.keys().purge([people["nobody"].id], subject_uid=None, subject_leaves=False)

    assert which_open(place.keys(), people) == set(people) - {"nobody"}
    assert which_open(place.keys(home="home-before"), people) == set()


def test_asked_again_it_gives_the_same_answer_and_changes_nothing(place, people):
    first = purge_old(place, people)

    second = purge_old(place, people)

    assert replace(second, searched=True) == first
    assert place.keys().holder.epochs() == [2]


def test_keys_that_were_gone_before_are_no_reason_for_a_new_epoch(place):
    done = place.keys().purge(["f" * 32], subject_uid=ANNA, subject_leaves=False)

    assert (done.old_epoch, done.new_epoch, done.keybag) == (1, 1, None)


def test_only_data_keys_can_be_named(place, people):
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        ((subject_key,),) = connection.execute("SELECT uid FROM keys WHERE purpose = 'lookup'").fetchall()

    with pytest.raises(UsageError):
        place.keys().purge([subject_key], subject_uid=None, subject_leaves=False)
    with pytest.raises(UsageError):
        place.keys().purge([], subject_uid=None, subject_leaves=True)

    assert which_open(place.keys(), people) == set(people)


def test_no_piece_of_a_destroyed_wrap_stays_in_the_files(place, people):
    """Rows that were checkpointed before are the hard case: their pages are in the file and in the log."""
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        wraps = [row[0] for row in connection.execute("SELECT bytes FROM wraps WHERE epoch = 1")]

    purge_old(place, people)

    content = b"".join(path.read_bytes() for path in (place.folder / "home").iterdir())
    assert [piece for wrap in wraps for piece in windows_of(wrap) if piece in content] == []
    assert people["old"].id.encode() not in content


def test_a_key_that_does_not_open_in_the_fresh_process_stops_the_purge_before_anything_is_destroyed(
    place, people
):
    def damage(point):
        if point == "keys.after_rewrap":
            with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
                connection.execute(
                    "UPDATE wraps SET bytes = zeroblob(60) WHERE epoch = 2 AND wrapped = ?",
                    (people["boris"].id,),
                )

    with pytest.raises(IntegrityError, match="nothing was destroyed"):
        purge_old(place, people, failpoint=damage)

    assert place.keys().holder.epochs() == [1, 2]
    with pytest.raises(Busy, match="interrupted"):
        place.keys().create_data_key(subject_uid=ANNA, purpose="source")
    assert any("interrupted" in one for one in place.keys().check())

    purge_old(place, people)

    assert which_open(place.keys(), people) == SURVIVORS
    assert place.keys().check() == []


def test_a_damaged_survivor_stops_a_purge_before_anything_is_changed(place, people):
    """Its good wrap may be in a backup, which only the old epoch opens."""
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        connection.execute("UPDATE wraps SET bytes = zeroblob(60) WHERE wrapped = ?", (people["boris"].id,))

    with pytest.raises(IntegrityError, match="nothing was destroyed"):
        purge_old(place, people)

    assert opens(place.keys(), people["old"])
    assert place.keys().holder.epochs() == [1]
    assert place.keys().create_data_key(subject_uid=ANNA, purpose="source")


def test_a_key_whose_wrap_is_lost_does_not_keep_others_from_being_destroyed(place, people):
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        connection.execute("DELETE FROM wraps WHERE wrapped = ?", (people["boris"].id,))

    purge_old(place, people)

    assert which_open(place.keys(), people) == SURVIVORS - {"boris"}
    assert place.keys().check() == []


def test_an_open_reader_makes_it_busy_and_it_ends_when_the_reader_is_gone(place, people):
    reader = sqlite3.connect(place.folder / "home" / "keys.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM wraps").fetchall()

    with pytest.raises(Busy, match="reads the key database"):
        place.keys(lock_seconds=0.3).purge([people["old"].id], subject_uid=ANNA, subject_leaves=False)
    reader.close()
    done = place.keys().purge([people["old"].id], subject_uid=ANNA, subject_leaves=False)

    assert done.new_epoch == 2
    assert place.keys().check() == []


# --- crashes ---

PURGER = """
import os, sys
from pathlib import Path
from lifecycle.vault.failpoints import arm_from
from tests.unit.vault.conftest import ANNA, Place
arm_from(os.environ)
leaves = sys.argv[2] == "leaves"
Place(Path(sys.argv[1])).keys().purge(sys.argv[3:], subject_uid=ANNA, subject_leaves=leaves)
"""
KEY_POINTS = [point for point in POINTS if point.startswith("keys.")]


def purged_in_a_process(place, *arguments, failpoint=""):
    environment = {**os.environ, "VLM_FAILPOINTS_ENABLED": "1", "VLM_FAILPOINT": failpoint}
    command = [sys.executable, "-c", PURGER, str(place.folder), *arguments]
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    ("point", "who"),
    [
        *((point, "stays") for point in KEY_POINTS),
        ("keys.after_rewrap", "leaves"),
        ("keys.after_switch", "leaves"),
    ],
)
def test_killed_at_any_point_and_called_again_it_ends_the_same(place, people, point, who):
    place.copy("home", "home-before")
    arguments = (who, people["old"].id, people["old-golden"].id)

    assert purged_in_a_process(place, *arguments, failpoint=f"{point}:kill") == -signal.SIGKILL
    halfway = which_open(place.keys(), people)
    done = place.keys().purge(arguments[1:], subject_uid=ANNA, subject_leaves=who == "leaves")

    expected = SURVIVORS - ({"living"} if who == "leaves" else set())
    assert expected <= halfway
    assert which_open(place.keys(), people) == expected
    assert which_open(place.keys(home="home-before"), people) == set()
    assert place.keys().check() == []
    assert place.keys().holder.epochs() == [2]
    assert (done.old_epoch, done.new_epoch) == (1, 2)
    bag = read_keybag(newest_keybag(place.folder / "keys" / "keybags"), place.keys().holder)
    assert expected <= {name for name, key in people.items() if key.id in {one.uid for one in bag.keys}}


@pytest.mark.parametrize("point", ["keys.after_holder", "keys.after_epoch", "keys.after_switch"])
def test_an_interrupted_purge_can_be_finished_without_its_arguments(place, people, point):
    purged_in_a_process(place, "stays", people["old"].id, failpoint=f"{point}:kill")

    begun = place.keys().resume()

    assert begun is (point != "keys.after_holder")
    assert opens(place.keys(), people["old"]) is not begun
    assert place.keys().check() == []
    assert place.keys().create_data_key(subject_uid=ANNA, purpose="source")


def test_a_second_purge_first_finishes_the_one_that_was_interrupted(place, people):
    purged_in_a_process(place, "stays", people["old"].id, failpoint="keys.after_rewrap:kill")

    done = place.keys().purge([people["boris"].id], subject_uid=BORIS, subject_leaves=False)

    assert which_open(place.keys(), people) == set(people) - {"old", "boris"}
    assert (done.old_epoch, done.new_epoch) == (2, 3)


def test_no_room_in_the_middle_is_made_good_as_well(place, people):
    assert purged_in_a_process(place, "stays", people["old"].id, failpoint="keys.after_keybag:enospc") == 1

    place.keys().purge([people["old"].id], subject_uid=ANNA, subject_leaves=False)

    assert which_open(place.keys(), people) == set(people) - {"old"}


def test_a_process_that_read_before_the_purge_does_not_open_the_purged_key_after_it(place, people):
    store = place.keys()
    assert opens(store, people["old"])

    assert purged_in_a_process(place, "stays", people["old"].id) == 0

    assert not opens(store, people["old"])


# --- the keybag ---


def test_any_change_of_a_keybag_is_found(place, people):
    purge_old(place, people)
    path = newest_keybag(place.folder / "keys" / "keybags")
    good = path.read_bytes()

    for index in range(0, len(good), 29):
        path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        with pytest.raises(IntegrityError):
            read_keybag(path, place.keys().holder)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(IntegrityError):
        place.keys().restore_from_keybag()


def test_a_keybag_of_an_epoch_that_is_gone_opens_nothing(place, people):
    purge_old(place, people)
    path = newest_keybag(place.folder / "keys" / "keybags")
    shutil.copy(path, place.folder / "stolen.json")

    place.keys().purge([people["living"].id], subject_uid=ANNA, subject_leaves=False)

    with pytest.raises(EpochGone):
        read_keybag(place.folder / "stolen.json", place.keys().holder)
    assert not path.exists()
