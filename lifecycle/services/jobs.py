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
from lifecycle.runtimes.machine import boot_id, is_workers, machine_id, owner_lives, runs

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


@contextmanager
def working(verb: str, *, rooms: Rooms) -> Iterator[Path]:
    """Give a folder (0700) below `VLM_HOME/work` for decrypted data; it is emptied whatever happens.

    The row that names it is durable before the folder exists, so that whoever finds the row after a crash
    knows where to look. A process that is killed leaves both; the next command empties them.
    """
    job = Job(rooms.new_uid(), verb, os.getpid(), boot_id(), rooms.clock(), machine=machine_id())
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
    """Empty the folders of jobs whose process is gone; return their verbs. Costs one query where there are none.

    A job of another machine is left alone: only there can anybody see whether its process lives.
    """
    with rooms.registry.read() as uow:
        dead = [job for job in uow.jobs.open() if is_here(job, rooms) and not _alive(job)]
    for job in dead:
        _end(job, rooms)
    work = rooms.settings.home / "work"
    for folder in work.iterdir() if work.is_dir() else ():
        if not is_workers(folder) or owner_lives(folder, shared=_shared(rooms)):
            continue
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)
    return [job.verb for job in dead]


def end_elsewhere(rooms: Rooms) -> list[str]:
    """Empty the folders of other machines' jobs too, whose machines are gone for good; return their verbs."""
    gone = elsewhere(rooms)
    for job in gone:
        _end(job, rooms)
    return [job.verb for job in gone]


def elsewhere(rooms: Rooms) -> list[Job]:
    """Return the open jobs of other machines, oldest first."""
    with rooms.registry.read() as uow:
        return [job for job in uow.jobs.open() if not is_here(job, rooms)]


def is_here(job: Job, rooms: Rooms) -> bool:
    """Whether a job began on this machine: always so where the registry is a file, which has one machine."""
    return not _shared(rooms) or job.machine in {None, machine_id()}


def _shared(rooms: Rooms) -> bool:
    return rooms.settings.database_url is not None


def strays(rooms: Rooms) -> list[Path]:
    """Return what lies in the work folder and belongs to no living job."""
    root = rooms.settings.home / "work"
    with rooms.registry.read() as uow:
        known = {job.uid for job in uow.jobs.open()}
    here = sorted(root.iterdir()) if root.is_dir() else []
    return [
        entry for entry in here if entry.name not in known and not owner_lives(entry, shared=_shared(rooms))
    ]


def _alive(job: Job) -> bool:
    if job.pid == os.getpid():
        return True
    if job.boot_id != boot_id():
        return False
    return runs(job.pid)


def _end(job: Job, rooms: Rooms) -> None:
    shutil.rmtree(rooms.settings.home / "work" / job.uid, ignore_errors=True)
    with rooms.registry.write() as uow:
        uow.jobs.end(job.uid, at=rooms.clock())
        uow.commit()
