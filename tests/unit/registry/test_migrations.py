"""The migrations, from the first one up and down, on data, in either database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry.engine import Registry
from lifecycle.registry.migrate import HEAD, bring_up
from lifecycle.registry.tables import metadata
from tests.postgres import databases, server
from tests.unit.registry.sealers import XorSealer

# One row of the first release in each table that later ones refer to, in an order that the rules allow.
BYTES = "blake3:" + "b" * 64
FIRST_ROWS = (
    """INSERT INTO voices (uid, name, state, owner, policy, mute, own_voice, facts, created_at, changed_at)
       VALUES ('v1', 'kol-a', 'active', 'ops', 'default', false, false, '{"a": 1}', '2026-01-01', '2026-01-02')""",
    f"INSERT INTO versions (uid, voice_id, number, identity, created_at) VALUES ('n1', 1, 1, '{BYTES}', 't')",
    "INSERT INTO subjects (uid, pseudonym, generation, created_at) VALUES ('s1', 's-1', 0, 't')",
    "INSERT INTO voice_subjects (voice_id, subject_id) VALUES (1, 1)",
    f"""INSERT INTO artifacts (uid, voice_id, version_id, role, data_class, digest, size_bytes, kind, facts, added_at,
       present) VALUES ('a1', 1, 1, 'weights', 'model', '{BYTES}', 2000000000, 'pickle', '{{}}', '2026-01-01', true)""",
    "INSERT INTO consents (uid, subject_id, scope, received_at) VALUES ('c1', 1, 'speak', 't')",
    "INSERT INTO jobs (uid, verb, pid, boot_id, started_at) VALUES ('j1', 'speak', 1, 'b', 't')",
)


@contextmanager
def looking(registry: Registry) -> Iterator[Connection]:
    with registry.database.connection(writes=False) as connection:
        yield connection


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Registry]:
    """A registry whose database is empty yet."""
    if databases.active:
        name = server().create()
        registry = Registry(server().url(name), sealer=XorSealer())
        yield registry
        registry.close()
        server().drop(name)
    else:
        registry = Registry(tmp_path / "bare.db", sealer=XorSealer())
        yield registry
        registry.close()


def test_the_migrated_schema_is_the_one_that_the_tables_describe(registry: Registry) -> None:
    with looking(registry) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )

        assert compare_metadata(context, metadata) == []


def test_the_schema_has_the_indexes_and_rules_that_the_tables_describe(
    bare: Registry, registry: Registry
) -> None:
    with bare.database.changing() as connection:
        metadata.create_all(connection)

    with looking(bare) as described, looking(registry) as migrated:
        assert rules(migrated) == rules(described)


def rules(connection: Connection) -> set[tuple[Any, ...]]:
    found: set[tuple[Any, ...]] = set()
    seen = inspect(connection)
    for table in metadata.tables:
        for index in seen.get_indexes(table):
            found.add((table, "index", tuple(index["column_names"]), bool(index["unique"])))
        for unique in seen.get_unique_constraints(table):
            found.add((table, "unique", tuple(unique["column_names"])))
        for key in seen.get_foreign_keys(table):
            found.add((table, tuple(key["constrained_columns"]), key["referred_table"]))
        found.add((table, "key", tuple(seen.get_pk_constraint(table)["constrained_columns"])))
    return found


def test_data_of_the_first_release_live_through_every_migration_and_back(bare: Registry) -> None:
    bring_up(bare.database, target="0001")
    fill(bare)
    before = rows(bare)

    bring_up(bare.database)
    with bare.read() as uow:
        voice = uow.voices.get("kol-a")
        assert (voice.owner, voice.facts, voice.rights) == ("ops", {"a": 1}, None)
    bring_up(bare.database, target="0001")

    assert rows(bare) == before
    bring_up(bare.database, target="base")
    with looking(bare) as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}


def test_sizes_beyond_two_gigabytes_fit(registry: Registry) -> None:
    fill(registry)
    with registry.database.changing() as connection:
        connection.exec_driver_sql("UPDATE artifacts SET size_bytes = 5000000000")

    with registry.read() as uow:
        assert [each.size_bytes for each in uow.voices.artifacts("v1")] == [5_000_000_000]


def test_a_downgrade_works_on_a_registry_with_a_trail(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("init", details={"word": "kept"})
        uow.commit()

    bring_up(registry.database, target="base")

    assert registry.schema_version() is None


def test_a_registry_of_a_newer_vlm_is_left_alone(registry: Registry) -> None:
    with registry.database.changing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    registry.close()

    with pytest.raises(IntegrityError, match="newer vlm"):
        Registry.open(registry.where)


def test_a_migration_that_fails_leaves_the_registry_as_it_was(bare: Registry) -> None:
    bring_up(bare.database, target="0001")
    with bare.database.changing() as connection:
        # Stands in the way of a table of 0002, late in that migration.
        connection.exec_driver_sql("CREATE TABLE backups (id INTEGER)")

    with pytest.raises(Exception, match="already exists"):
        bring_up(bare.database)

    assert bare.database.version() == "0001"
    with looking(bare) as connection:
        assert "uses" not in inspect(connection).get_table_names()


def test_two_processes_that_migrate_at_once_migrate_once(bare: Registry) -> None:
    failed: list[BaseException] = []

    def migrate() -> None:
        mine = Registry(bare.where)
        try:
            mine.migrate()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert bare.schema_version() == HEAD


def fill(registry: Registry) -> None:
    with registry.database.changing() as connection:
        for statement in FIRST_ROWS:
            connection.execute(text(statement.replace(":", r"\:")))


def rows(registry: Registry) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("voices", "versions", "subjects", "voice_subjects", "artifacts", "consents", "jobs")
    with looking(registry) as connection:
        return {
            table: sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {table}")))
            for table in tables
        }
