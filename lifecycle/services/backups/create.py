"""`vlm backup create`: one moment of a registry, copied while others go on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Busy, IntegrityError, NotFound, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.registry.queries.backups import KEYS, REGISTRY, BackupRow
from lifecycle.services.backups import manifest as m
from lifecycle.services.backups.blobs import CHANGED, COPIED, BlobCopier, lies_there
from lifecycle.services.backups.folder import (
    BackupFolder,
    find_backup,
    prepare_backup,
    refuse_foreign,
    refuse_within,
    require_space,
)
from lifecycle.services.backups.keys import KeysCopy, accept_target, settle_keys, stage_keys
from lifecycle.services.backups.results import Created
from lifecycle.services.trail import seal_checkpoint
from lifecycle.vault.anchor import timestamp
from lifecycle.vault.files import make_private, sync_folder

if TYPE_CHECKING:
    import sqlite3

    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.digest import Digest
    from lifecycle.registry.unit_of_work import UnitOfWork

_PATIENCE_S = 60.0


@dataclass(slots=True)
class _Frozen:
    """One moment: two open transactions that fit each other; that on the keys ends as soon as they are copied."""

    uow: UnitOfWork
    keys: sqlite3.Connection
    end_keys: ExitStack
    epoch: int
    trail: tuple[int, str]
    ledger_size: int


@dataclass(slots=True)
class _Copied:
    entries: list[m.Entry] = field(default_factory=list)
    copied_files: int = 0
    copied_bytes: int = 0


def create_backup(target: Path, *, keys_to: Path | None, rooms: Rooms, dry_run: bool = False) -> Created:
    """Back the registry up into a folder, and its keys into another.

    Raises:
        UsageError: A folder lies in VLM_HOME, in VLM_KEYS or in the other one.
        Refused: A folder holds something else.
        Busy: Another backup into the folder runs, or a purge is not finished.
        Unavailable: There is too little space.
    """
    target = target.absolute()
    copy = None if keys_to is None else keys_to.absolute() / rooms.installation
    _refuse_places(target, keys_to, rooms)
    if copy is not None:
        anchor = rooms.vault.anchor.read()
        size = 0 if anchor is None else anchor.trail_size
        accept_target(copy, epoch=_epoch(rooms), trail_size=max(size, _trail_size(rooms)))
    if dry_run:
        return _rehearse(target, keys_to, rooms=rooms)
    folder = prepare_backup(target, rooms.installation)
    with folder.locked():
        folder.clear_unfinished()
        try:
            return _create(folder, copy, rooms=rooms)
        finally:
            folder.clear_unfinished()
            if copy is not None:
                shutil.rmtree(copy / ".new", ignore_errors=True)


def _refuse_places(target: Path, keys_to: Path | None, rooms: Rooms) -> None:
    apart = {"the registry": rooms.settings.home, "the key folder": rooms.settings.keys}
    refuse_within(target, what="the backup", apart=apart)
    if keys_to is not None:
        refuse_within(keys_to, what="the copy of the keys", apart={"the backup": target, **apart})


def _rehearse(target: Path, keys_to: Path | None, *, rooms: Rooms) -> Created:
    try:
        folder = find_backup(target)
        if folder.installation != rooms.installation:
            raise Refused(f'"{target}" holds the backup of another registry', hint="vlm backup create DIR")
    except NotFound:
        refuse_foreign(target)
        folder = BackupFolder(target, rooms.installation)
    with rooms.registry.read() as uow:
        wanted = list(uow.backups.blobs())
    lacking = [(digest, size) for digest, size in wanted if not lies_there(folder.blobs, digest, size)]
    return Created(
        backup=target,
        keys_to=keys_to,
        snapshot="",
        made_at=rooms.clock(),
        files=len(wanted),
        size_bytes=sum(size for _, size in wanted),
        copied_files=len(lacking),
        copied_bytes=sum(size for _, size in lacking),
        gone=(),
        missing=(),
        older=0,
        before_purge=0,
        same_disk=False,
        dry_run=True,
    )


def _create(folder: BackupFolder, keys_copy: Path | None, *, rooms: Rooms) -> Created:
    # Signed before it is copied, so that the copy shows what it is without this machine.
    seal_checkpoint(rooms=rooms)
    uid, now = rooms.new_uid(), folder.next_time(rooms.clock())
    stage = folder.snapshots / f".{uid}.new"
    make_private(stage)
    with _frozen(keys_copy, rooms=rooms) as frozen:
        copied, lacking = _look(folder, frozen)
        databases = rooms.registry.database.size_bytes() + _size(rooms.settings.home / "keys.db")
        require_space(folder.root, databases + sum(size for _, size in lacking))
        _copy_databases(stage, frozen, rooms=rooms)
        told = (frozen.trail, frozen.ledger_size, frozen.epoch, frozen.uow.backups.database)
    hit("backup.after_snapshot")
    extras = _copy_blobs(folder, lacking, copied, rooms=rooms)
    m.write_list(stage / m.LIST, copied.entries)
    states = [entry.state for entry in copied.entries]
    (trail_size, trail_head), ledger_size, epoch, database = told
    manifest = m.Manifest(
        uid=uid,
        installation=rooms.installation,
        made_at=now,
        version=_version(),
        schema=_schema(),
        database=database,
        trail_size=trail_size,
        trail_head=trail_head,
        ledger_size=ledger_size,
        epoch=epoch,
        parts=tuple(m.part_of(stage / name) for name in (*m.DATABASES, m.LIST)),
        extras=extras,
        blobs=states.count(m.HELD),
        blob_bytes=sum(entry.size for entry in copied.entries if entry.state == m.HELD),
        gone=states.count(m.GONE),
        missing=states.count(m.MISSING),
    )
    hit("backup.before_manifest")
    m.write_manifest(stage / m.NAME, manifest, rooms.vault.signing)
    stage.rename(folder.snapshots / manifest.name)
    sync_folder(folder.snapshots)
    hit("backup.after_manifest")
    if keys_copy is not None:
        settle_keys(keys_copy, KeysCopy(timestamp(now), epoch, trail_size))
    hit("backup.before_row")
    _remember(manifest, folder, keys_copy, rooms=rooms)
    older = _older(folder, manifest, rooms=rooms)
    return Created(
        backup=folder.root,
        keys_to=None if keys_copy is None else keys_copy.parent,
        snapshot=manifest.name,
        made_at=now,
        files=manifest.blobs,
        size_bytes=manifest.blob_bytes,
        copied_files=copied.copied_files,
        copied_bytes=copied.copied_bytes,
        gone=tuple(str(e.digest) for e in copied.entries if e.state == m.GONE),
        missing=tuple(str(e.digest) for e in copied.entries if e.state == m.MISSING),
        older=older[0],
        before_purge=older[1],
        same_disk=folder.root.stat().st_dev == rooms.settings.home.stat().st_dev,
        dry_run=False,
    )


@contextmanager
def _frozen(keys_copy: Path | None, *, rooms: Rooms) -> Iterator[_Frozen]:
    """Open both databases at one moment at which no purge is open.

    While the store's lock on keys is held no key is made or destroyed. A registration makes its keys before
    its rows, so whatever the registry names then has its key; the copy of VLM_KEYS is from the same moment.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with ExitStack() as stack:
            frozen = _try_freeze(stack, keys_copy, rooms=rooms)
            if frozen is not None:
                yield frozen
                return
        if time.monotonic() > deadline:
            raise Busy("a purge is not finished, and no backup may be made meanwhile", hint="vlm doctor")
        time.sleep(0.2)


def _try_freeze(stack: ExitStack, keys_copy: Path | None, *, rooms: Rooms) -> _Frozen | None:
    from lifecycle.vault.key_database import current_epoch, rotation

    try:
        with rooms.vault.keys.locked():
            if keys_copy is not None:
                stage_keys(rooms.settings.keys / rooms.installation, keys_copy)
            ledger_size, _ = rooms.vault.ledger.head()
            end_keys = stack.enter_context(ExitStack())
            keys = end_keys.enter_context(rooms.vault.keys.database.read())
            epoch, pending = current_epoch(keys).number, rotation(keys)
            uow = stack.enter_context(rooms.registry.read())
            trail, purges = uow.trail.head(), uow.purges.all_open()
    except Busy:
        return None
    if pending is not None or purges:
        return None
    return _Frozen(uow, keys, end_keys, epoch, trail, ledger_size)


def _look(folder: BackupFolder, frozen: _Frozen) -> tuple[_Copied, list[tuple[Digest, int]]]:
    """Compare what the registry names with what the folder has, by name and size."""
    copied, lacking = _Copied(), []
    for digest, size in frozen.uow.backups.blobs():
        if lies_there(folder.blobs, digest, size):
            copied.entries.append(m.Entry(digest, size, m.HELD))
        else:
            lacking.append((digest, size))
    return copied, lacking


def _copy_databases(stage: Path, frozen: _Frozen, *, rooms: Rooms) -> None:
    from lifecycle.registry.snapshot import copy_sqlite

    step = rooms.progress.step("registry", 100.0, "%")
    done = 0.0

    def seen(pages: int, total: int) -> None:
        nonlocal done
        share = 100.0 * pages / max(total, 1)
        step.advance(max(share - done, 0.0))
        done = max(share, done)

    copy_sqlite(frozen.keys, stage / "keys.db", seen=lambda _pages, _total: None)
    frozen.end_keys.close()  # a purge waits for readers of the keys, and the registry may take a while
    frozen.uow.backups.copy_into(stage / "registry.db", seen=seen)
    step.done()


def _copy_blobs(
    folder: BackupFolder, lacking: list[tuple[Digest, int]], copied: _Copied, *, rooms: Rooms
) -> tuple[m.Part, ...]:
    step = rooms.progress.step("copy", sum(size for _, size in lacking), "bytes")
    copier = BlobCopier(rooms.settings.home / "blobs", folder.blobs, step.advance)
    absent: list[tuple[Digest, int]] = []
    for digest, size in lacking:
        state = copier.copy(digest)
        if state == COPIED:
            copied.entries.append(m.Entry(digest, size, m.HELD))
            copied.copied_files += 1
            copied.copied_bytes += size
        elif state == CHANGED and (rooms.settings.home / "blobs" / digest.hex[:2] / digest.hex[2:]).exists():
            copied.entries.append(m.Entry(digest, size, m.MISSING))
        else:
            absent.append((digest, size))
    extras = _copy_extras(folder, copier, rooms=rooms)
    copier.flush()
    step.done()
    copied.entries += _explained(absent, rooms=rooms)
    return extras


def _copy_extras(folder: BackupFolder, copier: BlobCopier, *, rooms: Rooms) -> tuple[m.Part, ...]:
    """Copy the receipts and the settings that travel with the registry, among the blobs."""
    home = rooms.settings.home
    paths = [home / "vlm.toml", *sorted((home / "certificates").glob("*"))]
    extras: list[m.Part] = []
    for path in paths:
        name = path.relative_to(home).as_posix()
        if path.is_symlink() or not path.is_file() or not m.is_extra(name):
            continue
        part = m.part_of(path)
        if not lies_there(folder.blobs, part.digest, part.size):
            copier.copy_file(path, part.digest)
        extras.append(m.Part(name, part.size, part.digest))
    return tuple(extras)


def _explained(absent: list[tuple[Digest, int]], *, rooms: Rooms) -> list[m.Entry]:
    """Tell files that a purge took while the copy was made from those that the registry lacks anyway."""
    if not absent:
        return []
    names = {str(digest) for digest, _ in absent}
    with rooms.registry.read() as uow:
        named = uow.voices.blob_digests() & names
        owners = uow.purges.owners(named)
        open_voices = {purge.voice_uid for purge in uow.purges.all_open()}
    lost = {digest for digest in named if not owners.get(digest, set()) & open_voices}
    return [m.Entry(digest, size, m.MISSING if str(digest) in lost else m.GONE) for digest, size in absent]


def _remember(manifest: m.Manifest, folder: BackupFolder, keys_copy: Path | None, *, rooms: Rooms) -> None:
    places = [(manifest.uid, REGISTRY, folder.root)]
    if keys_copy is not None:
        places.append((rooms.new_uid(), KEYS, keys_copy))
    with rooms.registry.write() as uow:
        for uid, kind, place in places:
            uow.backups.add(
                BackupRow(
                    uid=uid,
                    kind=kind,
                    place=rooms.vault.keys.seal_text(None, str(place)),
                    trail_size=manifest.trail_size,
                    epoch=manifest.epoch,
                    made_at=manifest.made_at,
                )
            )
            uow.trail.append("backup", ids={"backup": uid}, details={"kind": kind})
        uow.commit()


def _older(folder: BackupFolder, manifest: m.Manifest, *, rooms: Rooms) -> tuple[int, int]:
    """Count the earlier snapshots, and those that a purge came after."""
    names = [name for name in folder.names() if name != manifest.name]
    before = 0
    for name in names:
        try:
            other = m.read_manifest(folder.snapshots / name, rooms.vault.signing.trusted(m.PURPOSE))
        except IntegrityError:
            continue
        before += other.ledger_size < manifest.ledger_size
    return len(names), before


def _epoch(rooms: Rooms) -> int:
    from lifecycle.services.trail import epoch_of

    return epoch_of(rooms)


def _trail_size(rooms: Rooms) -> int:
    with rooms.registry.read() as uow:
        return uow.trail.head()[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _version() -> str:
    from importlib.metadata import version

    return version("voice-lifecycle")


def _schema() -> str:
    from lifecycle.registry.migrate import HEAD

    return HEAD
