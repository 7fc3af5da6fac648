"""Builds the rooms once per command and hands them to the services."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, NotFound
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
    """
    from lifecycle.registry.engine import Registry
    from lifecycle.runtimes.environments import Runtimes
    from lifecycle.vault.home import open_vault

    installation = installation_of(settings.home)
    vault = open_vault(settings.home, settings.keys, installation, random_bytes=random_bytes, clock=clock)
    return Rooms(
        settings=settings,
        installation=installation,
        registry=Registry.open(
            settings.home / "registry.db",
            sealer=vault.keys,
            clock=clock,
            random_bytes=random_bytes,
        ),
        vault=vault,
        runtimes=Runtimes(settings, progress=progress or Silent()),
        progress=progress or Silent(),
        clock=clock,
        random_bytes=random_bytes,
        writable=writable,
    )
