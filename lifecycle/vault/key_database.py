"""keys.db: wrapped keys and nothing else, in a database of the vault's own.

Rows must leave no bytes: rowid tables only, no index on key material, secure_delete read back on every
connection, temporary tables in memory, and a purge ends with VACUUM and a full checkpoint (security model in
docs/adr/0001-keys-and-sealed-blob-v1.md).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lifecycle.domain.errors import Busy, IntegrityError, Unavailable
from lifecycle.vault.files import make_private
from lifecycle.vault.wraps import Binding

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x764B6579  # "vKey"
# A write-ahead log on one machine; a rollback journal where several share the file.
_JOURNALS = frozenset({"wal", "delete"})
_SCHEMA = """
CREATE TABLE epochs (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    current INTEGER NOT NULL CHECK (current IN (0, 1)),
    store_key TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    purpose TEXT NOT NULL,
    subject TEXT,
    ends_at TEXT,
    created_at TEXT NOT NULL
);
CREATE TABLE wraps (
    id INTEGER PRIMARY KEY,
    wrapping TEXT NOT NULL,
    wrapped TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX wraps_by_wrapped ON wraps (wrapped);
CREATE TABLE rotations (
    id INTEGER PRIMARY KEY,
    arguments TEXT NOT NULL,
    plan TEXT,
    old_epoch INTEGER NOT NULL,
    new_epoch INTEGER NOT NULL,
    step TEXT NOT NULL,
    opened INTEGER NOT NULL DEFAULT 0
);
CREATE TRIGGER wraps_current_on_insert BEFORE INSERT ON wraps
WHEN NEW.epoch IS NOT (SELECT number FROM epochs WHERE current = 1)
BEGIN SELECT RAISE(ABORT, 'a wrap may only be made under the current epoch'); END;
CREATE TRIGGER wraps_current_on_update BEFORE UPDATE ON wraps
WHEN NEW.epoch IS NOT (SELECT number FROM epochs WHERE current = 1)
BEGIN SELECT RAISE(ABORT, 'a wrap may only be made under the current epoch'); END;
"""


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One epoch: its store key, wrapped by the holder."""

    number: int
    current: bool
    store_key: str
    wrapped: bytes
    created_at: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What a key is for; its material is only in its wraps."""

    uid: str
    purpose: str
    subject: str | None
    ends_at: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class WrapRow:
    """One wrap: `wrapped` under `wrapping`, which is a key's uid or an epoch's store key."""

    wrapping: str
    wrapped: str
    epoch: int
    content: bytes

    def binding(self, key: KeyRow) -> Binding:
        """Return what the wrap must have been bound to."""
        return Binding(
            wrapping=self.wrapping,
            wrapped=self.wrapped,
            subject=key.subject,
            epoch=self.epoch,
            purpose=key.purpose,
        )


@dataclass(frozen=True, slots=True)
class Rotation:
    """A purge of keys that began; `plan` (JSON, random ids) is there until the old wraps are gone."""

    id: int
    arguments: str
    plan: str | None
    old_epoch: int
    new_epoch: int
    step: str
    opened: int


class KeyDatabase:
    """Connections to keys.db, each with its safety settings read back."""

    def __init__(self, path: Path, *, busy_seconds: float = 10.0) -> None:
        self.path = path
        self._busy_seconds = busy_seconds

    def create(self) -> None:
        """Make an empty database (0600) unless there is one."""
        make_private(self.path.parent)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        with self.write(schema=False) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _statements(_SCHEMA):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def ready(self) -> bool:
        """Whether the file is there and has its tables."""
        if not self.path.is_file():
            return False
        with self._connection(schema=False) as connection:
            return bool(connection.execute("PRAGMA user_version").fetchone()[0])

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the database."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def write(self, *, schema: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; committed at the end, rolled back when anything is raised."""
        with self._connection(schema=schema) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep a connection that does nothing, so that others open and close without emptying the log each time."""
        with self._connection():
            yield

    def forget(self) -> None:
        """VACUUM, and bring everything from the write-ahead log into the file.

        Raises:
            Busy: Another process reads the database; the log still holds old pages.
        """
        with self._connection() as connection:
            connection.execute("VACUUM")
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                return  # the journal ended with the transaction
            deadline = time.monotonic() + self._busy_seconds
            while True:
                answer = tuple(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
                wal = self.path.with_name(self.path.name + "-wal")
                if answer == (0, 0, 0) and (not wal.exists() or wal.stat().st_size == 0):
                    return
                if time.monotonic() >= deadline:
                    raise Busy(
                        "another process reads the key database, so deleted keys could not be cleared from it",
                        hint="end every other process that uses the registry, then run it again",
                    )
                time.sleep(0.05)

    def share(self, shared: bool) -> None:
        """Keep the database so that several machines may open it, or so that one is fastest.

        A write-ahead log needs memory that all its users share, so on a network file system it would be damaged.

        Raises:
            Busy: Another process has it open the other way.
        """
        wanted = "delete" if shared else "wal"
        with self._connection() as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == wanted:
                return
            if connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0] != wanted:
                raise Busy(
                    "another process holds the key database", hint="wait for it to end, then run it again"
                )

    def files(self) -> list[Path]:
        """Return the files that SQLite keeps for the database, those that exist."""
        names = ("", "-wal", "-shm", "-journal")
        return [path for end in names if (path := self.path.with_name(self.path.name + end)).exists()]

    @contextlib.contextmanager
    def _connection(self, *, schema: bool = True) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise IntegrityError(f'the key database "{self.path.name}" is missing', hint="vlm doctor")
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None)
            ) as connection:
                _prepare(connection, schema=schema)
                try:
                    yield connection
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.OperationalError as error:
            raise _operational(self.path, error) from None
        except sqlite3.DatabaseError as error:
            raise IntegrityError(
                f'the key database "{self.path.name}" is damaged: {error}', hint="vlm doctor"
            ) from None


def _prepare(connection: sqlite3.Connection, *, schema: bool) -> None:
    for pragma in ("secure_delete = ON", "temp_store = MEMORY", "synchronous = FULL", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "delete" and not connection.execute("PRAGMA user_version").fetchone()[0]:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    read_back = [
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("secure_delete", "temp_store")
    ]
    if mode not in _JOURNALS or read_back != [1, 2]:
        raise Unavailable("this SQLite does not keep deleted keys from the disk: secure_delete is not obeyed")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if schema and version != SCHEMA_VERSION:
        raise IntegrityError(f"the key database has version {version}; this program reads {SCHEMA_VERSION}")


def _operational(path: Path, error: sqlite3.OperationalError) -> Exception:
    text = str(error)
    if "locked" in text or "busy" in text:
        return Busy("another process holds the key database", hint="wait for it to end, then run it again")
    if "full" in text:
        return Unavailable(
            f'there is no room in "{path.parent}"', hint="free some space there, then run it again"
        )
    return Unavailable(f'the key database "{path.name}" cannot be used: {text}', hint="vlm doctor")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def epochs(connection: sqlite3.Connection) -> dict[int, EpochRow]:
    """Return all epochs by number."""
    rows = connection.execute("SELECT number, current, store_key, wrapped, created_at FROM epochs")
    return {number: EpochRow(number, bool(current), *rest) for number, current, *rest in rows}


def current_epoch(connection: sqlite3.Connection) -> EpochRow:
    """Return the epoch under which wraps are made.

    Raises:
        IntegrityError: There is none.
    """
    for epoch in epochs(connection).values():
        if epoch.current:
            return epoch
    raise IntegrityError("the key database has no current epoch", hint="vlm doctor")


_KEY = "SELECT uid, purpose, subject, ends_at, created_at FROM keys"


def key_row(connection: sqlite3.Connection, uid: str) -> KeyRow | None:
    """Return what is known of a key, or None."""
    row = connection.execute(f"{_KEY} WHERE uid = ?", (uid,)).fetchone()
    return None if row is None else KeyRow(*row)


def key_rows(connection: sqlite3.Connection) -> dict[str, KeyRow]:
    """Return all keys by uid."""
    return {row[0]: KeyRow(*row) for row in connection.execute(f"{_KEY} ORDER BY id")}


def find_key(
    connection: sqlite3.Connection, *, purpose: str, subject: str | None, ends_at: str | None = None
) -> KeyRow | None:
    """Return the newest key of a purpose and a person, or None."""
    row = connection.execute(
        f"{_KEY} WHERE purpose = ? AND subject IS ? AND ends_at IS ? ORDER BY id DESC LIMIT 1",
        (purpose, subject, ends_at),
    ).fetchone()
    return None if row is None else KeyRow(*row)


_WRAP = "SELECT wrapping, wrapped, epoch, bytes FROM wraps"


def wrap_rows(connection: sqlite3.Connection, wrapped: str | None = None) -> list[WrapRow]:
    """Return the wraps of one key, or all; those of the newest epoch first."""
    if wrapped is None:
        rows = connection.execute(f"{_WRAP} ORDER BY epoch DESC, id")
    else:
        rows = connection.execute(f"{_WRAP} WHERE wrapped = ? ORDER BY epoch DESC, id", (wrapped,))
    return [WrapRow(*row) for row in rows]


def add_epoch(connection: sqlite3.Connection, epoch: EpochRow) -> None:
    """Add an epoch and make it the current one."""
    connection.execute("UPDATE epochs SET current = 0")
    connection.execute(
        "INSERT INTO epochs (number, current, store_key, wrapped, created_at) VALUES (?, 1, ?, ?, ?)",
        (epoch.number, epoch.store_key, epoch.wrapped, epoch.created_at),
    )


def add_key(connection: sqlite3.Connection, key: KeyRow) -> None:
    """Add a key; its wrap is added beside it."""
    connection.execute(
        "INSERT INTO keys (uid, purpose, subject, ends_at, created_at) VALUES (?, ?, ?, ?, ?)",
        (key.uid, key.purpose, key.subject, key.ends_at, key.created_at),
    )


def add_wrap(connection: sqlite3.Connection, row: WrapRow) -> None:
    """Add a wrap; refused by the database unless it is under the current epoch."""
    connection.execute(
        "INSERT INTO wraps (wrapping, wrapped, epoch, bytes) VALUES (?, ?, ?, ?)",
        (row.wrapping, row.wrapped, row.epoch, row.content),
    )


_ROTATION = "SELECT id, arguments, plan, old_epoch, new_epoch, step, opened FROM rotations"


def rotation(connection: sqlite3.Connection, *, arguments: str | None = None) -> Rotation | None:
    """Return the rotation that is not done or, with `arguments`, the newest one that was asked for so."""
    if arguments is None:
        row = connection.execute(f"{_ROTATION} WHERE step <> 'done' ORDER BY id LIMIT 1").fetchone()
    else:
        row = connection.execute(
            f"{_ROTATION} WHERE arguments = ? ORDER BY id DESC LIMIT 1", (arguments,)
        ).fetchone()
    return None if row is None else Rotation(*row)
