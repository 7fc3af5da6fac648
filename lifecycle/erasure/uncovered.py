"""Places that a purge never reaches, by name: what a copy-on-write disk, a sync folder or a copy may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from lifecycle.erasure.graph import Node, NodeState

ALWAYS: Sequence[str] = (
    "copies of the key folder made before the purge",
    "freed blocks of this disk",
    "memory and swap of this machine",
    "files that were asked for with -o, reports and samples outside the registry",
)

# What a database server keeps of deleted rows, and nobody here can look into.
SERVER: Sequence[str] = (
    "the write-ahead log of the registry's database server, and archives of it",
    "replicas, base backups and dumps of the registry's database",
    "freed pages of the registry's database that its server did not overwrite yet",
)
MOVED = "what is left of the registry where it was before it was moved"

_COPY_ON_WRITE = frozenset({"btrfs", "zfs", "bcachefs", "apfs", "overlay", "nilfs2"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "glusterfs"})
_SYNC = (
    ("dropbox", "Dropbox"),
    ("onedrive", "OneDrive"),
    ("google drive", "Google Drive"),
    ("googledrive", "Google Drive"),
    ("nextcloud", "Nextcloud"),
    ("owncloud", "ownCloud"),
    ("mobile documents", "iCloud Drive"),
    ("icloud", "iCloud Drive"),
    ("syncthing", "Syncthing"),
    ("pclouddrive", "pCloud"),
    ("megasync", "MEGA"),
)
_MARKERS = (
    (".stfolder", "Syncthing"),
    (".dropbox", "Dropbox"),
    (".snapshots", "file system snapshots"),
    (".zfs", "ZFS snapshots"),
    (".git", "a git working tree"),
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system_of(path: PurePath, mountinfo: str) -> str | None:
    """Return the type of the file system that holds `path`.

    Args:
        mountinfo: Text of /proc/self/mountinfo; see proc_pid_mountinfo(5).
    """
    best: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5 or not after.split():
            continue
        point = PurePath(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if point == path or point in path.parents:
            depth = len(point.parts)
            # Of two mounts on one point the later line lies on top.
            if best is None or depth >= best[0]:
                best = (depth, after.split()[0])
    return best[1] if best else None


def uncovered(
    folders: Sequence[tuple[str, PurePath]],
    *,
    mountinfo: str,
    exists: Callable[[PurePath], bool],
    new_uid: Callable[[], str],
    others: Sequence[str] = (),
) -> tuple[Node, ...]:
    """Return one NOT-COVERED node for each place that nobody looked at.

    Args:
        folders: What each folder is called ("the registry", "the key folder") and where it lies, resolved.
        exists: Whether a path is there.
        others: More names, such as a backup that somebody recorded.
    """
    found = [*ALWAYS, *others]
    for called, folder in folders:
        kind = file_system_of(folder, mountinfo)
        if kind in _COPY_ON_WRITE:
            found.append(f"old blocks and snapshots of the {kind} file system under {called}")
        if kind in _NETWORK:
            found.append(f"the {kind} server that holds {called}, its snapshots and backups")
        found += [f"{name}, which copies {called}" for name in _synchronised(folder, exists)]
    return tuple(
        Node(uid=new_uid(), kind="place", what=what, state=NodeState.NOT_COVERED)
        for what in dict.fromkeys(found)
    )


def _synchronised(folder: PurePath, exists: Callable[[PurePath], bool]) -> list[str]:
    parts = [part.lower() for part in folder.parts]
    names = [name for word, name in _SYNC if any(part.startswith(word) for part in parts)]
    for above in (folder, *folder.parents):
        names += [name for marker, name in _MARKERS if exists(above / marker)]
    return list(dict.fromkeys(names))
