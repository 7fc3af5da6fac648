"""What the registry asks of a database; SQLite and PostgreSQL each answer in a module of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from lifecycle.domain.errors import VlmError

BUSY_SECONDS = 30.0
SQLITE, POSTGRESQL = "sqlite", "postgresql"


class Database(Protocol):
    """One database that holds one registry.

    Attributes:
        kind: `sqlite` or `postgresql`.
        place: Where it is, for people; never a password.
        rewrites: Whether `vacuum` leaves no byte of what was deleted, so that a purge may say so.
    """

    kind: str
    place: str
    rewrites: bool

    def connection(self, *, writes: bool) -> AbstractContextManager[Connection]:
        """Give a connection in a transaction: one moment for a reader, the write lock for a writer."""

    def commit(self, connection: Connection, *, event_uid: str | None) -> None:
        """Keep a writer's transaction; `event_uid` is an event that it added, by which it can be found again."""

    def told(self, error: Exception) -> VlmError | None:
        """Return ours for an error of the driver; None for any other error."""

    def version(self) -> str | None:
        """Return the schema's revision; None where there is no registry yet. Makes nothing."""

    def changing(self) -> AbstractContextManager[Connection]:
        """Give a connection that holds the write lock for a migration, and keep it all at the end."""

    def vacuum(self) -> tuple[int, int, int]:
        """Free what was deleted; (0, 0, 0) when nothing stood in the way."""

    def check(self) -> list[str]:
        """Return what is wrong with the database; empty when it is whole."""

    def size_bytes(self) -> int:
        """Return how many bytes the registry takes there."""

    def close(self) -> None:
        """Close every connection."""


def database_of(where: Path | str, busy_seconds: float = BUSY_SECONDS) -> Database:
    """Return the database for a file's path, or for a URL of PostgreSQL.

    Raises:
        UsageError: A URL of another kind.
        Unavailable: The driver for PostgreSQL is not installed.
    """
    if isinstance(where, Path):
        from lifecycle.registry.sqlite import SqliteDatabase

        return SqliteDatabase(where, busy_seconds)
    from lifecycle.registry.postgres import PostgresDatabase

    return PostgresDatabase(where, busy_seconds)


@contextmanager
def translated(database: Database) -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except VlmError:
        raise
    except Exception as error:
        cause = error.orig if isinstance(error, SQLAlchemyError) and hasattr(error, "orig") else error
        told = database.told(cause if isinstance(cause, Exception) else error)
        if told is None:
            raise
        raise told from error
