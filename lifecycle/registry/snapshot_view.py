"""Looking into a copy of a registry, which may be anybody's, without changing a byte of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry.unit_of_work import UnitOfWork

if TYPE_CHECKING:
    from lifecycle.registry.trail import TextSealer


@contextmanager
def open_copy(path: Path, *, sealer: TextSealer | None = None) -> Iterator[UnitOfWork]:
    """Look into a copy without changing a byte of it or making a file beside it.

    Args:
        sealer: Opens the text about people; None where only structure is looked at.

    Raises:
        IntegrityError: It is damaged.
    """
    engine = create_engine("sqlite+pysqlite://", creator=lambda: _immutable(path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            work = UnitOfWork(
                connection,
                sealer=sealer,
                clock=lambda: datetime.now(UTC),
                random_bytes=os.urandom,
            )
            try:
                yield work
            finally:
                work.close()
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise IntegrityError(f'"{path.name}" is damaged: {cause}') from None
    finally:
        engine.dispose()


def flaws_of_copy(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a copy; empty when it is whole."""
    try:
        with closing(_immutable(path)) as connection:
            rows = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            rows += [f"a row of {row[0]} refers to nothing" for row in _dangling(connection)]
    except sqlite3.Error as error:
        return [str(error)]
    return [row for row in rows if row != "ok"]


def schema_of_copy(path: Path) -> str | None:
    """Return the schema's revision of a copy; None where it has none.

    Raises:
        IntegrityError: It is no database.
    """
    try:
        with closing(_immutable(path)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    except sqlite3.Error as error:
        raise IntegrityError(f'"{path.name}" is damaged: {error}') from None
    return None if row is None else str(row[0])


def _dangling(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("PRAGMA foreign_key_check").fetchmany(20)


def _immutable(path: Path) -> sqlite3.Connection:
    # Immutable: no lock, no journal that somebody laid beside it, no write.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
    )
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection
