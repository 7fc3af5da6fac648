"""Names of voices for a shell that completes a word: no keys, no migration, no lock, and no waiting."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_WAIT_S = 0.2
_CONNECT_S = 2
# Ordered in the program: databases do not agree on the order of letters.
_QUERY = "SELECT name FROM voices WHERE name IS NOT NULL AND substr(name, 1, {n}) = {value} LIMIT {limit}"


def voice_names(where: Path | str, prefix: str, *, limit: int = 500) -> list[str]:
    """Return names that begin with a prefix, in order.

    Args:
        where: The registry's file, or its URL of PostgreSQL.

    Raises:
        Exception: Whatever the database says; the caller has nothing to complete then.
    """
    if isinstance(where, Path):
        query = _QUERY.format(n="?", value="?", limit="?")
        address = f"file:{quote(str(where))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as file:
            return sorted(row[0] for row in file.execute(query, (len(prefix), prefix, limit)))
    import psycopg

    plain = where.replace("postgresql+psycopg://", "postgresql://", 1)
    query = _QUERY.format(n="%s", value="%s", limit="%s")
    with psycopg.connect(plain, connect_timeout=_CONNECT_S) as server:
        server.read_only = True
        return sorted(row[0] for row in server.execute(query, (len(prefix), prefix, limit)))
