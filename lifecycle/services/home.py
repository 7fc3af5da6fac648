"""`vlm init`: make a registry, its vault and its keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lifecycle.bootstrap import RandomBytes, installation_of
from lifecycle.domain.errors import NotFound, Unavailable, UsageError
from lifecycle.services.session import open_session
from lifecycle.settings import HERE, Settings
from lifecycle.vault.files import write_durably

FOLDERS = ("blobs", "work", "certificates", "logs")


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `vlm init` made, or found."""

    home: Path
    keys: Path
    installation: str
    created: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {
            "home": str(self.home),
            "keys": str(self.keys / self.installation),
            "installation": self.installation,
            "created": self.created,
        }


def initialise(
    settings: Settings,
    *,
    here: Path | None = None,
    random_bytes: RandomBytes = os.urandom,
    dry_run: bool = False,
) -> Initialised:
    """Make an empty registry; an existing one is found, opened and left as it is.

    Args:
        here: Make a `.vlm` in this folder instead, and record it beside the keys so that it is trusted.

    Raises:
        UsageError: The keys would lie inside the registry, where every copy of it would carry them.
        Unavailable: A folder cannot be made.
    """
    home = (here / HERE).absolute() if here is not None else settings.home
    if settings.keys == home or home in settings.keys.parents:
        raise UsageError(
            f'the keys would lie in "{settings.keys}", inside the registry that they protect',
            hint="set VLM_KEYS to a folder outside VLM_HOME",
        )
    try:
        installation = installation_of(home)
        created = False
    except NotFound:
        installation, created = random_bytes(16).hex(), True
    result = Initialised(home=home, keys=settings.keys, installation=installation, created=created)
    if dry_run:
        return result
    try:
        _make(home, settings.keys / installation, installation, created=created, here=here is not None)
    except OSError as error:
        raise Unavailable(f'the registry could not be made in "{home}": {error.strerror}') from None
    rooms = open_session(replace(settings, home=home), random_bytes=random_bytes)
    try:
        if created:
            with rooms.registry.write() as uow:
                uow.trail.append("init")
                uow.commit()
    finally:
        rooms.close()
    return result


def _make(home: Path, keys: Path, installation: str, *, created: bool, here: bool) -> None:
    for folder in (home, *(home / name for name in FOLDERS), keys):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if created:
        write_durably(home / "installation", f"{installation}\n".encode())
    if here:
        write_durably(keys / "here", str(home.resolve()).encode())
