"""`vlm backup list` and `vlm backup prune`: which snapshots there are, and the end of old ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, UsageError
from lifecycle.services.backups import manifest as m
from lifecycle.services.backups.blobs import place_of
from lifecycle.services.backups.check import every_blob, part_flaw
from lifecycle.services.backups.folder import BackupFolder, find_backup
from lifecycle.services.backups.results import Listed, ListedSnapshot, Pruned
from lifecycle.vault.files import sync_folder, unavailable


def list_backup(root: Path) -> Listed:
    """Return the snapshots of a backup; a damaged one is listed with what is wrong.

    Raises:
        NotFound: There is no backup.
    """
    folder = find_backup(root.absolute())
    return Listed(root, tuple(_listed(folder, name) for name in folder.names()))


def _listed(folder: BackupFolder, name: str) -> ListedSnapshot:
    try:
        manifest = m.read_manifest(folder.snapshots / name, None)
    except IntegrityError as error:
        return ListedSnapshot(name, None, 0, 0, 0, error.message)
    return ListedSnapshot(
        name, manifest.made_at, manifest.blobs, manifest.blob_bytes, manifest.trail_size, None
    )


def prune_backup(root: Path, *, keep: int, dry_run: bool = False) -> Pruned:
    """Remove all but the newest snapshots, and the files that only they needed.

    A snapshot goes before its files, so that whatever stays is whole after a kill at any moment.

    Args:
        keep: How many stay, at least 1.

    Raises:
        UsageError: Nothing would stay.
        IntegrityError: A snapshot that stays is damaged, so nobody knows what it needs; nothing was removed.
        Busy: Another process writes to the backup.
    """
    if keep < 1:
        raise UsageError("at least one snapshot stays", hint="vlm backup prune --help")
    folder = find_backup(root.absolute())
    with folder.locked():
        names = folder.names()
        going, staying = names[:-keep], names[-keep:]
        needed = _needed(folder, staying)
        uids = [uid for name in going if (uid := _uid(folder, name))]
        if not dry_run:
            folder.clear_unfinished()
            _remove_snapshots(folder, going)
        files = freed = 0
        for digest in list(every_blob(folder)):
            if digest in needed:
                continue
            path = place_of(folder.blobs, digest)
            files, freed = files + 1, freed + path.lstat().st_size
            if not dry_run:
                path.unlink()
    return Pruned(root, tuple(going), tuple(staying), files, freed, dry_run, folder.installation, tuple(uids))


def _uid(folder: BackupFolder, name: str) -> str | None:
    try:
        return m.read_manifest(folder.snapshots / name, None).uid
    except IntegrityError:
        return None


def _needed(folder: BackupFolder, names: list[str]) -> set[Digest]:
    needed: set[Digest] = set()
    for name in names:
        place = folder.snapshots / name
        try:
            manifest = m.read_manifest(place, None)
            flaw = part_flaw(place / m.LIST, manifest.part(m.LIST))
            if flaw:
                raise IntegrityError(flaw)
        except IntegrityError as error:
            raise IntegrityError(
                f"snapshot {name} is damaged, so nobody knows what it needs, and nothing was removed: {error.message}",
                hint=f"vlm backup check {folder.quoted}",
            ) from None
        needed |= {entry.digest for entry in m.read_list(place / m.LIST)}
        needed |= {part.digest for part in manifest.extras}
    return needed


def _remove_snapshots(folder: BackupFolder, names: list[str]) -> None:
    try:
        for name in names:
            gone = folder.snapshots / f".{name}.gone"
            (folder.snapshots / name).rename(gone)
            sync_folder(folder.snapshots)
            shutil.rmtree(gone)
    except OSError as error:
        raise unavailable(folder.root, error) from None
