"""A registry in a database of PostgreSQL: settings read back, one writer at a time, a lost server told truthfully."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from lifecycle.domain.errors import Busy, Unavailable, UsageError, VlmError
from lifecycle.registry.database import BUSY_SECONDS, POSTGRESQL
from lifecycle.registry.postgres_errors import gone, lost, told
from lifecycle.registry.tables import metadata

if TYPE_CHECKING:
    import psycopg

OLDEST = 13  # pg_current_xact_id
INSTALL = "install it with: pip install 'voice-lifecycle[postgres]'"
# How long the outcome of a commit is asked for after the server went away; a restart takes less.
RESOLVE_SECONDS = 15.0

# Held to the end of a writer's transaction, so that the trail stays one chain whichever machine writes.
_LOCK = "pg_advisory_xact_lock(hashtextextended('vlm:registry:' || current_schema(), 0))"
_CONNECT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# A server must not keep the lock of a machine that lost its power, nor run one statement for ever.
_SESSION = {
    "statement_timeout": "900s",
    "idle_in_transaction_session_timeout": "1800s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "TimeZone": "UTC",
    "synchronous_commit": "on",
    # Ours are many small questions, for each of which compiling takes longer than the answer, and a registry lies in
    # the memory of its server: asked by an index, not by reading a whole table.
    "jit": "off",
    "random_page_cost": "1.1",
}


class PostgresDatabase:
    """One schema of one database of a server; a registry has it to itself.

    Args:
        where: A URL as libpq knows it, with `postgresql` or `postgresql+psycopg` before the colon.
        busy_seconds: How long a writer waits for another.
    """

    kind = POSTGRESQL
    rewrites = False

    def __init__(self, where: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self._url = parse(where)
        self.place = _place(self._url)
        self._busy_seconds = busy_seconds
        self._engine: Engine | None = None

    @contextmanager
    def connection(self, *, writes: bool) -> Iterator[Connection]:
        """Give a connection in a transaction: one moment for a reader, the registry's lock for a writer."""
        with self._pool().connect() as raw:
            if not writes:
                moment = raw.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                moment.begin()
                yield moment
                return
            with self._locked(raw):
                yield raw

    @contextmanager
    def _locked(self, connection: Connection) -> Iterator[Connection]:
        connection.begin()
        # The lock comes first and each statement sees what is committed then, so nothing that is read is stale.
        xid = connection.exec_driver_sql(f"SELECT pg_current_xact_id()::text, {_LOCK}").scalar_one()
        connection.info["xid"] = str(xid)
        yield connection

    def commit(self, connection: Connection, *, event_uid: str | None) -> None:
        """Keep a writer's transaction; where the answer is lost, ask the server what became of it.

        Raises:
            Unavailable: It was not kept, or nobody can say.
        """
        xid = str(connection.info["xid"])
        try:
            connection.commit()
        except DBAPIError as error:
            if not lost(error.orig):
                raise
            if not self._was_kept(xid, event_uid):
                raise gone(self.place) from error

    def _was_kept(self, xid: str, event_uid: str | None) -> bool:
        deadline = time.monotonic() + RESOLVE_SECONDS
        while True:
            try:
                with self.connection(writes=True) as connection:  # waits until the old transaction has ended
                    return _find(connection, xid, event_uid)
            except (DBAPIError, Busy):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.25)
        raise Unavailable(
            f"the registry's server ({self.place}) went away while a change was being kept, and whether it was is "
            "not known; it was kept whole or not at all, and the same command can be run again",
            hint="vlm trail verify",
        )

    def told(self, error: Exception) -> VlmError | None:
        """Return ours for an error of the server, of its driver or of the pool."""
        return told(error, self.place)

    def version(self) -> str | None:
        """Return the schema's revision; None where there is no registry."""
        with self.connection(writes=False) as connection:
            if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is None:
                return None
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return None if found is None else str(found)

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """Give a connection for a migration, kept whole or not at all."""
        with self._pool().connect() as raw, self._locked(raw) as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            yield connection
            connection.commit()

    def vacuum(self) -> tuple[int, int, int]:
        """Let the server reuse what was deleted; old bytes may stay in its files, log and copies."""
        with self._pool().connect() as raw:
            connection = raw.execution_options(isolation_level="AUTOCOMMIT")
            for table in metadata.sorted_tables:
                connection.exec_driver_sql(f'VACUUM (ANALYZE) "{table.name}"')
        return 0, 0, 0

    def check(self) -> list[str]:
        """Return tables that are missing or cannot be read, and indexes and rules that do not hold."""
        flaws = []
        with self.connection(writes=False) as connection:
            for table in metadata.sorted_tables:
                if (
                    connection.execute(text("SELECT to_regclass(:name)"), {"name": table.name}).scalar()
                    is None
                ):
                    flaws.append(f'the table "{table.name}" is missing')
            rows = connection.exec_driver_sql(_UNSOUND).scalars().all()
        return flaws + [f'"{name}" is not valid' for name in rows]

    def size_bytes(self) -> int:
        """Return what the tables take, with their indexes."""
        total = 0
        with self.connection(writes=False) as connection:
            for table in metadata.sorted_tables:
                query = text("SELECT pg_total_relation_size(to_regclass(:name))")
                total += int(connection.execute(query, {"name": table.name}).scalar() or 0)
        return total

    def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _pool(self) -> Engine:
        if self._engine is None:
            # One to write and one to read suffice; threads beside them get theirs and give them back at once.
            self._engine = create_engine(
                self._url,
                isolation_level="READ COMMITTED",
                pool_size=2,
                max_overflow=14,
                pool_timeout=self._busy_seconds,
                pool_pre_ping=True,
                connect_args={**_CONNECT, "application_name": self._url.query.get("application_name", "vlm")},
            )
            wait = {**_SESSION, "lock_timeout": f"{max(1, round(self._busy_seconds * 1000))}ms"}

            @event.listens_for(self._engine, "connect")
            def _settle(connection: psycopg.Connection[Any], _record: object) -> None:
                _set_and_read_back(connection, wait, self.place)

        return self._engine


# Indexes that were being built when something went wrong, and rules that were never checked against all rows.
_UNSOUND = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND NOT (i.indisvalid AND i.indisready)
    UNION SELECT conname FROM pg_constraint
    WHERE connamespace = current_schema()::regnamespace AND NOT convalidated
    ORDER BY 1
"""


def parse(where: str) -> URL:
    """Read a URL of PostgreSQL.

    Raises:
        UsageError: It is none.
        Unavailable: The driver is not installed.
    """
    try:
        url = make_url(where)
    except ArgumentError:
        raise UsageError(
            'the setting "database_url" is no URL such as postgresql://user@host/database',
            hint="vlm config show",
        ) from None
    if url.drivername not in {"postgresql", "postgresql+psycopg", "postgres"}:
        raise UsageError(
            f'the setting "database_url" begins with "{url.drivername}:", and only postgresql: is known',
            hint="vlm config show",
        )
    if not url.database:
        raise UsageError('the setting "database_url" names no database', hint="vlm config show")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise Unavailable(
            "a registry in PostgreSQL needs psycopg, which is not installed", hint=INSTALL
        ) from None
    return url.set(drivername="postgresql+psycopg")


def _place(url: URL) -> str:
    host = url.host or url.query.get("host") or "this machine"
    where = host if isinstance(host, str) else ",".join(host)
    port = f":{url.port}" if url.port else ""
    return f'PostgreSQL database "{url.database}" on {where}{port}'


def _find(connection: Connection, xid: str, event_uid: str | None) -> bool:
    if event_uid is not None:
        query = text("SELECT count(*) FROM events WHERE uid = :uid")
        return bool(connection.execute(query, {"uid": event_uid}).scalar_one())
    # A number that the server has not given out yet belongs to a transaction that it lost.
    query = text(
        "SELECT CASE WHEN CAST(:xid AS xid8) < pg_snapshot_xmax(pg_current_snapshot()) "
        "THEN pg_xact_status(CAST(:xid AS xid8)) END"
    )
    return connection.execute(query, {"xid": xid}).scalar() == "committed"


def _set_and_read_back(connection: psycopg.Connection[Any], settings: dict[str, str], place: str) -> None:
    connection.autocommit = True
    calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
    values = [word for pair in settings.items() for word in pair]
    row = connection.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), "
        f"current_schema(), pg_is_in_recovery(), {calls}",
        values,
    ).fetchone()
    connection.autocommit = False
    version, encoding, schema, replica = row[:4] if row is not None else (0, "", None, False)
    if version < OLDEST * 10_000:
        raise Unavailable(f"{place} is version {version // 10_000}, and {OLDEST} is the oldest that is known")
    if encoding != "UTF8":
        raise Unavailable(f"{place} stores text as {encoding}, and only UTF8 keeps every name")
    if schema is None:
        raise Unavailable(f"{place} has no schema of that name", hint="create it, or change its search_path")
    if replica:
        raise Unavailable(f"{place} is a replica, which cannot be written", hint="name the primary server")
