"""A registry with its vault in a folder of its own, opened in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lifecycle.bootstrap import Rooms, utc_now
from lifecycle.registry.engine import Registry
from lifecycle.services.home import initialise
from lifecycle.services.session import open_session
from lifecycle.settings import Settings, load_settings
from tests.postgres import databases


def settings_of(folder: Path) -> Settings:
    """Settings of a registry below a folder; the user's own are not read."""
    url = databases.url_of(folder)
    return load_settings(
        {
            **({} if url is None else {"VLM_DATABASE_URL": url}),
            "VLM_HOME": str(folder / "home"),
            "VLM_KEYS": str(folder / "keys"),
            "VLM_RUNTIMES": str(folder / "runtimes"),
            "VLM_CONFIG": str(folder / "vlm.toml"),
        },
        cwd=folder,
    )


def change(folder: Path, statement: str) -> None:
    """Change rows behind the registry's back, as somebody with the file or the server could."""
    settings = settings_of(folder)
    registry = Registry(settings.database_url or settings.home / "registry.db")
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
