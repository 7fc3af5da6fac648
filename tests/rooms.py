"""A registry with its vault in a folder of its own, opened in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lifecycle.bootstrap import Rooms, utc_now
from lifecycle.registry.engine import Registry
from lifecycle.registry.tables import metadata
from lifecycle.services.home import initialise
from lifecycle.services.session import open_session
from lifecycle.settings import Settings, load_settings
from tests.postgres import databases


def environment_of(folder: Path) -> dict[str, str]:
    """The variables that name a registry below a folder, for a program that reads them."""
    url = databases.url_of(folder)
    return {
        **({} if url is None else {"VLM_DATABASE_URL": url}),
        "VLM_HOME": str(folder / "home"),
        "VLM_KEYS": str(folder / "keys"),
        "VLM_RUNTIMES": str(folder / "runtimes"),
        "VLM_CONFIG": str(folder / "vlm.toml"),
    }


def settings_of(folder: Path) -> Settings:
    """Settings of a registry below a folder; the user's own are not read."""
    return load_settings(environment_of(folder), cwd=folder)


def where_of(folder: Path) -> Path | str:
    """Where the registry below a folder lies."""
    return databases.url_of(folder) or folder / "home" / "registry.db"


def stored_bytes(folder: Path) -> bytes:
    """Every byte of the registry: of its file, or of every value that a server would give."""
    where = where_of(folder)
    if isinstance(where, Path):
        return b"".join(path.read_bytes() for path in sorted(where.parent.glob("registry.db*")))
    registry = Registry(where)
    with registry.database.connection(writes=False) as connection:
        values = [
            value
            for table in metadata.sorted_tables
            for row in connection.execute(table.select())
            for value in row
        ]
    registry.close()
    return b"\n".join(value if isinstance(value, bytes) else repr(value).encode() for value in values)


def change(folder: Path, statement: str) -> None:
    """Change rows behind the registry's back, as somebody with the file or the server could."""
    registry = Registry(where_of(folder))
    with registry.database.changing() as connection:
        connection.exec_driver_sql(statement)
    registry.close()


@contextmanager
def session(folder: Path, *, now: datetime | None = None, writable: bool = True) -> Iterator[Rooms]:
    """One command's stay in the registry below a folder; `now` stops the clock there."""
    settings = settings_of(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not (settings.home / "installation").exists():
        initialise(settings)
    rooms = open_session(settings, clock=utc_now if now is None else lambda: now, writable=writable)
    try:
        yield rooms
    finally:
        rooms.close()
