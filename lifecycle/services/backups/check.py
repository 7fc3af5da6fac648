"""`vlm backup check`: whether a backup still is what was written, and whether its keys open it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound, VlmError
from lifecycle.domain.events import CHAIN_START
from lifecycle.domain.merkle import Frontier, leaf_hash, root
from lifecycle.services.backups import manifest as m
from lifecycle.services.backups.blobs import ABSENT, COPIED, hash_blob, lies_there
from lifecycle.services.backups.folder import BackupFolder, find_backup
from lifecycle.services.backups.keys import open_modes
from lifecycle.services.backups.results import Checked, CheckedSnapshot
from lifecycle.services.trail import flaws_of
from lifecycle.vault.signing import Signing, verify_record

if TYPE_CHECKING:
    from lifecycle.domain.progress import Progress
    from lifecycle.registry.trail import Checkpoint
    from lifecycle.registry.unit_of_work import UnitOfWork

_MOST_FLAWS = 50


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to look at.

    Attributes:
        snapshot: One of them; None looks at all.
        keys: A folder that has the keys of the installation, by its id; None where none is at hand.
        required: Whether the keys were named, so that it is a flaw if they are not there.
    """

    backup: Path
    snapshot: str | None = None
    read_data: bool = False
    keys: Path | None = None
    required: bool = False


def check_backup(request: CheckRequest, *, progress: Progress) -> Checked:
    """Look at a backup; changes nothing, and needs no registry.

    Raises:
        NotFound: There is no backup, or no such snapshot.
        Busy: Another process writes to it.
    """
    folder = find_backup(request.backup.absolute())
    with folder.reading():
        names = folder.names() if request.snapshot is None else [folder.chosen(request.snapshot)]
        if not names:
            folder.chosen(None)
        keys, flaws = _keys(request, folder)
        known: dict[Digest, str] = {}
        checked = [_snapshot(folder, name, keys, request, known, progress) for name in names]
        unneeded = _unneeded(folder, known) if request.snapshot is None else 0
    return Checked(
        request.backup, request.read_data, tuple(checked), tuple(flaws), unneeded, folder.installation
    )


def _keys(request: CheckRequest, folder: BackupFolder) -> tuple[Path | None, list[str]]:
    if request.keys is None:
        return None, []
    place = request.keys.absolute() / folder.installation
    if not (place / "epochs").is_dir():
        if request.required:
            raise NotFound(f'"{request.keys}" has no keys of this registry', hint="vlm backup check --help")
        return None, []
    return place, [f'"{path}" can be read by others' for path in open_modes(place)][:_MOST_FLAWS]


def _snapshot(
    folder: BackupFolder,
    name: str,
    keys: Path | None,
    request: CheckRequest,
    known: dict[Digest, str],
    progress: Progress,
) -> CheckedSnapshot:
    place = folder.snapshots / name
    trusted = None if keys is None else Signing(keys / "signing").trusted(m.PURPOSE)
    try:
        manifest = m.read_manifest(place, trusted)
        if manifest.installation != folder.installation:
            raise IntegrityError("it is of another registry")
    except IntegrityError as error:
        return CheckedSnapshot(name, None, 0, 0, attested=False, keys_opened=None, flaws=(error.message,))
    flaws = list(_part_flaws(place, manifest))
    unread: list[str] = []
    opened = None
    if not flaws:
        flaws += _database_flaws(place, manifest, keys)
        flaws += _blob_flaws(folder, place, manifest, request, known, progress)
        opened, unread, more = _opened(place, manifest, keys)
        flaws += more
    if keys is None:
        unread.append("who signed it, and whether its keys open: --keys DIR2")
    return CheckedSnapshot(
        name=name,
        made_at=manifest.made_at,
        files=manifest.blobs,
        size_bytes=manifest.blob_bytes,
        attested=trusted is not None,
        keys_opened=opened,
        flaws=tuple(flaws[:_MOST_FLAWS]),
        unread=tuple(unread),
        uid=manifest.uid,
    )


def _part_flaws(place: Path, manifest: m.Manifest) -> Iterator[str]:
    for part in manifest.parts:
        flaw = part_flaw(place / part.name, part)
        if flaw:
            yield flaw


def part_flaw(path: Path, part: m.Part) -> str | None:
    """Say what is wrong with a file beside a manifest; None where it is what the manifest says."""
    try:
        if path.is_symlink() or not path.is_file():
            return f"{part.name} is missing"
        if path.stat().st_size != part.size:
            return f"{part.name} has another size"
        return None if m.part_of(path).digest == part.digest else f"{part.name} was changed"
    except OSError as error:
        return f"{part.name} cannot be read: {error.strerror}"


def _database_flaws(place: Path, manifest: m.Manifest, keys: Path | None) -> list[str]:
    from lifecycle.registry.snapshot_view import flaws_of_copy, open_copy

    found = [f"{name}: {flaw}" for name in m.DATABASES for flaw in flaws_of_copy(place / name)]
    if found:
        return found
    trusted = None if keys is None else Signing(keys / "signing").trusted("checkpoint")
    try:
        with open_copy(place / "registry.db") as uow:
            return [*_trail_flaws(uow, manifest, trusted), *_list_flaws(uow, place)]
    except IntegrityError as error:
        return [error.message]


def _trail_flaws(uow: UnitOfWork, manifest: m.Manifest, trusted: Mapping[str, bytes] | None) -> list[str]:
    """Compute every leaf, link and root again; details stay sealed."""
    found: list[str] = []
    frontier, before = Frontier(), CHAIN_START
    checkpoints = uow.trail.checkpoints()
    wanted = {checkpoint.size for checkpoint in checkpoints}
    roots = {0: root([]).hex()}
    for index, stored in enumerate(uow.trail.stored()):
        found += flaws_of(stored, index, before)
        before = stored.event.chain_hash
        frontier.append(leaf_hash(stored.leaf))
        if frontier.size in wanted:
            roots[frontier.size] = frontier.root().hex()
    if (frontier.size, before) != (manifest.trail_size, manifest.trail_head):
        found.append("its trail is not the one that the manifest names")
    for checkpoint in checkpoints:
        found += _checkpoint_flaws(checkpoint, roots.get(checkpoint.size), manifest, trusted)
    return [f"the trail: {flaw}" for flaw in found]


def _checkpoint_flaws(
    checkpoint: Checkpoint, tree: str | None, manifest: m.Manifest, trusted: Mapping[str, bytes] | None
) -> list[str]:
    if tree != checkpoint.root:
        return [f"checkpoint {checkpoint.size}: the events are not those that were signed"]
    if trusted is None:
        return []
    try:
        body = verify_record("checkpoint", json.loads(checkpoint.note), trusted)
    except (VlmError, ValueError) as error:
        return [f"checkpoint {checkpoint.size}: {error}"]
    told = (body.get("log"), body.get("size"), body.get("root"))
    right = (manifest.installation, checkpoint.size, checkpoint.root)
    return [] if told == right else [f"checkpoint {checkpoint.size}: its row and what was signed differ"]


def _list_flaws(uow: UnitOfWork, place: Path) -> list[str]:
    """The registry of the copy may name no file that the list does not have."""
    listed = {entry.digest: entry.size for entry in m.read_list(place / m.LIST)}
    found = []
    for digest, size in uow.backups.blobs():
        if listed.get(digest) != size:
            found.append(f"blob {digest.hex[:12]} is named by a voice and not in the list")
    return found[:_MOST_FLAWS]


def _blob_flaws(
    folder: BackupFolder,
    place: Path,
    manifest: m.Manifest,
    request: CheckRequest,
    known: dict[Digest, str],
    progress: Progress,
) -> list[str]:
    """Look at each file once, however many snapshots name it."""
    found: list[str] = []
    wanted = [(e.digest, e.size, f"blob {e.digest.hex[:12]}") for e in _held(place, found)]
    wanted += [(part.digest, part.size, f'"{part.name}"') for part in manifest.extras]
    step = progress.step("check", sum(size for _, size, _ in wanted), "bytes")
    for digest, size, what in wanted:
        if digest not in known:
            known[digest] = _look(folder, digest, size, step.advance, read=request.read_data)
        if known[digest]:
            found.append(f"{what} {known[digest]}")
    step.done()
    return found


def _held(place: Path, found: list[str]) -> list[m.Entry]:
    try:
        return [entry for entry in m.read_list(place / m.LIST) if entry.state == m.HELD]
    except IntegrityError as error:
        found.append(error.message)
        return []


def _look(folder: BackupFolder, digest: Digest, size: int, seen: object, *, read: bool) -> str:
    if not lies_there(folder.blobs, digest, size):
        return "is missing or has another size"
    if not read:
        return ""
    state = hash_blob(folder.blobs, digest, seen=seen)  # type: ignore[arg-type]
    return "" if state == COPIED else "is missing" if state == ABSENT else "was changed"


def _opened(place: Path, manifest: m.Manifest, keys: Path | None) -> tuple[int | None, list[str], list[str]]:
    """Let a fresh process open every wrap of the copy with the keys at hand."""
    from lifecycle.vault.fresh import opened_in_copy
    from lifecycle.vault.holder import FileKeyHolder

    if keys is None:
        return None, [], []
    held = FileKeyHolder(keys / "epochs").epochs()
    if manifest.epoch not in held:
        if held and max(held) > manifest.epoch:
            why = "a purge came after it, and its survivors open by the keybag only"
            return None, [why], []
        return None, [], ["the keys are older than it, so nothing sealed in it opens"]
    with private_copy(place / "keys.db") as copy:
        try:
            return opened_in_copy(copy, keys / "epochs", manifest.epoch), [], []
        except IntegrityError as error:
            return None, [], [f"keys.db: {error.message}"]


class private_copy:  # noqa: N801
    """A copy of a small database that SQLite may set up for use, in a folder of its own (0700)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        self._folder = Path(tempfile.mkdtemp(prefix="vlm-check-"))
        copy = self._folder / self._path.name
        shutil.copyfile(self._path, copy)
        copy.chmod(0o600)
        return copy

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _unneeded(folder: BackupFolder, known: Mapping[Digest, str]) -> int:
    return sum(1 for digest in every_blob(folder) if digest not in known)


def every_blob(folder: BackupFolder) -> Iterator[Digest]:
    """Yield the name of every file among the blobs."""
    if not folder.blobs.is_dir():
        return
    with os.scandir(folder.blobs) as places:
        prefixes = sorted(e.name for e in places if e.is_dir(follow_symlinks=False) and len(e.name) == 2)
    for prefix in prefixes:
        for path in sorted((folder.blobs / prefix).iterdir()):
            try:
                yield Digest("blake3", prefix + path.name)
            except ValueError:
                continue
