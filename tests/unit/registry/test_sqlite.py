"""The registry's file in SQLite: its settings, its permissions, and what rewriting leaves of what was deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry.engine import Registry
from lifecycle.registry.sqlite import SqliteDatabase

pytestmark = pytest.mark.sqlite


def test_every_connection_answers_the_settings_that_erasure_relies_on(registry: Registry) -> None:
    connection = SqliteDatabase(registry.path).connect()

    told = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "foreign_keys", "secure_delete", "temp_store", "synchronous")
    }

    assert told == {
        "journal_mode": "wal", "foreign_keys": 1, "secure_delete": 1, "temp_store": 2, "synchronous": 2,
    }  # fmt: skip


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"this is no database" * 100)

    with pytest.raises(IntegrityError, match="damaged"):
        Registry.open(path)


def test_rewriting_leaves_no_deleted_byte_and_an_empty_log(registry: Registry) -> None:
    secret = "the-name-of-a-person"
    with registry.write() as uow:
        uow.trail.append("told", ids={})
        uow._connection.exec_driver_sql(
            "INSERT INTO jobs (id, uid, verb, pid, boot_id, started_at) VALUES (1, 'x', ?, 1, 'b', 't')",
            (secret,),
        )
        uow.commit()
    with registry.write() as uow:
        uow._connection.exec_driver_sql("DELETE FROM jobs")
        uow.commit()

    answer = registry.vacuum()

    left = b"".join(p.read_bytes() for p in registry.path.parent.glob("registry.db*"))
    assert answer == (0, 0, 0)
    assert secret.encode() not in left


def test_the_file_is_for_its_owner_alone(registry: Registry) -> None:
    assert registry.path.stat().st_mode & 0o777 == 0o600
