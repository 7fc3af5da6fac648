"""A backup that somebody or something changed: found by check, refused by restore, and it can harm nobody."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError, NotFound, VlmError
from lifecycle.services.backups import manifest as m
from lifecycle.services.backups.prune import list_backup
from lifecycle.vault.signing import Signing
from tests.backups import House, files_below

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A backup of a registry with a receipt in it, and its keys; the registry is lost."""
    house = House(tmp_path_factory.mktemp("made"))
    house.add("kol-a", seed=1)
    house.add("kol-b", seed=2)
    house.purge("kol-a")
    house.create()
    return house


@pytest.fixture
def house(made: House, tmp_path: Path) -> House:
    """A copy of it to damage."""
    there = House(tmp_path)
    shutil.copytree(made.backup, there.backup)
    shutil.copytree(made.keys_copy, there.keys_copy)
    return there


def snapshot(house: House) -> Path:
    (there,) = (house.backup / "snapshots").iterdir()
    return there


def a_blob(house: House) -> Path:
    """The largest blob: a recording."""
    blobs = [path for path in (house.backup / "blobs").rglob("*") if path.is_file()]
    return max(blobs, key=lambda path: path.stat().st_size)


def extra(house: House) -> Path:
    """The receipt, which lies among the blobs."""
    manifest = m.read_manifest(snapshot(house), None)
    (part,) = [part for part in manifest.extras if part.name.endswith(".dsse.json")]
    return house.backup / "blobs" / part.digest.hex[:2] / part.digest.hex[2:]


def flip(path: Path, at: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def key_file(house: House) -> Path:
    return next(house.keys_copy.rglob("epoch-*.key"))


def signing(house: House) -> Signing:
    (folder,) = house.keys_copy.iterdir()
    return Signing(folder / "signing")


def signed_again(house: House, change: Callable[[dict[str, object]], None], *, by: Signing) -> None:
    """Change a manifest and sign it, as somebody with that key could."""
    path = snapshot(house) / "manifest.json"
    body = json.loads(path.read_text())["body"]
    change(body)
    record = {**by.sign_record("backup", body), "public": by.public("backup").hex()}
    path.write_bytes(canonical_json(record))


def test_what_was_written_is_whole(house: House) -> None:
    assert house.check().problems == []
    assert house.restore(keys=True).standing == "ok"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda house: flip(snapshot(house) / "manifest.json"), "manifest"),
        (lambda house: flip(snapshot(house) / "registry.db"), "registry.db was changed"),
        (lambda house: flip(snapshot(house) / "keys.db"), "keys.db was changed"),
        (lambda house: flip(snapshot(house) / "blobs.txt"), "blobs.txt was changed"),
        (lambda house: (snapshot(house) / "registry.db").unlink(), "registry.db is missing"),
        (lambda house: (snapshot(house) / "manifest.json").unlink(), "manifest cannot be read"),
        (lambda house: flip(a_blob(house)), "was changed"),
        (lambda house: flip(extra(house)), "was changed"),
        (lambda house: os.truncate(a_blob(house), 100), "is missing or has another size"),
        (lambda house: a_blob(house).unlink(), "is missing or has another size"),
        (lambda house: extra(house).unlink(), "is missing or has another size"),
        (lambda house: key_file(house).chmod(0o644), "can be read by others"),
        (lambda house: key_file(house).write_text("0" * 64), "the keys do not open it"),
    ],
)
def test_damage_of_every_kind_is_found_and_named(
    house: House, damage: Callable[[House], None], named: str
) -> None:
    damage(house)

    checked = house.check()

    assert checked.exit_code == 5
    assert any(named in problem for problem in checked.problems), checked.problems


@pytest.mark.parametrize(
    "damage",
    [
        lambda house: flip(snapshot(house) / "manifest.json"),
        lambda house: flip(snapshot(house) / "registry.db"),
        lambda house: flip(snapshot(house) / "keys.db"),
        lambda house: flip(snapshot(house) / "blobs.txt"),
        lambda house: flip(a_blob(house)),
        lambda house: flip(extra(house)),
        lambda house: a_blob(house).unlink(),
        lambda house: key_file(house).write_text("0" * 64),
    ],
)
def test_a_damaged_backup_is_not_restored_as_if_it_were_whole(
    house: House, damage: Callable[[House], None]
) -> None:
    damage(house)
    with pytest.raises(VlmError):
        house.restore(keys=True)


def test_a_backup_whose_head_is_damaged_is_named(house: House) -> None:
    (house.backup / "vlm-backup.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"vlm-backup\.json"):
        house.check()


def test_a_folder_without_a_backup_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list_backup(tmp_path)


def test_a_manifest_that_somebody_else_signed_is_refused(house: House, tmp_path: Path) -> None:
    stranger = Signing(tmp_path / "stranger")
    stranger.create()
    signed_again(house, lambda _body: None, by=stranger)

    assert house.check(keys=False).problems == []
    assert any("not known here" in problem for problem in house.check().problems)
    with pytest.raises(IntegrityError, match="not known here"):
        house.restore(keys=True)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "certificates/../../x", "installation", "registry.db", "work/x", ""]
)
def test_a_manifest_cannot_write_where_it_likes(house: House, name: str) -> None:
    def change(body: dict[str, object]) -> None:
        body["extras"] = [{**body["extras"][0], "name": name}]  # type: ignore[index]

    signed_again(house, change, by=signing(house))

    assert any("manifest is damaged" in problem for problem in house.check().problems)
    with pytest.raises(IntegrityError):
        house.restore(keys=True)


@pytest.mark.parametrize(
    "change",
    [
        {"trail_size": -1},
        {"epoch": 1.5},
        {"epoch": True},
        {"made_at": "tomorrow"},
        {"id": "../" * 10},
        {"parts": []},
        {"schema": "x" * 1000},
        {"format": "vlm-snapshot/2"},
        {"extras": [{"name": "vlm.toml", "size": -1, "digest": "blake3:" + "0" * 64}]},
        {"extras": {"name": "vlm.toml"}},
    ],
)
def test_a_manifest_of_nonsense_is_a_finding_and_no_crash(house: House, change: dict[str, object]) -> None:
    if any(isinstance(value, float) for value in change.values()):
        path = snapshot(house) / "manifest.json"
        told = json.loads(path.read_text())
        told["body"] |= change
        path.write_text(json.dumps(told))
    else:
        signed_again(house, lambda body: body.update(change), by=signing(house))

    assert house.check().exit_code == 5
    assert list_backup(house.backup).snapshots[0].flaw is not None


def test_a_blob_that_is_a_link_or_a_pipe_is_not_followed(house: House, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    blob = a_blob(house)
    secret.write_bytes(blob.read_bytes())
    blob.unlink()
    blob.symlink_to(secret)
    assert house.check().exit_code == 5
    with pytest.raises(IntegrityError):
        house.restore(keys=True)

    blob.unlink()
    os.mkfifo(blob)
    assert house.check().exit_code == 5


def test_a_snapshot_that_is_a_link_is_refused(house: House, tmp_path: Path) -> None:
    there = snapshot(house)
    there.rename(tmp_path / "elsewhere")
    there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is not a folder"):
        house.check()


def test_a_journal_that_somebody_laid_beside_a_database_is_not_played(house: House) -> None:
    (snapshot(house) / "registry.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 1000)
    before = files_below(house.backup)

    assert house.check().problems == []

    assert {name: content for name, content in files_below(house.backup).items() if "lock" not in name} == {
        name: content for name, content in before.items() if "lock" not in name
    }


def test_a_row_that_was_changed_behind_the_trails_back_is_found(house: House) -> None:
    """Whoever has the signing key as well can sign another registry; the trail still tells."""
    path = snapshot(house) / "registry.db"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET verb = 'other' WHERE sequence = 1")
    connection.commit()
    connection.close()
    signed_again(
        house,
        lambda body: body.update(
            parts=[
                {"name": part.name, "size": part.size, "digest": str(part.digest)}
                for part in (m.part_of(snapshot(house) / name) for name in (*m.DATABASES, m.LIST))
            ]
        ),
        by=signing(house),
    )

    assert any("the trail: event 1" in problem for problem in house.check().problems)


def test_a_list_that_leaves_out_a_file_of_a_living_voice_is_found(house: House) -> None:
    path = snapshot(house) / "blobs.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    parts = [m.part_of(snapshot(house) / name) for name in (*m.DATABASES, m.LIST)]
    told = [{"name": part.name, "size": part.size, "digest": str(part.digest)} for part in parts]
    signed_again(house, lambda body: body.update(parts=told), by=signing(house))

    assert any("not in the list" in problem for problem in house.check().problems)


def test_keys_that_belong_to_another_registry_are_not_found(house: House) -> None:
    (folder,) = house.keys_copy.iterdir()
    folder.rename(house.keys_copy / ("0" * 32))
    with pytest.raises(NotFound, match="no keys of this registry"):
        house.check()
    with pytest.raises(NotFound, match="no keys of this registry"):
        house.restore(keys=True)
