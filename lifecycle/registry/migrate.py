"""Brings a registry's schema up to date; Alembic is imported only when a migration is due."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, NotFound

if TYPE_CHECKING:
    from alembic.config import Config

# The newest revision in `migrations/versions`; a test holds it against the folder.
HEAD = "0002"


def version_of(path: Path) -> str | None:
    """Return the schema's revision without SQLAlchemy or Alembic; None for a file that has none yet."""
    if not path.exists():
        return None
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    finally:
        connection.close()
    return None if row is None else str(row[0])


def bring_up(path: Path, *, connect: Callable[[], sqlite3.Connection], target: str = HEAD) -> None:
    """Migrate a registry to `target`, in one transaction under the write lock; done already is cheap.

    Raises:
        IntegrityError: The schema is newer than this program.
    """
    before = version_of(path)
    if before == target:
        return
    if before is not None and target == HEAD and before > HEAD:
        raise IntegrityError(
            f'the registry "{path}" was written by a newer vlm (schema {before}, this one knows {HEAD})',
            hint="vlm --version",
        )
    _run(path, connect, target, down=before is not None and (target == "base" or target < before))


def _run(path: Path, connect: Callable[[], sqlite3.Connection], target: str, *, down: bool) -> None:
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool)
    config = migration_config()
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        # Another process may have migrated while this one waited for the lock; Alembic then finds nothing to do.
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, target)
        connection.exec_driver_sql("COMMIT")
    path.chmod(0o600)


def migration_config() -> Config:
    """Return Alembic's configuration, without a file of its own."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migration_folder()).replace("%", "%%"))
    return config


def migration_folder(package: Path | None = None) -> Path:
    """Return the folder of the migrations: inside the package, else beside it in a checkout.

    Raises:
        NotFound: Neither is there: the installation is damaged.
    """
    root = package or Path(__file__).resolve().parents[1]
    for folder in (root / "_data" / "migrations", root.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise NotFound("the migrations are missing from this installation")
