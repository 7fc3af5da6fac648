"""The folder of a backup: whose it is, what lies where, and what may never be such a folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError, NotFound, Refused, Unavailable, UsageError
from lifecycle.vault.files import locked, make_private, read_small, sync_folder, write_durably

FORMAT = "vlm-backup/1"
HEAD, LOCK = "vlm-backup.json", "vlm-backup.lock"
SPARE_BYTES = 16 << 20
_MOST_BYTES = 1 << 16
_NAME = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{8}")
_ID = re.compile(r"[0-9a-f]{32}")
_LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """A folder that holds backups of one installation."""

    root: Path
    installation: str

    @property
    def blobs(self) -> Path:
        """Where the files lie, each under its BLAKE3."""
        return self.root / "blobs"

    @property
    def quoted(self) -> str:
        """The folder's path as commands take it."""
        return shlex.quote(str(self.root))

    @property
    def snapshots(self) -> Path:
        """Where each snapshot has a folder."""
        return self.root / "snapshots"

    def names(self) -> list[str]:
        """Return the names of the snapshots, oldest first.

        Raises:
            IntegrityError: A link lies where a folder must be.
        """
        if not self.snapshots.is_dir():
            return []
        found = sorted(path for path in self.snapshots.iterdir() if _NAME.fullmatch(path.name))
        for path in (self.snapshots, self.blobs, *found):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise IntegrityError(f'"{path.name}" in the backup is not a folder', hint="vlm backup --help")
        return [path.name for path in found]

    def next_time(self, now: datetime) -> datetime:
        """Return the time for a new snapshot: now, but after the newest, so that names stay in order."""
        names = self.names()
        if not names:
            return now
        try:
            newest = datetime.strptime(names[-1][:18], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        except ValueError:
            return now
        return max(now, newest + timedelta(milliseconds=1))

    def chosen(self, name: str | None) -> str:
        """Return the snapshot of that name (its last digits are enough), or the newest.

        Raises:
            NotFound: There is none, or more than one.
        """
        names = self.names()
        if not names:
            raise NotFound(
                f'"{self.root}" holds no finished backup',
                hint=f"vlm backup create {self.quoted}",
            )
        if name is None:
            return names[-1]
        found = [each for each in names if name and (each == name or each.endswith(f"-{name}"))]
        if len(found) != 1:
            raise NotFound(
                f'there is no snapshot "{name}" in the backup',
                hint=f"vlm backup list {self.quoted}",
            )
        return found[0]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Work on the folder alone.

        Raises:
            Busy: Another process does.
        """
        with locked(self.root / LOCK, what="this backup", seconds=_LOCK_SECONDS):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the folder while nobody writes to it; one that cannot be written needs no lock.

        Raises:
            Busy: Another process writes.
        """
        with ExitStack() as stack:
            with suppress(OSError):
                stack.enter_context(self.locked())
            yield

    def clear_unfinished(self) -> None:
        """Remove what a process that died left; the caller holds the lock."""
        if self.snapshots.is_dir():
            for path in self.snapshots.iterdir():
                if path.name.startswith(".") and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.blobs / "tmp", ignore_errors=True)


def find_backup(root: Path) -> BackupFolder:
    """Return the backup in a folder.

    Raises:
        NotFound: There is none.
        IntegrityError: What says whose it is is damaged.
    """
    try:
        told = json.loads(read_small(root / HEAD, limit=_MOST_BYTES))
        installation = told["installation"]
        if told["format"] != FORMAT or not _ID.fullmatch(installation):
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f'there is no backup in "{root}"', hint="vlm backup create DIR") from None
    except OSError as error:
        raise Unavailable(f'"{root}" cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(
            f'"{root / HEAD}" is damaged, or was written by a newer vlm', hint="vlm --version"
        ) from None
    return BackupFolder(root, installation)


def prepare_backup(root: Path, installation: str) -> BackupFolder:
    """Return the backup in a folder of this installation, which is made where nothing lies there.

    Raises:
        Refused: The folder holds something else, or the backup of another installation.
        Unavailable: It cannot be written.
    """
    try:
        found = find_backup(root)
    except NotFound:
        found = None
    if found is None:
        refuse_foreign(root)
        make_private(root)
        write_durably(root / HEAD, canonical_json({"format": FORMAT, "installation": installation}) + b"\n")
        found = BackupFolder(root, installation)
    if found.installation != installation:
        raise Refused(
            f'"{root}" holds the backup of another registry, so nothing was written',
            hint="vlm backup create DIR",
        )
    for folder in (found.blobs, found.snapshots):
        make_private(folder)
    sync_folder(root)
    return found


def refuse_foreign(root: Path) -> None:
    """Refuse a folder in which somebody keeps something else.

    Raises:
        Refused: It holds something, or is no folder.
    """
    if not root.exists():
        return
    if not root.is_dir():
        raise Refused(f'"{root}" is not a folder', hint="vlm backup create DIR")
    others = [path.name for path in root.iterdir() if not _ours(path.name)]
    if others:
        raise Refused(
            f'"{root}" is not empty and holds no backup, so nothing was written', hint="vlm backup create DIR"
        )


def _ours(name: str) -> bool:
    return name == LOCK or (name.startswith(f".{HEAD}.") and name.endswith(".tmp"))


def refuse_within(place: Path, *, what: str, apart: dict[str, Path]) -> None:
    """Refuse a place that lies inside one of those that it must be apart from, or around it.

    Raises:
        UsageError: It does.
    """
    real = place.resolve()
    for called, other in apart.items():
        there = other.resolve()
        if real == there or there in real.parents or real in there.parents:
            raise UsageError(
                f'{what} "{place}" and {called} "{other}" lie in one another, so one accident would take both',
                hint="vlm backup create --help",
            )


def require_space(place: Path, needed_bytes: int) -> None:
    """Require room before anything is written.

    Raises:
        Unavailable: There is too little.
    """
    from lifecycle.render.output import megabytes

    around = next(each for each in (place, *place.parents) if each.exists())
    free = shutil.disk_usage(around).free
    if free < needed_bytes + SPARE_BYTES:
        raise Unavailable(
            f'this needs {megabytes(needed_bytes)} in "{place}" and {megabytes(free)} are free; nothing was written',
            hint="free some space there, then run it again",
        )
