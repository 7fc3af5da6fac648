from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from datetime import timedelta

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Busy, IntegrityError, UsageError
from lifecycle.vault.files import locked
from lifecycle.vault.keys import EpochGone, KeyDestroyed, surviving
from tests.unit.vault.conftest import ANNA, BORIS, NOW

CONTENT = Digest("blake3", "0" * 64)


def sql(place, statement, *values):
    with sqlite3.connect(place.folder / "home" / "keys.db") as connection:
        return connection.execute(statement, values).fetchall()


@pytest.mark.parametrize("purpose", ["source", "template", "label", "evidence"])
@pytest.mark.parametrize("subject", [ANNA, None], ids=["of a person", "of a voice without a person"])
def test_a_data_key_opens_again_in_another_process(place, purpose, subject):
    key = place.keys().create_data_key(subject_uid=subject, purpose=purpose)

    assert place.keys().data_key(key.id) == key
    assert key.id in place.keys().key_ids(subject)


def test_every_key_is_new(place):
    made = [place.keys().create_data_key(subject_uid=ANNA, purpose="source") for _ in range(5)]

    assert len({key.material for key in made}) == len({key.id for key in made}) == 5


def test_no_key_lies_in_the_home_as_it_is(place):
    store = place.keys()
    key = store.create_data_key(subject_uid=ANNA, purpose="source")
    held = (store.holder.folder / "epoch-00000001.key").read_bytes().strip()

    home = b"".join(path.read_bytes() for path in (place.folder / "home").iterdir())

    assert key.material not in home
    assert bytes.fromhex(held.decode()) not in home


def test_what_is_no_purpose_is_refused(place):
    with pytest.raises(UsageError):
        place.keys().create_data_key(subject_uid=ANNA, purpose="everything")


def test_a_key_that_is_not_there_was_destroyed(place):
    with pytest.raises(KeyDestroyed) as refused:
        place.keys().data_key("f" * 32)
    assert refused.value.exit_code == 4
    with pytest.raises(KeyDestroyed):
        place.keys().create_data_key(subject_uid="c" * 32, purpose="source")


def test_making_a_person_or_the_store_again_changes_nothing(place):
    key = place.keys().create_data_key(subject_uid=ANNA, purpose="source")
    tag = place.keys().fingerprint(ANNA, CONTENT)

    place.keys().create_subject(ANNA)
    place.keys().create()

    assert place.keys().data_key(key.id) == key
    assert place.keys().fingerprint(ANNA, CONTENT) == tag


def test_files_and_folders_are_the_owners_alone(place):
    place.keys().create_data_key(subject_uid=ANNA, purpose="source")

    for path in [place.folder / "home", place.folder / "keys", *place.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert place.keys().check() == []


def test_doctor_hears_of_a_key_that_others_can_read(place):
    (place.folder / "keys" / "epochs" / "epoch-00000001.key").chmod(0o644)

    assert ["can be read by others" in one for one in place.keys().check()] == [True]


# --- a wrap belongs to one place ---


def test_wraps_swapped_between_two_persons_do_not_open(place):
    anna = place.keys().create_data_key(subject_uid=ANNA, purpose="source")
    boris = place.keys().create_data_key(subject_uid=BORIS, purpose="source")
    rows = dict(sql(place, "SELECT wrapped, bytes FROM wraps WHERE wrapped IN (?, ?)", anna.id, boris.id))

    sql(place, "UPDATE wraps SET bytes = ? WHERE wrapped = ?", rows[boris.id], anna.id)
    sql(place, "UPDATE wraps SET bytes = ? WHERE wrapped = ?", rows[anna.id], boris.id)

    for key in (anna, boris):
        with pytest.raises(IntegrityError, match="changed or moved"):
            place.keys().data_key(key.id)
    assert any("changed or moved" in one for one in place.keys().check())


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(("UPDATE keys SET subject = ? WHERE uid = ?", BORIS), id="to another person"),
        pytest.param(("UPDATE keys SET purpose = ? WHERE uid = ?", "evidence"), id="to another purpose"),
    ],
)
def test_a_key_that_is_said_to_be_something_else_does_not_open(place, move):
    key = place.keys().create_data_key(subject_uid=ANNA, purpose="source")
    sql(place, move[0], move[1], key.id)

    with pytest.raises(IntegrityError, match="changed or moved"):
        place.keys().data_key(key.id)


def test_any_changed_byte_of_a_wrap_is_found(place):
    key = place.keys().create_data_key(subject_uid=ANNA, purpose="source")
    ((content,),) = sql(place, "SELECT bytes FROM wraps WHERE wrapped = ?", key.id)

    for index in range(len(content)):
        changed = content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]
        sql(place, "UPDATE wraps SET bytes = ? WHERE wrapped = ?", changed, key.id)
        with pytest.raises(IntegrityError):
            place.keys().data_key(key.id)


def test_the_database_refuses_a_wrap_under_another_epoch(place):
    for epoch in (0, 2):
        with pytest.raises(sqlite3.IntegrityError, match="current epoch"):
            sql(
                place,
                "INSERT INTO wraps (wrapping, wrapped, epoch, bytes) VALUES ('a', 'b', ?, x'00')",
                epoch,
            )
    with pytest.raises(sqlite3.IntegrityError, match="current epoch"):
        sql(place, "UPDATE wraps SET epoch = 2")


def test_without_the_keys_nothing_opens(place):
    store = place.keys()
    key = store.create_data_key(subject_uid=ANNA, purpose="source")
    sealed = store.seal_text(None, "a reason")
    stranger = place.keys(holder="elsewhere")

    with pytest.raises(EpochGone):
        stranger.data_key(key.id)
    with pytest.raises(EpochGone):
        stranger.open_text(sealed)
    stranger.holder.create(1)
    with pytest.raises(IntegrityError, match="does not open"):
        stranger.data_key(key.id)


def test_a_lost_key_database_is_not_silently_replaced_by_an_empty_one(place):
    (place.folder / "home" / "keys.db").unlink()

    with pytest.raises(IntegrityError, match="missing"):
        place.keys().create()


def test_a_damaged_key_database_is_an_integrity_error(place):
    key = place.keys().create_data_key(subject_uid=ANNA, purpose="source")
    (place.folder / "home" / "keys.db").write_bytes(b"not a database, but as long as one" * 400)

    with pytest.raises(IntegrityError, match="damaged"):
        place.keys().data_key(key.id)


# --- sealed rows, fingerprints, tags ---


@pytest.mark.parametrize("subject", [ANNA, None])
@pytest.mark.parametrize("text", ["", "Анна Ю.", "take-1.wav", "bad \udcff name", "x" * 10_000])
def test_a_sealed_text_opens_again_and_is_not_readable(place, subject, text):
    sealed = place.keys().seal_text(subject, text)

    assert place.keys().open_text(sealed) == text
    if text:
        assert text.encode("utf-8", "surrogateescape") not in sealed
    assert place.keys().seal_text(subject, text) != sealed


def test_a_changed_sealed_row_is_refused(place):
    sealed = place.keys().seal_bytes(ANNA, b"take-1.wav")

    for index in range(len(sealed)):
        changed = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
        with pytest.raises((IntegrityError, KeyDestroyed)):
            place.keys().open_bytes(changed)
    with pytest.raises(IntegrityError):
        place.keys().open_bytes(b"")


def test_a_fingerprint_is_the_same_for_one_person_and_differs_between_two(place):
    store = place.keys()

    assert store.fingerprint(ANNA, CONTENT) == place.keys().fingerprint(ANNA, CONTENT)
    assert store.fingerprint(ANNA, CONTENT) != store.fingerprint(BORIS, CONTENT)
    assert CONTENT.hex not in store.fingerprint(ANNA, CONTENT)
    Digest.parse(store.fingerprint(ANNA, CONTENT))


def test_a_name_is_found_whatever_its_case_and_unicode_form(place):
    store = place.keys()

    assert store.lookup_tag("Zoë Müller") == store.lookup_tag(" zoë MÜLLER ")
    assert store.lookup_tag("Zoe\u0308") == store.lookup_tag("Zo\u00eb")
    assert store.lookup_tag("Zoë") != store.lookup_tag("Zoe")


def test_a_tag_of_another_installation_differs(place, tmp_path):
    other = type(place)(tmp_path / "other").keys()
    other.create()

    assert other.lookup_tag("Anna") != place.keys().lookup_tag("Anna")


def test_evidence_ends_with_its_date(place):
    store = place.keys()
    soon = store.create_data_key(subject_uid=ANNA, purpose="evidence", until=NOW + timedelta(days=1))
    store.create_data_key(subject_uid=ANNA, purpose="evidence", until=NOW + timedelta(days=9))
    store.create_data_key(subject_uid=ANNA, purpose="evidence")

    assert store.expired_evidence(NOW) == []
    assert store.expired_evidence(NOW + timedelta(days=2)) == [soon.id]


def test_who_has_no_key_can_ask_which_keys_survive(place):
    key = place.keys().create_data_key(subject_uid=ANNA, purpose="source")

    assert surviving(place.folder / "home" / "keys.db", [key.id, "f" * 32]) == {key.id}


# --- two processes ---


def test_a_second_process_that_changes_keys_is_told_that_it_must_wait(place):
    store = place.keys(lock_seconds=0.1)
    key = store.create_data_key(subject_uid=ANNA, purpose="source")

    with locked(place.folder / "home" / "keys.db.lock", what="the keys"):
        with pytest.raises(Busy):
            store.create_data_key(subject_uid=ANNA, purpose="source")
        with pytest.raises(Busy):
            store.purge([key.id], subject_uid=ANNA, subject_leaves=False)
        assert store.data_key(key.id) == key  # reading goes on


MAKER = """
import sys
from pathlib import Path
from tests.unit.vault.conftest import ANNA, Place
store = Place(Path(sys.argv[1])).keys(lock_seconds=30)
for _ in range(5):
    print(store.create_data_key(subject_uid=ANNA, purpose="source").id)
"""


def test_processes_that_make_keys_at_once_lose_none(place):
    command = [sys.executable, "-c", MAKER, str(place.folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    made = [key for process in running for key in process.communicate()[0].split()]

    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(made)) == 15
    assert surviving(place.folder / "home" / "keys.db", made) == set(made)
    assert place.keys().check() == []


def test_a_key_database_that_machines_share_keeps_no_write_ahead_log(place):
    store = place.keys()
    key = store.create_data_key(subject_uid=ANNA, purpose="source")

    store.database.share(True)

    other = store.create_data_key(subject_uid=BORIS, purpose="source")
    store.database.forget()
    assert sql(place, "PRAGMA journal_mode") == [("delete",)]
    assert place.keys().data_key(key.id) == key
    assert [path.name for path in store.database.files()] == ["keys.db"]
    store.database.share(False)
    assert sql(place, "PRAGMA journal_mode") == [("wal",)]
    assert place.keys().data_key(other.id) == other


def test_a_key_database_that_somebody_reads_is_not_changed_under_them(place):
    place.keys()
    reader = sqlite3.connect(place.folder / "home" / "keys.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM keys").fetchall()
    database = place.keys().database
    database._busy_seconds = 0.1

    with pytest.raises(Busy):
        database.share(True)

    reader.close()
