"""`vlm backup restore`: a snapshot becomes a registry again, with the keys that still open it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError, NotFound, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.services.backups import manifest as m
from lifecycle.services.backups.blobs import COPIED, BlobCopier, lies_there, place_of
from lifecycle.services.backups.check import part_flaw
from lifecycle.services.backups.folder import BackupFolder, find_backup, refuse_within, require_space
from lifecycle.services.backups.keys import restore_keys
from lifecycle.services.backups.results import Restored
from lifecycle.services.home import FOLDERS
from lifecycle.vault.anchor import Standing
from lifecycle.vault.failpoints import arm_from
from lifecycle.vault.files import locked, make_private, read_small, sync_folder, write_durably
from lifecycle.vault.holder import FileKeyHolder
from lifecycle.vault.signing import Signing

if TYPE_CHECKING:
    from lifecycle.domain.digest import Digest
    from lifecycle.domain.progress import Progress
    from lifecycle.settings import Settings

MARKER, LOCK = "restoring.json", "restore.lock"
_MOST_BYTES = 1 << 26
IN_PLACE, FROM_COPY = "in place", "restored"


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore.

    Attributes:
        snapshot: Its name; None is the newest.
        home: An empty folder, or the one that an interrupted restore left.
        keys_from: The folder that `backup create --keys-to` wrote to; None where VLM_KEYS has the keys.
    """

    backup: Path
    home: Path
    snapshot: str | None = None
    keys_from: Path | None = None


@dataclass(frozen=True, slots=True)
class _Keys:
    """Where the keys are read from now, where they will lie, and whether they come from a copy."""

    now: Path
    later: Path

    @property
    def restored(self) -> bool:
        return self.now != self.later


def restore_backup(
    request: RestoreRequest, *, settings: Settings, progress: Progress, dry_run: bool = False
) -> Restored:
    """Restore a snapshot into an empty folder.

    Raises:
        NotFound: There is no backup, no such snapshot, or there are no keys.
        Refused: The folder is not empty.
        IntegrityError: The backup is damaged, the keys are older than it, or they do not open it.
        Unavailable: There is too little space.
    """
    import os

    arm_from(os.environ)
    folder = find_backup(request.backup.absolute())
    home = request.home.absolute()
    refuse_within(
        home, what="the registry", apart={"the backup": folder.root, "the key folder": settings.keys}
    )
    with folder.reading():
        name = folder.chosen(request.snapshot)
        keys = _keys_of(request, folder, settings)
        manifest = m.read_manifest(folder.snapshots / name, Signing(keys.now / "signing").trusted(m.PURPOSE))
        _refuse_unfit(manifest, folder, keys)
        _refuse_used(home, manifest)
        if dry_run:
            return _told(request, manifest, keys, dry_run=True)
        make_private(home)
        with locked(home / LOCK, what="this folder", seconds=1.0):
            bag = _restore(folder, manifest, home, keys, progress)
    return _finished(request, manifest, keys, settings, bag)


def _keys_of(request: RestoreRequest, folder: BackupFolder, settings: Settings) -> _Keys:
    """Keys that lie in VLM_KEYS always count: their anchor and ledger know more than a copy's."""
    there = settings.keys / folder.installation
    if FileKeyHolder(there / "epochs").epochs():
        return _Keys(there, there)
    if request.keys_from is None:
        raise NotFound(
            f'the keys of this registry are not in "{settings.keys}", and nothing sealed opens without them',
            hint=f"vlm backup restore {request.backup} --keys DIR2",
        )
    copy = request.keys_from.absolute() / folder.installation
    if not FileKeyHolder(copy / "epochs").epochs():
        raise NotFound(
            f'"{request.keys_from}" has no keys of this registry', hint="vlm backup restore --help"
        )
    return _Keys(copy, there)


def _refuse_unfit(manifest: m.Manifest, folder: BackupFolder, keys: _Keys) -> None:
    from lifecycle.registry.migrate import HEAD
    from lifecycle.vault.keybag import newest_keybag

    if manifest.installation != folder.installation:
        raise IntegrityError("the snapshot is of another registry", hint=f"vlm backup check {folder.quoted}")
    if manifest.schema > HEAD:
        raise IntegrityError(
            f"the snapshot was written by a newer vlm (schema {manifest.schema}, this one knows {HEAD})",
            hint="vlm --version",
        )
    held = FileKeyHolder(keys.now / "epochs").epochs()
    if max(held) < manifest.epoch:
        raise IntegrityError(
            f'the keys in "{keys.now}" are older than the snapshot, so nothing sealed in it would open',
            hint=f"vlm backup list {folder.quoted}",
        )
    if manifest.epoch not in held and newest_keybag(keys.now / "keybags") is None:
        raise IntegrityError(
            "the snapshot is from before a purge, and there is no keybag beside the keys to open what survived it",
            hint=f"vlm backup list {folder.quoted}",
        )


def _refuse_used(home: Path, manifest: m.Manifest) -> None:
    if not home.exists():
        return
    if not home.is_dir() or home.is_symlink():
        raise Refused(f'"{home}" is not a folder', hint="vlm backup restore --help")
    names = {path.name for path in home.iterdir()} - {LOCK}
    if not names:
        return
    if MARKER in names:
        try:
            told = json.loads(read_small(home / MARKER, limit=4096))
        except ValueError:
            told = None
        if told == _marker(manifest):
            return
        raise Refused(
            f'another restore into "{home}" was interrupted; empty it first, or take another folder'
        )
    raise Refused(
        f'"{home}" is not empty, and a restore never overwrites', hint="vlm backup restore DIR --to FOLDER"
    )


def _marker(manifest: m.Manifest) -> dict[str, str]:
    return {"installation": manifest.installation, "snapshot": manifest.name}


def _restore(
    folder: BackupFolder, manifest: m.Manifest, home: Path, keys: _Keys, progress: Progress
) -> int | None:
    """Copy everything, verified on the way; return how many keys came from the keybag."""
    place = folder.snapshots / manifest.name
    flaw = part_flaw(place / m.LIST, manifest.part(m.LIST))
    if flaw:
        raise IntegrityError(f"the snapshot is damaged: {flaw}", hint=f"vlm backup check {folder.quoted}")
    wanted = [(e.digest, e.size) for e in m.read_list(place / m.LIST) if e.state == m.HELD]
    lacking = [(digest, size) for digest, size in wanted if not lies_there(home / "blobs", digest, size)]
    databases = sum(manifest.part(name).size for name in m.DATABASES)
    require_space(home, databases + sum(size for _, size in lacking))
    write_durably(home / MARKER, canonical_json(_marker(manifest)) + b"\n")
    for name in FOLDERS:
        make_private(home / name)
    if keys.restored:
        restore_keys(keys.now, keys.later)
    hit("restore.after_keys")
    for name in m.DATABASES:
        _copy_database(place / name, home / name, manifest.part(name), folder)
    hit("restore.after_databases")
    _copy_blobs(folder, home, lacking, progress)
    _copy_extras(folder, home, manifest)
    bag = _from_keybag(home, keys.later, manifest)
    hit("restore.after_keybag")
    # Last: a folder without it is no registry to any command.
    write_durably(home / "installation", f"{manifest.installation}\n".encode())
    hit("restore.before_end")
    (home / MARKER).unlink()
    sync_folder(home)
    return bag


def _copy_database(source: Path, target: Path, part: m.Part, folder: BackupFolder) -> None:
    flaw = part_flaw(source, part)
    if flaw:
        raise IntegrityError(f"the snapshot is damaged: {flaw}", hint=f"vlm backup check {folder.quoted}")
    for end in ("", "-wal", "-shm", "-journal"):
        target.with_name(target.name + end).unlink(missing_ok=True)
    stream_durably(source, target)
    if m.part_of(target).digest != part.digest:
        raise IntegrityError(f"{part.name} changed while it was copied", hint="vlm backup restore --help")


def stream_durably(source: Path, target: Path) -> None:
    """Copy a file of any size (0600): temporary file, fsync, rename.

    Raises:
        Unavailable: There is no room.
    """
    import os

    from lifecycle.vault.files import unavailable

    temporary = target.with_name(f".{target.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with source.open("rb") as read, os.fdopen(descriptor, "wb") as written:
            while piece := read.read(4 << 20):
                written.write(piece)
            written.flush()
            os.fsync(written.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise unavailable(target.parent, error) from None


def _copy_blobs(
    folder: BackupFolder, home: Path, lacking: list[tuple[Digest, int]], progress: Progress
) -> None:
    step = progress.step("restore", sum(size for _, size in lacking), "bytes")
    copier = BlobCopier(folder.blobs, home / "blobs", step.advance)
    bad = [digest for digest, _ in lacking if copier.copy(digest) != COPIED]
    copier.flush()
    step.done()
    if bad:
        raise IntegrityError(
            f"{len(bad)} file(s) of the backup are missing or damaged, the first is {bad[0].hex[:12]}",
            hint=f"vlm backup check {folder.quoted} --read-data",
        )


def _copy_extras(folder: BackupFolder, home: Path, manifest: m.Manifest) -> None:
    for part in manifest.extras:
        source = place_of(folder.blobs, part.digest)
        flaw = part_flaw(source, replace(part, name=source.name))
        if flaw:
            raise IntegrityError(
                f'"{part.name}" in the backup is missing or damaged',
                hint=f"vlm backup check {folder.quoted}",
            )
        make_private((home / part.name).parent)
        write_durably(home / part.name, read_small(source, limit=_MOST_BYTES))


def _from_keybag(home: Path, keys: Path, manifest: m.Manifest) -> int | None:
    """Give a snapshot from before a purge the wraps that survived it, and those only."""
    from lifecycle.vault.keys import KeyStore

    holder = FileKeyHolder(keys / "epochs")
    if manifest.epoch in holder.epochs():
        return None
    store = KeyStore(home / "keys.db", holder, clock=lambda: datetime.now(UTC))
    return store.restore_from_keybag()


def _finished(
    request: RestoreRequest, manifest: m.Manifest, keys: _Keys, settings: Settings, bag: int | None
) -> Restored:
    """Open the copy, let a fresh process open its keys, and say how it goes on."""
    from lifecycle.services.put_back import erased_since
    from lifecycle.services.trail import standing
    from lifecycle.vault.fresh import opened_in_copy

    home = request.home.absolute()
    epoch = max(FileKeyHolder(keys.later / "epochs").epochs())
    opened = opened_in_copy(home / "keys.db", keys.later / "epochs", epoch)
    with _rooms(settings, home) as rooms:
        told = standing(rooms)
        erased = len(erased_since(rooms))
    return replace(
        _told(request, manifest, keys, dry_run=False),
        keys_opened=opened,
        keybag=bag,
        standing=told.value,
        erased_since=erased,
        next=_next(told, erased, home, settings),
    )


@contextmanager
def _rooms(settings: Settings, home: Path) -> Iterator[Rooms]:
    from lifecycle.bootstrap import open_rooms

    rooms = open_rooms(replace(settings, home=home, database_url=None), writable=False)
    try:
        yield rooms
    finally:
        rooms.close()


def _next(told: Standing, erased: int, home: Path, settings: Settings) -> str:
    elsewhere = "" if settings.database_url is None else "VLM_DATABASE_URL=sqlite "
    elsewhere += "" if home == settings.home else f"VLM_HOME={shlex.quote(str(home))} "
    if told is Standing.OLDER and not erased:
        return f"{elsewhere}vlm doctor --accept-older"
    return f"{elsewhere}vlm doctor"


def _told(request: RestoreRequest, manifest: m.Manifest, keys: _Keys, *, dry_run: bool) -> Restored:
    return Restored(
        home=request.home.absolute(),
        snapshot=manifest.name,
        made_at=manifest.made_at,
        files=manifest.blobs,
        size_bytes=manifest.blob_bytes,
        keys=FROM_COPY if keys.restored else IN_PLACE,
        keys_opened=None,
        keybag=None,
        standing="unknown",
        erased_since=0,
        gone=manifest.gone,
        next=f"vlm backup restore {request.backup}",
        dry_run=dry_run,
    )


if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
