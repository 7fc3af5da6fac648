"""Builds the rooms once per command and hands them to the services."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, NotFound, Refused
from lifecycle.domain.progress import Progress, Silent
from lifecycle.settings import Settings

if TYPE_CHECKING:
    from lifecycle.registry.engine import Registry
    from lifecycle.runtimes.environments import Runtimes
    from lifecycle.vault.home import Vault

Clock = Callable[[], datetime]
RandomBytes = Callable[[int], bytes]


def utc_now() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Rooms:
    """Everything that a service may use, opened for one command."""

    settings: Settings
    installation: str
    registry: Registry
    vault: Vault
    runtimes: Runtimes
    progress: Progress
    clock: Clock = utc_now
    random_bytes: RandomBytes = os.urandom
    writable: bool = True
    closing: list[Callable[[], None]] = field(default_factory=list)

    def new_uid(self) -> str:
        """Return a random 128-bit id as 32 hexadecimal digits."""
        return self.random_bytes(16).hex()

    def close(self) -> None:
        """Do what was left for the end, stop warm workers and close the database."""
        try:
            while self.closing:
                self.closing.pop()()
        finally:
            self.runtimes.close()
            self.registry.close()


def installation_of(home: Path) -> str:
    """Return the installation id that `vlm init` wrote into a home.

    Raises:
        NotFound: There is no registry in `home`.
        IntegrityError: The file does not hold an id.
    """
    try:
        installation = (home / "installation").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise NotFound(f'there is no registry in "{home}"', hint="vlm init") from None
    except (OSError, UnicodeError) as error:
        raise IntegrityError(f'"{home / "installation"}" could not be read: {error}') from None
    if len(installation) != 32 or not set(installation) <= set("0123456789abcdef"):
        raise IntegrityError(f'"{home / "installation"}" holds no installation id', hint="vlm doctor")
    return installation


def open_rooms(
    settings: Settings,
    *,
    writable: bool = True,
    progress: Progress | None = None,
    clock: Clock = utc_now,
    random_bytes: RandomBytes = os.urandom,
) -> Rooms:
    """Open the registry, the vault and the runtimes of a home; `services.session` also compares and recovers.

    Raises:
        NotFound: There is no registry in VLM_HOME.
        IntegrityError: The database holds the registry of another home, or none where there must be one.
        Refused: The registry was moved elsewhere, and this command would change or use something.
    """
    from lifecycle.runtimes.environments import Runtimes
    from lifecycle.vault.home import open_vault

    installation = installation_of(settings.home)
    vault = open_vault(
        settings.home,
        settings.keys,
        installation,
        random_bytes=random_bytes,
        clock=clock,
        shared=settings.database_url is not None,
    )
    registry = open_registry(
        settings, installation, vault=vault, writable=writable, clock=clock, random_bytes=random_bytes
    )
    return Rooms(
        settings=settings,
        installation=installation,
        registry=registry,
        vault=vault,
        runtimes=Runtimes(settings, progress=progress or Silent()),
        progress=progress or Silent(),
        clock=clock,
        random_bytes=random_bytes,
        writable=writable,
    )


def open_registry(
    settings: Settings,
    installation: str,
    *,
    vault: Vault,
    writable: bool,
    clock: Clock,
    random_bytes: RandomBytes,
) -> Registry:
    """Open the registry that belongs to a home: the file in it, or the database that the settings name.

    Raises:
        IntegrityError: It belongs to another home, is missing, or a move into it was not finished.
        Refused: It was moved elsewhere.
    """
    from lifecycle.registry.engine import Registry

    where = settings.database_url or settings.home / "registry.db"
    registry = Registry(where, sealer=vault.keys, clock=clock, random_bytes=random_bytes)
    try:
        if registry.schema_version() is None and (anchor := vault.anchor.read()) and anchor.trail_size:
            raise IntegrityError(
                f'there is no registry in {_named(registry)}, but the one of "{settings.home}" has '
                f"{anchor.trail_size} events; it lies elsewhere or is gone, and nothing was made",
                hint="set VLM_DATABASE_URL to where it lies, or unset it if that is VLM_HOME; see: vlm config show",
            )
        registry.migrate()
        _look_whose(registry, installation, writable=writable)
    except BaseException:
        registry.close()
        raise
    return registry


def _look_whose(registry: Registry, installation: str, *, writable: bool) -> None:
    """Compare what the registry says about itself with the home that opens it; an empty one is claimed."""
    from lifecycle.registry.queries import facts as names

    with registry.read() as uow:
        facts = uow.facts.all()
        fresh = uow.trail.head()[0] == 0
    owner = facts.get(names.INSTALLATION)
    in_home = registry.database.kind == "sqlite"
    if names.INCOMING in facts:
        raise IntegrityError(
            f"a move of the registry into {_named(registry)} was not finished",
            hint="open the old one again, and there: vlm registry move URL",
        )
    # A file that lies in a home is judged by its trail, so that a foreign one can be looked at.
    if owner not in {None, installation} and not in_home:
        raise _foreign(registry, str(owner), installation)
    if names.MOVED_TO in facts:
        registry.moved_to, registry.writable = facts[names.MOVED_TO], False
        if writable:
            raise Refused(
                f"the registry was moved to {registry.moved_to}; what is left in {_named(registry)} is not opened",
                hint="set VLM_DATABASE_URL to where it is now, or unset it if that is VLM_HOME",
            )
    if owner is None and (fresh or in_home):
        with registry.write() as uow:
            owner = uow.facts.all().get(names.INSTALLATION)  # another home may have been quicker
            if owner is None:
                uow.facts.put(names.INSTALLATION, installation)
                uow.commit()
        if owner not in {None, installation}:
            raise _foreign(registry, str(owner), installation)
    elif owner is None:
        raise IntegrityError(
            f"{_named(registry)} holds a registry that does not say whose it is", hint="vlm config show"
        )


def _foreign(registry: Registry, owner: str, installation: str) -> IntegrityError:
    return IntegrityError(
        f"{_named(registry)} holds the registry of another home (installation {owner[:12]}, this one is "
        f"{installation[:12]}); nothing was changed",
        hint="vlm config show",
    )


def _named(registry: Registry) -> str:
    place = registry.database.place
    return f'"{place}"' if registry.database.kind == "sqlite" else place
