"""Which machine this is, and which start of it: what a process number means something in."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

# A worker's folder carries the machine and the process that made it, so that a dead one's is found and emptied.
_FOLDER_PREFIX = "worker-"
_SHORT = 12


@cache
def machine_id() -> str:
    """Return what names this machine, whenever it was started: a digest of its machine-id and its name.

    The id itself is meant to be kept within the machine, see machine-id(5); containers of one image share it.
    """
    told = ""
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            told = told or Path(place).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            continue
    return hashlib.sha256(f"vlm:job\n{told}\n{socket.gethostname()}".encode()).hexdigest()[:32]


def boot_id() -> str:
    """Return what names this start of the machine, so that process numbers of an earlier one mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def runs(pid: int) -> bool:
    """Whether a process of this machine has this number now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def folder_prefix() -> str:
    """Return how the name of a folder begins that belongs to a worker of this process."""
    return f"{_FOLDER_PREFIX}{machine_id()[:_SHORT]}-{os.getpid()}-"


def is_workers(folder: Path) -> bool:
    """Whether a folder is a worker's, by its name."""
    return folder.name.startswith(_FOLDER_PREFIX)


def owner_lives(folder: Path, *, shared: bool) -> bool:
    """Whether a worker's folder is still that of a living process.

    Args:
        shared: Several machines use the same home, so that one of another machine cannot be judged here.
    """
    if not is_workers(folder):
        return False
    machine, _, rest = folder.name.removeprefix(_FOLDER_PREFIX).partition("-")
    if machine.isdigit() and len(machine) != _SHORT:  # as the first release named them
        return runs(int(machine))
    if shared and machine != machine_id()[:_SHORT]:
        return True
    owner = rest.partition("-")[0]
    return owner.isdigit() and runs(int(owner))
