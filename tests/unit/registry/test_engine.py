"""The registry's file: how it is opened, locked, migrated and rewritten."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from lifecycle.domain.errors import Busy, IntegrityError, NotFound, Refused, Unavailable
from lifecycle.registry.engine import Registry
from lifecycle.registry.migrate import HEAD, bring_up, migration_config, migration_folder
from lifecycle.registry.sqlite import SqliteDatabase
from lifecycle.registry.tables import metadata
from tests.unit.registry.sealers import XorSealer


def test_every_connection_answers_the_settings_that_erasure_relies_on(registry: Registry) -> None:
    connection = SqliteDatabase(registry.path).connect()

    told = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "foreign_keys", "secure_delete", "temp_store", "synchronous")
    }

    assert told == {
        "journal_mode": "wal", "foreign_keys": 1, "secure_delete": 1, "temp_store": 2, "synchronous": 2,
    }  # fmt: skip


def test_the_migrated_schema_is_the_one_that_the_tables_describe(registry: Registry) -> None:
    with create_engine(f"sqlite:///{registry.path}").connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )

        assert compare_metadata(context, metadata) == []


def test_the_schema_has_the_indexes_and_rules_that_the_tables_describe(
    tmp_path: Path, registry: Registry
) -> None:
    described = tmp_path / "described.db"
    metadata.create_all(create_engine(f"sqlite:///{described}"))

    assert _indexes(registry.path) == _indexes(described)


def _indexes(path: Path) -> set[tuple[str, str, int]]:
    found = set()
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        if table.startswith(("alembic", "sqlite")):
            continue
        for _, index, unique, *_ in connection.execute(f"PRAGMA index_list({table})").fetchall():
            columns = ",".join(row[2] for row in connection.execute(f"PRAGMA index_info({index})"))
            found.add((table, columns, unique))
        for row in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            found.add((table, f"{row[3]} -> {row[2]}.{row[4]}", 0))
    return found


def test_the_newest_migration_is_the_one_that_the_program_knows() -> None:
    assert ScriptDirectory.from_config(migration_config()).get_heads() == [HEAD]


def test_a_downgrade_works_on_a_registry_with_data(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("init", details={"word": "kept"})
        uow.commit()
    registry.close()

    bring_up(registry.database, target="base")

    tables = sqlite3.connect(registry.path).execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {row[0] for row in tables} <= {"alembic_version"}


def test_a_registry_of_a_newer_vlm_is_left_alone(registry: Registry) -> None:
    registry.close()
    with sqlite3.connect(registry.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(IntegrityError, match="newer vlm"):
        Registry.open(registry.path)


def test_opening_a_registry_that_is_up_to_date_does_not_import_alembic(registry: Registry) -> None:
    code = (
        "import sys; from pathlib import Path; from lifecycle.registry.engine import Registry;"
        f"Registry.open(Path({str(registry.path)!r})); print('alembic' in sys.modules)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"


def test_the_migrations_are_found_inside_the_package_before_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "lifecycle"
    for folder in (package / "_data" / "migrations", tmp_path / "migrations"):
        folder.mkdir(parents=True)
        (folder / "env.py").touch()

    assert migration_folder(package) == package / "_data" / "migrations"


def test_an_installation_without_migrations_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="missing from this installation"):
        migration_folder(tmp_path / "lifecycle")


def test_what_is_not_committed_is_not_kept(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("forgotten")

    with registry.read() as uow:
        assert uow.trail.head()[0] == 0


def test_an_error_inside_keeps_nothing(registry: Registry) -> None:
    def work() -> None:
        with registry.write() as uow:
            uow.trail.append("forgotten")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()

    with registry.read() as uow:
        assert uow.trail.head()[0] == 0


def test_a_reader_cannot_write(registry: Registry) -> None:
    with pytest.raises(Unavailable, match="cannot be opened for writing"), registry.read() as uow:
        uow.trail.append("sneaked")


def test_a_writer_waits_and_then_says_that_another_writes(registry: Registry) -> None:
    second = Registry.open(registry.path, sealer=XorSealer(), busy_seconds=0.05)

    with registry.write(), pytest.raises(Busy, match="nothing was changed"), second.write():
        pass


def test_readers_go_on_while_somebody_writes(registry: Registry) -> None:
    second = Registry.open(registry.path, sealer=XorSealer(), busy_seconds=0.05)

    with registry.write() as writer:
        writer.trail.append("begun")
        with second.read() as reader:
            assert reader.trail.head()[0] == 0


def test_many_writers_lose_no_event(registry: Registry) -> None:
    path = registry.path

    def work() -> None:
        mine = Registry.open(path, sealer=XorSealer())
        for _ in range(5):
            with mine.write() as uow:
                uow.trail.append("worked")
                uow.commit()
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with registry.read() as uow:
        assert [stored.event.sequence for stored in uow.trail.stored()] == list(range(20))


def test_a_registry_that_was_put_back_refuses_every_change(registry: Registry) -> None:
    registry.writable = False

    with pytest.raises(Refused, match="reading only"), registry.write():
        pass


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
