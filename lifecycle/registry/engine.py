"""The registry's database: opened with every pragma read back, one engine for writers and one for readers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from lifecycle.domain.errors import Busy, IntegrityError, Refused, Unavailable, VlmError
from lifecycle.registry.migrate import bring_up, version_of
from lifecycle.registry.trail import TextSealer
from lifecycle.registry.unit_of_work import UnitOfWork

BUSY_SECONDS = 30.0
# What every connection must answer; temp_store 2 is memory, synchronous 2 is FULL: a commit is on the disk.
PRAGMAS = {"foreign_keys": 1, "secure_delete": 1, "temp_store": 2, "synchronous": 2}


def utc_now() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(UTC)


class Registry:
    """One registry; `read()` and `write()` give units of work.

    Args:
        path: The database file.
        sealer: Seals and opens the text about people; None where only a schema is looked at.
        clock: The time of day.
        random_bytes: Where ids and salts come from.
        writable: False for a registry that is older than its anchor: every write is refused.
        busy_seconds: How long a writer waits for another.
    """

    def __init__(
        self,
        path: Path,
        *,
        sealer: TextSealer | None = None,
        clock: Callable[[], datetime] = utc_now,
        random_bytes: Callable[[int], bytes] = os.urandom,
        writable: bool = True,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path
        self.sealer = sealer
        self.writable = writable
        self._clock = clock
        self._random_bytes = random_bytes
        self._busy_seconds = busy_seconds
        self._writer: Engine | None = None
        self._reader: Engine | None = None

    @classmethod
    def open(
        cls,
        path: Path,
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
        """
        registry = cls(path, sealer=sealer, clock=clock, random_bytes=random_bytes, busy_seconds=busy_seconds)
        registry.migrate()
        return registry

    def migrate(self) -> None:
        """Bring the schema up to date; costs one small query where it is."""
        with translated(self.path):
            bring_up(self.path, connect=lambda: connect(self.path, self._busy_seconds))

    def schema_version(self) -> str | None:
        """Return the revision that the file says it has."""
        with translated(self.path):
            return version_of(self.path)

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """Give a unit of work that sees one moment and can change nothing."""
        if self._reader is None:
            self._reader = _engine(self.path, self._busy_seconds, writes=False)
        with self._work(self._reader, writes=False) as work:
            yield work

    @contextmanager
    def write(self) -> Iterator[UnitOfWork]:
        """Give a unit of work that holds the write lock from its start; without `commit()` nothing is kept.

        Raises:
            Busy: Another process held the lock for too long.
            Refused: The registry was opened read-only.
        """
        if not self.writable:
            raise Refused(
                "the registry is older than its anchor, so it is open for reading only", hint="vlm doctor"
            )
        if self._writer is None:
            self._writer = _engine(self.path, self._busy_seconds, writes=True)
        with self._work(self._writer, writes=True) as work:
            yield work

    @contextmanager
    def _work(self, engine: Engine, *, writes: bool) -> Iterator[UnitOfWork]:
        with translated(self.path), engine.connect() as connection:
            connection.begin()
            work = UnitOfWork(
                connection,
                writes=writes,
                sealer=self.sealer,
                clock=self._clock,
                random_bytes=self._random_bytes,
            )
            try:
                yield work
            finally:
                work.close()

    def vacuum(self) -> tuple[int, int, int]:
        """Rewrite the file without freed pages, and empty the write-ahead log.

        Returns:
            What `wal_checkpoint(TRUNCATE)` answered; (0, 0, 0) when no byte is left in the log.

        Raises:
            Busy: Another process reads or writes.
        """
        self.close()
        with translated(self.path):
            connection = connect(self.path, self._busy_seconds)
            try:
                connection.execute("VACUUM")
                answer = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.close()
        return int(answer[0]), int(answer[1]), int(answer[2])

    def check(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty when it is whole."""
        with translated(self.path):
            connection = connect(self.path, self._busy_seconds)
            try:
                rows = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
                rows += [f"a row of {row[0]} refers to nothing" for row in _dangling(connection)]
            finally:
                connection.close()
        return [row for row in rows if row != "ok"]

    def close(self) -> None:
        """Close every connection."""
        for engine in (self._writer, self._reader):
            if engine is not None:
                engine.dispose()
        self._writer = self._reader = None


def _dangling(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return list(connection.execute("PRAGMA foreign_key_check"))


def connect(path: Path, busy_seconds: float = BUSY_SECONDS, *, writes: bool = True) -> sqlite3.Connection:
    """Open one connection, set its pragmas and read them back.

    Raises:
        IntegrityError: This SQLite does not take a setting that erasure relies on.
        sqlite3.Error: The file cannot be opened.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        for name, value in PRAGMAS.items():
            connection.execute(f"PRAGMA {name}={value}")
            answer = connection.execute(f"PRAGMA {name}").fetchone()[0]
            if answer != value:
                raise IntegrityError(f"this SQLite does not take {name}={value} (it says {answer})")
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal" and writes:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal" and writes:
            raise IntegrityError(f'"{path}" lies where SQLite cannot keep a write-ahead log ({mode})')
        if not writes:
            connection.execute("PRAGMA query_only=1")
    except BaseException:
        connection.close()
        raise
    return connection


def _engine(path: Path, busy_seconds: float, *, writes: bool) -> Engine:
    engine = create_engine(
        "sqlite+pysqlite://", creator=lambda: connect(path, busy_seconds, writes=writes), poolclass=NullPool
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: object) -> None:
        # A writer that reads first and locks later could lose what it read; IMMEDIATE locks at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")  # type: ignore[attr-defined]

    return engine


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, sqlite3.Error):
            raise
        raise _told(cause, path) from error


def _told(cause: sqlite3.Error, path: Path) -> VlmError:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy("another process writes to the registry; nothing was changed", hint="vlm list")
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return Unavailable(
            f'no space is left on the disk of "{path.parent}", or it cannot be written; nothing was changed',
            hint="free some space, then: vlm doctor",
        )
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return Unavailable(f'the registry "{path}" cannot be opened for writing', hint="vlm config show")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return IntegrityError(f'the registry "{path}" is damaged: {cause}', hint="vlm doctor")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return IntegrityError(f"the registry refused rows that contradict each other: {cause}")
    return VlmError(f"this is a bug in vlm, please report it: the registry answered: {cause}")
