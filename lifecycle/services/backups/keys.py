"""The second copy of VLM_KEYS: one, always the newest, apart from every backup.

A copy that is kept from before a purge would open older backups again. So the copy is replaced, never added to,
and the key of an epoch that is gone is overwritten there as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.errors import IntegrityError, NotFound, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.vault.files import make_private, read_small, sync_folder, write_durably
from lifecycle.vault.holder import FileKeyHolder

FORMAT = "vlm-keys-copy/1"
MARKER = "copy.json"
_STAGE = ".new"
_MOST_BYTES = 1 << 30
_NAMES = (
    re.compile(r"epochs/epoch-[0-9]{8}\.key"),
    re.compile(r"signing/[a-z]{1,32}\.key"),
    re.compile(r"signing/[a-z]{1,32}-[0-9a-f]{64}\.pub"),
    re.compile(r"keybags/keybag-[0-9]{8}\.json"),
    re.compile(r"anchor\.json|ledger\.jsonl|here"),
)


@dataclass(frozen=True, slots=True)
class KeysCopy:
    """What the marker of a copy says: when it was made, how far the anchor was, and under which epoch."""

    made_at: str
    epoch: int
    trail_size: int


def key_files(folder: Path) -> list[str]:
    """Return the files that belong to the keys, by their names below the folder; links and all else are left out."""
    found: list[str] = []
    for place in (folder, *(folder / name for name in ("epochs", "signing", "keybags"))):
        if place.is_symlink() or not place.is_dir():
            continue
        for path in place.iterdir():
            name = path.relative_to(folder).as_posix()
            if any(form.fullmatch(name) for form in _NAMES) and not path.is_symlink() and path.is_file():
                found.append(name)
    return sorted(found)


def copy_info(folder: Path) -> KeysCopy | None:
    """Return what a copy says of itself; None where the folder is none.

    Raises:
        IntegrityError: It is damaged.
    """
    try:
        told = json.loads(read_small(folder / MARKER, limit=1 << 16))
        if told["format"] != FORMAT:
            raise ValueError
        return KeysCopy(str(told["made_at"]), int(told["epoch"]), int(told["trail_size"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(f'"{folder / MARKER}" is damaged', hint="vlm backup create --help") from None


def accept_target(target: Path, *, epoch: int, trail_size: int) -> None:
    """Refuse a place for the copy that holds something else, or a newer copy.

    Raises:
        Refused: It does.
    """
    known = copy_info(target)
    if known is None:
        if target.exists() and any(path.name != _STAGE for path in target.iterdir()):
            raise Refused(
                f'"{target}" holds keys that are no copy of this kind, so nothing was written',
                hint="vlm backup create --help",
            )
        return
    if known.epoch > epoch or known.trail_size > trail_size:
        raise Refused(
            f'the copy of the keys in "{target}" is newer than these keys, so it was left as it is',
            hint="vlm doctor",
        )


def stage_keys(source: Path, target: Path) -> None:
    """Copy the keys beside the old copy; the caller holds the store's lock on keys."""
    stage = target / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    _copy(source, stage)


def settle_keys(target: Path, copy: KeysCopy) -> None:
    """Put a staged copy in the place of the old one, and destroy what the new one no longer has."""
    stage = target / _STAGE
    names = key_files(stage)
    if copy_info(target) is None:
        _mark(target, KeysCopy(copy.made_at, 0, 0))  # a half-made copy is known as one
    for name in sorted(names, key=lambda name: (name == "anchor.json", name)):
        make_private((target / name).parent)
        (stage / name).replace(target / name)
        hit("backup.during_keys")
    for folder in ("epochs", "signing", "keybags"):
        if (target / folder).is_dir():
            sync_folder(target / folder)
    sync_folder(target)
    _mark(target, copy)
    for name in sorted(set(key_files(target)) - set(names)):
        if name.startswith("epochs/"):
            FileKeyHolder(target / "epochs").destroy(int(name[-12:-4]))
        else:
            (target / name).unlink(missing_ok=True)
    shutil.rmtree(stage, ignore_errors=True)


def _mark(target: Path, copy: KeysCopy) -> None:
    marker: dict[str, Json] = {
        "format": FORMAT,
        "made_at": copy.made_at,
        "epoch": copy.epoch,
        "trail_size": copy.trail_size,
    }
    write_durably(target / MARKER, canonical_json(marker) + b"\n")


def restore_keys(source: Path, target: Path) -> None:
    """Put a copy of the keys where they are used from; nothing may lie there but what an earlier try left.

    Raises:
        NotFound: There is no copy in `source`.
        Refused: Keys lie there.
    """
    if copy_info(source) is None and not (source / "anchor.json").is_file():
        raise NotFound(f'there is no copy of the keys in "{source}"', hint="vlm backup restore --help")
    # What an earlier try left is what the copy has; anything else is somebody's keys.
    if any(_differs(source / name, target / name) for name in key_files(target)):
        raise Refused(f'keys lie in "{target}" already, so they were left as they are', hint="vlm doctor")
    _copy(source, target)


def _differs(one: Path, other: Path) -> bool:
    try:
        return read_small(one, limit=_MOST_BYTES) != read_small(other, limit=_MOST_BYTES)
    except FileNotFoundError:
        return True


def _copy(source: Path, target: Path) -> None:
    # The epochs come last: where they are, everything else is.
    for name in sorted(key_files(source), key=lambda name: (name.startswith("epochs/"), name)):
        place = target / name
        make_private(place.parent)
        write_durably(place, read_small(source / name, limit=_MOST_BYTES))


def open_modes(folder: Path) -> Iterator[Path]:
    """Yield what of a copy can be read by others."""
    for path in (folder, *sorted(folder.rglob("*"))):
        if not path.is_symlink() and os.lstat(path).st_mode & 0o077:
            yield path
