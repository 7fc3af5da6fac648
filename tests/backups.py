"""A registry with voices in this process, its backup, and what comes out of it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.progress import Silent
from lifecycle.domain.voices import Artifact
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.services.backups.check import CheckRequest, check_backup
from lifecycle.services.backups.create import create_backup
from lifecycle.services.backups.restore import RestoreRequest, restore_backup
from lifecycle.services.backups.results import Checked, Created, Restored
from lifecycle.services.purges.purge import PurgeRequest, preview, purge
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from lifecycle.services.session import open_session
from lifecycle.settings import Settings
from tests.files import recordings, weights
from tests.rooms import session, settings_of


@dataclass(frozen=True)
class House:
    """A registry below a folder, with a backup and a copy of its keys beside it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def keys_copy(self) -> Path:
        return self.folder / "keys-copy"

    @property
    def settings(self) -> Settings:
        return settings_of(self.folder)

    @property
    def restored_settings(self) -> Settings:
        """Settings for a registry that was restored: it lies in a file, wherever it lay before."""
        return replace(self.settings, database_url=None)

    def add(self, name: str, *, seed: int, subject: str = "10042") -> None:
        """Register a voice of a person, with two recordings and a consent."""
        files = self.folder / "files"
        audio = recordings(files / name, seed=seed)
        consent = files / f"{name}.txt"
        consent.write_text(f"I agree to {name}.", encoding="utf-8")
        asked = RegisterRequest(
            name,
            weights=(weights(files / f"{name}.st", seed=seed),),
            audio=(audio,),
            subject=subject,
            consents=(consent,),
            consent_until=date(2099, 12, 31),
        )
        with session(self.folder) as rooms:
            register(asked, rooms=rooms)

    def purge(self, name: str) -> None:
        """Destroy a voice's recordings."""
        with session(self.folder) as rooms:
            purge(preview(PurgeRequest(name, PurgeVerb.PURGE_AUDIO), rooms=rooms), rooms=rooms)

    def create(self, *, keys: bool = True, dry_run: bool = False) -> Created:
        with session(self.folder) as rooms:
            return create_backup(
                self.backup, keys_to=self.keys_copy if keys else None, rooms=rooms, dry_run=dry_run
            )

    def check(self, *, read_data: bool = True, keys: bool = True) -> Checked:
        asked = CheckRequest(
            self.backup, None, read_data, keys=self.keys_copy if keys else None, required=keys
        )
        return check_backup(asked, progress=Silent())

    def restore(
        self, home: Path | None = None, *, keys: bool = False, snapshot: str | None = None
    ) -> Restored:
        asked = RestoreRequest(
            self.backup, home or self.home, snapshot, keys_from=self.keys_copy if keys else None
        )
        return restore_backup(asked, settings=self.settings, progress=Silent())

    def lose(self, *, keys: bool) -> None:
        """Lose the disk of the registry, and the keys with it or not."""
        shutil.rmtree(self.home)
        if keys:
            shutil.rmtree(self.keys)

    @contextmanager
    def opened(self, home: Path | None = None, *, writable: bool = False) -> Iterator[Rooms]:
        """A restored registry."""
        settings = replace(self.restored_settings, home=home or self.home)
        rooms = open_session(settings, writable=writable)
        try:
            yield rooms
        finally:
            rooms.close()


def sealed(rooms: Rooms, name: str) -> list[Artifact]:
    """What is sealed of a voice, evidence left out."""
    with rooms.registry.read() as uow:
        artifacts = uow.voices.artifacts(uow.voices.get(name).uid)
    return [a for a in artifacts if a.key_id is not None and a.data_class.value != "evidence"]


def plain(rooms: Rooms, artifact: Artifact) -> bytes:
    """Decrypt one file."""
    key = rooms.vault.keys.data_key(str(artifact.key_id))
    return rooms.vault.blobs.read_bytes(artifact.digest, key=key, limit=1 << 24)


def killed_at(point: str, work: Callable[[], object]) -> None:
    """Do something in a process that is killed where it passes a failpoint; it must pass it."""
    child = os.fork()
    if child == 0:
        try:
            failpoints.arm(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{point} was not passed"


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
