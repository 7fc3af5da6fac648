"""What the registry that a backup is of remembers about it, where that registry is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lifecycle.bootstrap import installation_of
from lifecycle.domain.errors import VlmError
from lifecycle.services.session import open_session

if TYPE_CHECKING:
    from lifecycle.settings import Settings

CHECKED, PRUNED = "backup.check", "backup.prune"


def remember(verb: str, uids: Sequence[str], *, installation: str, settings: Settings) -> bool:
    """Write down that snapshots were found whole, or were removed.

    Args:
        verb: `CHECKED` or `PRUNED`.
        installation: Whose backup it is.

    Returns:
        False where the registry of the settings is another one, is read-only or does not know the snapshots: a
        backup can be checked and pruned anywhere.
    """
    with suppress(VlmError):
        if installation_of(settings.home) != installation:
            return False
        rooms = open_session(settings)
        try:
            with rooms.registry.write() as uow:
                known = {row.uid for row in uow.backups.all()}
                mine = [uid for uid in uids if uid in known]
                for uid in mine:
                    if verb == CHECKED:
                        uow.backups.checked(uid, at=rooms.clock())
                if verb == PRUNED:
                    uow.backups.forget(mine)
                if mine:
                    uow.trail.append(verb, ids={"backup": mine[-1]}, details={"snapshots": len(mine)})
                    uow.commit()
        finally:
            rooms.close()
        return bool(mine)
    return False
