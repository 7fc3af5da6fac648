"""Every row of a registry: counted, hashed alike in either database, and copied into another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from lifecycle.registry.queries.facts import ABOUT_MOVES
from lifecycle.registry.tables import metadata, registry_facts

BATCH = 2000
Advance = Callable[[int], None]


class Rows:
    """All rows of all tables; one per unit of work. What the registry says about moves is left out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take_time(self) -> None:
        """Let this transaction last as long as it takes."""
        if self._connection.dialect.name == "postgresql":
            for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
                self._connection.exec_driver_sql(f"SET LOCAL {setting} = 0")

    def counts(self) -> Mapping[str, int]:
        """Return how many rows each table has."""
        return {
            table.name: int(self._connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in _tables()
        }

    def empty(self) -> None:
        """Delete every row of every table."""
        for table in reversed(_tables()):
            self._connection.execute(delete(table))

    def copy_to(self, target: Rows, *, advance: Advance) -> None:
        """Copy every row with its id into an empty registry; both transactions stay open.

        Args:
            advance: Told how many rows were copied since the last call.
        """
        for table in _tables():
            for batch in self._batches(table):
                target._connection.execute(insert(table), [dict(row) for row in batch])
                advance(len(batch))
        target._count_on()

    def digests(self, *, advance: Advance) -> Mapping[str, str]:
        """Return a SHA-256 of each table over its rows in the order of their keys."""
        return {table.name: self._digest(table, advance) for table in _tables()}

    def _digest(self, table: Table, advance: Advance) -> str:
        hashed = hashlib.sha256()
        for batch in self._batches(table):
            for row in batch:
                line = json.dumps(dict(row), sort_keys=True, ensure_ascii=True, default=_plain)
                hashed.update(line.encode("ascii") + b"\n")
            advance(len(batch))
        return hashed.hexdigest()

    def _batches(self, table: Table) -> Iterator[list[Mapping[Any, Any]]]:
        query = select(table).order_by(*table.primary_key.columns)
        if table is registry_facts:
            query = query.where(table.c.name.not_in(sorted(ABOUT_MOVES)))
        result = self._connection.execute(query, execution_options={"yield_per": BATCH})
        for part in result.mappings().partitions():
            yield list(part)

    def _count_on(self) -> None:
        """Let the next id of each table be one that no row has; rows that were copied brought theirs."""
        if self._connection.dialect.name != "postgresql":
            return  # SQLite takes the next free one by itself
        for table in _tables():
            if "id" in table.c:
                last = select(func.max(table.c.id)).scalar_subquery()
                sequence = func.pg_get_serial_sequence(table.name, "id")
                self._connection.execute(
                    select(func.setval(sequence, func.coalesce(last, 1), last.is_not(None)))
                )


def _tables() -> list[Table]:
    """Return every table, each after those that it refers to."""
    return list(metadata.sorted_tables)


def _plain(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes:" + bytes(value).hex()
    raise TypeError(f"a column holds a {type(value).__name__}, which no canonical form is known of")
