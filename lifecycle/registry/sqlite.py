"""A registry in a file of SQLite: opened with every pragma read back, one engine for writers, one for readers."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from lifecycle.domain.errors import Busy, IntegrityError, Unavailable, VlmError
from lifecycle.registry.database import BUSY_SECONDS, SQLITE

# What every connection must answer; temp_store 2 is memory, synchronous 2 is FULL: a commit is on the disk.
PRAGMAS = {"foreign_keys": 1, "secure_delete": 1, "temp_store": 2, "synchronous": 2}


class SqliteDatabase:
    """One file, with its write-ahead log beside it.

    Args:
        busy_seconds: How long a writer waits for another.
    """

    kind = SQLITE
    rewrites = True

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self.place = str(path)
        self._busy_seconds = busy_seconds
        self._engines: dict[bool, Engine] = {}

    @contextmanager
    def connection(self, *, writes: bool) -> Iterator[Connection]:
        """Give a connection in a transaction; a writer's holds the lock from its start."""
        if writes not in self._engines:
            self._engines[writes] = self._engine(writes=writes)
        with self._engines[writes].connect() as connection:
            connection.begin()
            yield connection

    def commit(self, connection: Connection, *, event_uid: str | None) -> None:  # noqa: ARG002
        """Keep a writer's transaction."""
        connection.commit()

    def version(self) -> str | None:
        """Return the schema's revision without opening the file for writing; None where there is none."""
        if not self.path.exists():
            return None
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=self._busy_seconds)) as connection:
            try:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return None
                raise
        return None if row is None else str(row[0])

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """Give a connection for a migration; the file is for its owner alone afterwards."""
        engine = create_engine("sqlite+pysqlite://", creator=self.connect, poolclass=NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.exec_driver_sql("COMMIT")
        self.path.chmod(0o600)

    def vacuum(self) -> tuple[int, int, int]:
        """Rewrite the file without freed pages, and empty the write-ahead log.

        Returns:
            What `wal_checkpoint(TRUNCATE)` answered; (0, 0, 0) when no byte is left in the log.
        """
        self.close()
        with closing(self.connect()) as connection:
            connection.execute("VACUUM")
            answer = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return int(answer[0]), int(answer[1]), int(answer[2])

    def check(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty when it is whole."""
        with closing(self.connect()) as connection:
            rows = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
        return [row for row in rows if row != "ok"] + [
            f"a row of {row[0]} refers to nothing" for row in dangling
        ]

    def size_bytes(self) -> int:
        """Return the size of the file and of its log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def connect(self, *, writes: bool = True) -> sqlite3.Connection:
        """Open one connection, set its pragmas and read them back.

        Raises:
            IntegrityError: This SQLite does not take a setting that erasure relies on.
            sqlite3.Error: The file cannot be opened.
        """
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
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
                raise IntegrityError(
                    f'"{self.path}" lies where SQLite cannot keep a write-ahead log ({mode})'
                )
            if not writes:
                connection.execute("PRAGMA query_only=1")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close every connection."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()

    def _engine(self, *, writes: bool) -> Engine:
        engine = create_engine(
            "sqlite+pysqlite://", creator=lambda: self.connect(writes=writes), poolclass=NullPool
        )

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            if writes:
                self._lock(raw)
            else:
                raw.execute("BEGIN")

        return engine

    def _lock(self, connection: sqlite3.Connection) -> None:
        """Begin a writer's transaction, which locks at once: reading first and locking later could lose what was read.

        SQLite's own waiting sleeps up to 0.1 s between two looks, so that one of many writers may be overtaken for
        minutes; looking again every few milliseconds gives each the same chance.
        """
        connection.execute("PRAGMA busy_timeout = 0")
        deadline, pause = time.monotonic() + self._busy_seconds, 0.001
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0005, pause))
            pause = min(pause * 1.5, 0.008)
        connection.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}")

    def told(self, error: Exception) -> VlmError | None:
        """Return ours for an error of SQLite."""
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return Busy("another process writes to the registry; nothing was changed", hint="vlm list")
        if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
            return Unavailable(
                f'no space is left on the disk of "{self.path.parent}", or it cannot be written; nothing was '
                "changed",
                hint="free some space, then: vlm doctor",
            )
        if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
            return Unavailable(
                f'the registry "{self.path}" cannot be opened for writing', hint="vlm config show"
            )
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return IntegrityError(f'the registry "{self.path}" is damaged: {error}', hint="vlm doctor")
        if code == sqlite3.SQLITE_CONSTRAINT:
            return IntegrityError(f"the registry refused rows that contradict each other: {error}")
        return VlmError(f"this is a bug in vlm, please report it: the registry answered: {error}")
