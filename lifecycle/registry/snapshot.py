"""One moment of a registry as a file of its own, whatever database it lives in."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PAGES = 2048


def copy_sqlite(source: sqlite3.Connection, target: Path, *, seen: Callable[[int, int], object]) -> None:
    """Copy the database as an open transaction sees it into a new file (0600), durably.

    SQLite's backup reads within the transaction of its source, so that others may write meanwhile.

    Args:
        seen: Told how many pages are done, and of how many.

    Raises:
        Unavailable: There is no room.
    """
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = FULL")
            source.backup(copy, pages=_PAGES, progress=lambda _s, left, total: seen(total - left, total))
            # A copy is one file; a write-ahead log beside it would be a second one.
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f'the copy of the database could not be written to "{target.parent}": {error}',
            hint="free some space there, then run it again",
        ) from None
    _sync(target)


def write_copy(connection: Connection, target: Path, *, seen: Callable[[int, int], object]) -> None:
    """Copy a registry as an open transaction sees it into a SQLite file of the same schema.

    Raises:
        Unavailable: There is no room.
    """
    raw = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        copy_sqlite(raw, target, seen=seen)
        return
    _copy_rows(connection, target, seen=seen)


def _copy_rows(connection: Connection, target: Path, *, seen: Callable[[int, int], object]) -> None:
    """Read every table of a server within one transaction into a file with the same schema."""
    from lifecycle.registry.database import translated
    from lifecycle.registry.migrate import bring_up
    from lifecycle.registry.move import Rows
    from lifecycle.registry.sqlite import SqliteDatabase

    copy, source, done = SqliteDatabase(target), Rows(connection), 0
    source.take_time()
    total = sum(source.counts().values())

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        seen(done, total)

    with translated(copy):
        bring_up(copy)
        with copy.connection(writes=True) as into:
            source.copy_to(Rows(into), advance=advance)
            copy.commit(into, event_uid=None)
        copy.close()
        with closing(sqlite3.connect(target, isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode = DELETE").fetchone()
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
