"""One command's stay in a registry: what is looked at when it opens, and sealed when it ends."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from lifecycle.bootstrap import Clock, RandomBytes, Rooms, open_rooms, utc_now
from lifecycle.domain.errors import Busy, IntegrityError, Unavailable
from lifecycle.domain.progress import Progress
from lifecycle.services.jobs import clear_dead
from lifecycle.services.trail import seal_checkpoint, standing
from lifecycle.vault.anchor import Standing

if TYPE_CHECKING:
    from lifecycle.settings import Settings


def open_session(
    settings: Settings,
    *,
    writable: bool = True,
    progress: Progress | None = None,
    clock: Clock = utc_now,
    random_bytes: RandomBytes = os.urandom,
) -> Rooms:
    """Open a registry for one command: compare it with the anchor, and empty what dead jobs left.

    Args:
        writable: False for what only looks (`vlm doctor`, `vlm trail verify`): an older registry then opens, and
            refuses every change.

    Raises:
        NotFound: There is no registry.
        IntegrityError: The registry is older than the anchor beside the keys, or another one.
    """
    rooms = open_rooms(settings, writable=writable, progress=progress, clock=clock, random_bytes=random_bytes)
    try:
        recover(rooms)
    except BaseException:
        rooms.close()
        raise
    rooms.closing.append(lambda: _finish_later(rooms))
    return rooms


def recover(rooms: Rooms) -> None:
    """Compare with the anchor, and empty the folders of dead jobs.

    Raises:
        IntegrityError: The registry was put back, and this command would change or use something.
    """
    told = standing(rooms)
    if told in {Standing.OLDER, Standing.FORKED}:
        rooms.registry.writable = False
        if rooms.writable:
            what = "is older than" if told is Standing.OLDER else "has another history than"
            raise IntegrityError(
                f"the registry {what} the anchor beside its keys, so a copy was put back; nothing was opened or "
                "changed, and what was erased since must be erased again first",
                hint="vlm doctor",
            )
        return
    clear_dead(rooms)


def _finish_later(rooms: Rooms) -> None:
    """Finish if that is possible now: the command did its work, and the next one seals what this one could not."""
    with contextlib.suppress(Busy, Unavailable):
        finish(rooms)


def finish(rooms: Rooms) -> None:
    """Sign what this command added to the trail, and move the anchor on; cheap where it added nothing."""
    if not rooms.registry.writable:
        return
    with rooms.registry.read() as uow:
        size, _ = uow.trail.head()
        last = uow.trail.last_checkpoint()
    anchor = rooms.vault.anchor.read()
    if last is None or last.size != size or anchor is None or anchor.trail_size != size:
        seal_checkpoint(rooms=rooms)
