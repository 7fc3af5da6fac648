"""Jobs that may hold decrypted data in the work folder; the row is committed before the first byte."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, maybe_time, to_text


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work with a folder of its own, `work/UID`.

    Attributes:
        boot_id: The start of the machine in which `pid` means something.
        machine: The machine itself; None in rows of the first release, which knew one only.
    """

    uid: str
    verb: str
    pid: int
    boot_id: str
    started_at: datetime
    ended_at: datetime | None = None
    machine: str | None = None


class JobQueries:
    """What services ask and change about jobs; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, job: Job) -> None:
        """Store a job that begins."""
        self._connection.execute(
            t.jobs.insert().values(
                uid=job.uid,
                verb=job.verb,
                pid=job.pid,
                boot_id=job.boot_id,
                machine=job.machine,
                started_at=to_text(job.started_at),
                ended_at=None,
            )
        )

    def open(self) -> list[Job]:
        """Return the jobs that did not end, oldest first."""
        query = select(t.jobs).where(t.jobs.c.ended_at.is_(None)).order_by(t.jobs.c.id)
        return [_job(row) for row in self._connection.execute(query)]

    def end(self, uid: str, *, at: datetime) -> None:
        """Note that a job ended and its folder is gone."""
        self._connection.execute(update(t.jobs).where(t.jobs.c.uid == uid).values(ended_at=to_text(at)))


def _job(row: Row[Any]) -> Job:
    return Job(
        uid=row.uid,
        verb=row.verb,
        pid=row.pid,
        boot_id=row.boot_id,
        started_at=from_text(row.started_at),
        ended_at=maybe_time(row.ended_at),
        machine=row.machine,
    )
