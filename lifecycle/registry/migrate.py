"""Brings a registry's schema up to date; Alembic is imported only when a migration is due."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, NotFound

if TYPE_CHECKING:
    from alembic.config import Config

    from lifecycle.registry.database import Database

# The newest revision in `migrations/versions`; a test holds it against the folder.
HEAD = "0002"


def bring_up(database: Database, *, target: str = HEAD) -> None:
    """Migrate a registry to `target`, in one transaction under the write lock; done already is cheap.

    Raises:
        IntegrityError: The schema is newer than this program.
    """
    before = database.version()
    if before == target:
        return
    if before is not None and target == HEAD and before > HEAD:
        raise IntegrityError(
            f'the registry "{database.place}" was written by a newer vlm (schema {before}, this one knows {HEAD})',
            hint="vlm --version",
        )
    down = before is not None and (target == "base" or target < before)
    from alembic import command

    config = migration_config()
    with database.changing() as connection:
        # Another process may have migrated while this one waited for the lock; Alembic then finds nothing to do.
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, target)


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
