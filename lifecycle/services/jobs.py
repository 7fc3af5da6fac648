"""Work that needs decrypted data on disk: a folder of its own, named by a row that is committed first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.failpoints import hit
from lifecycle.registry.queries.jobs import Job
from lifecycle.runtimes.process import FOLDER_PREFIX

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


@contextmanager
def working(verb: str, *, rooms: Rooms) -> Iterator[Path]:
    """Give a folder (0700) below `VLM_HOME/work` for decrypted data; it is emptied whatever happens.

    The row that names it is durable before the folder exists, so that whoever finds the row after a crash
    knows where to look. A process that is killed leaves both; the next command empties them.
    """
    job = Job(rooms.new_uid(), verb, os.getpid(), boot_id(), rooms.clock())
    with rooms.registry.write() as uow:
        uow.jobs.add(job)
        uow.commit()
    hit("job.after_row")
    folder = rooms.settings.home / "work" / job.uid
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        _end(job, rooms)


def clear_dead(rooms: Rooms) -> list[str]:
    """Empty the folders of jobs whose process is gone; return their verbs. Costs one query where there are none."""
    with rooms.registry.read() as uow:
        dead = [job for job in uow.jobs.open() if not _alive(job)]
    for job in dead:
        _end(job, rooms)
    for folder in (rooms.settings.home / "work").glob(f"{FOLDER_PREFIX}*"):
        if _owner_lives(folder):
            continue
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)
    return [job.verb for job in dead]


def strays(rooms: Rooms) -> list[Path]:
    """Return what lies in the work folder and belongs to no living job."""
    root = rooms.settings.home / "work"
    with rooms.registry.read() as uow:
        known = {job.uid for job in uow.jobs.open()}
    here = sorted(root.iterdir()) if root.is_dir() else []
    return [entry for entry in here if entry.name not in known and not _owner_lives(entry)]


def boot_id() -> str:
    """Return what names this start of the machine, so that process numbers of an earlier one mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _alive(job: Job) -> bool:
    if job.pid == os.getpid():
        return True
    if job.boot_id != boot_id():
        return False
    return _runs(job.pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner_lives(folder: Path) -> bool:
    """Whether a worker's folder, which names the process that made it, is still that process's."""
    owner = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
    return folder.name.startswith(FOLDER_PREFIX) and owner.isdigit() and _runs(int(owner))


def _end(job: Job, rooms: Rooms) -> None:
    shutil.rmtree(rooms.settings.home / "work" / job.uid, ignore_errors=True)
    with rooms.registry.write() as uow:
        uow.jobs.end(job.uid, at=rooms.clock())
        uow.commit()
