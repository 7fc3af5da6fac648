"""The registry: one face, two databases; every write is one transaction that holds the write lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import inspect

from lifecycle.domain.errors import Refused
from lifecycle.registry.database import BUSY_SECONDS, Database, database_of, translated
from lifecycle.registry.migrate import bring_up
from lifecycle.registry.queries.facts import MOVED_TO
from lifecycle.registry.trail import TextSealer
from lifecycle.registry.unit_of_work import UnitOfWork


def utc_now() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(UTC)


class Registry:
    """One registry; `read()` and `write()` give units of work.

    Args:
        where: The database file, or a URL of PostgreSQL.
        sealer: Seals and opens the text about people; None where only a schema is looked at.
        clock: The time of day.
        random_bytes: Where ids and salts come from.
        busy_seconds: How long a writer waits for another.

    Attributes:
        writable: False for a registry that is older than its anchor: every write is refused.
        moved_to: Where the registry lives now, if it was moved away from here: every write is refused.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        sealer: TextSealer | None = None,
        clock: Callable[[], datetime] = utc_now,
        random_bytes: Callable[[int], bytes] = os.urandom,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.database: Database = database_of(where, busy_seconds)
        self.where = where
        self.sealer = sealer
        self.writable = True
        self.moved_to: str | None = None
        self._clock = clock
        self._random_bytes = random_bytes

    @classmethod
    def open(
        cls,
        where: Path | str,
        *,
        sealer: TextSealer | None = None,
        clock: Callable[[], datetime] = utc_now,
        random_bytes: Callable[[int], bytes] = os.urandom,
        busy_seconds: float = BUSY_SECONDS,
    ) -> Registry:
        """Open a registry, make it where there is none, and migrate it where its schema is older.

        Raises:
            Busy: Another process holds the lock.
            IntegrityError: The file is no database, or its schema is newer than this vlm.
            Unavailable: The server cannot be reached, or its driver is missing.
        """
        registry = cls(
            where, sealer=sealer, clock=clock, random_bytes=random_bytes, busy_seconds=busy_seconds
        )
        registry.migrate()
        return registry

    @property
    def path(self) -> Path:
        """The database file; only a registry in SQLite has one."""
        if not isinstance(self.where, Path):
            raise TypeError("a registry in PostgreSQL is no file")
        return self.where

    def migrate(self) -> None:
        """Bring the schema up to date; costs one small query where it is."""
        with translated(self.database):
            bring_up(self.database)

    def schema_version(self) -> str | None:
        """Return the revision that the database says it has; None where there is no registry."""
        with translated(self.database):
            return self.database.version()

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """Give a unit of work that sees one moment and can change nothing."""
        with self._work(writes=False) as work:
            yield work

    @contextmanager
    def write(self) -> Iterator[UnitOfWork]:
        """Give a unit of work that holds the write lock from its start; without `commit()` nothing is kept.

        Raises:
            Busy: Another process held the lock for too long.
            Refused: The registry was opened read-only, or was moved elsewhere.
            Unavailable: The server went away; nothing was changed.
        """
        if self.moved_to is not None:
            raise _moved(self.moved_to)
        if not self.writable:
            raise Refused(
                "the registry is older than its anchor, so it is open for reading only", hint="vlm doctor"
            )
        with self._work(writes=True) as work:
            # A process that opened the registry before it was moved must not go on writing into what is left of it.
            place = work.facts.all().get(MOVED_TO)
            if place is not None:
                raise _moved(place)
            yield work

    @contextmanager
    def change(self) -> Iterator[UnitOfWork]:
        """Give a writer's unit of work whatever the registry says about moves; for moving it alone."""
        with self._work(writes=True) as work:
            yield work

    def tables(self) -> set[str]:
        """Return the names of all tables of the database, others' too."""
        with translated(self.database), self.database.connection(writes=False) as connection:
            return set(inspect(connection).get_table_names())

    @contextmanager
    def _work(self, *, writes: bool) -> Iterator[UnitOfWork]:
        with translated(self.database), self.database.connection(writes=writes) as connection:
            work = UnitOfWork(
                connection,
                self.database.commit if writes else None,
                sealer=self.sealer,
                clock=self._clock,
                random_bytes=self._random_bytes,
            )
            try:
                yield work
            finally:
                work.close()

    def vacuum(self) -> tuple[int, int, int]:
        """Free what was deleted, outside any transaction.

        Returns:
            (0, 0, 0) when nothing stood in the way; with SQLite no byte of what was deleted is left then.

        Raises:
            Busy: Another process reads or writes.
        """
        with translated(self.database):
            return self.database.vacuum()

    def check(self) -> list[str]:
        """Return what the database finds wrong with itself; empty when it is whole."""
        with translated(self.database):
            return self.database.check()

    def size_bytes(self) -> int:
        """Return how many bytes the registry takes in its database."""
        with translated(self.database):
            return self.database.size_bytes()

    def close(self) -> None:
        """Close every connection."""
        self.database.close()


def _moved(place: str) -> Refused:
    return Refused(
        f"the registry was moved to {place}, so what is left here is for reading only",
        hint="set VLM_DATABASE_URL to where it is now, or unset it if that is VLM_HOME",
    )
