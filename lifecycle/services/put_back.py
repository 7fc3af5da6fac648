"""A registry that was put back from a copy: it may go on if nothing was erased since the copy was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, Refused
from lifecycle.services.trail import epoch_of, seal_checkpoint, standing
from lifecycle.vault.anchor import Anchor, Standing, timestamp

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.vault.ledger import LedgerEntry


def erased_since(rooms: Rooms) -> list[LedgerEntry]:
    """Return the committed purges of the ledger that this registry knows nothing of, oldest first."""
    with rooms.registry.read() as uow:
        known = {purge.uid for purge in uow.purges.all_committed()}
    return [entry for entry in rooms.vault.ledger.to_replay() if entry.purge_uid not in known]


def accept_older(*, rooms: Rooms) -> None:
    """Take a put-back registry as the one that counts from now on; what happened since the copy is given up.

    The trail says so for ever: its next event carries the head that the anchor had seen.

    Raises:
        Refused: The registry is not older than its anchor.
        IntegrityError: Something was erased since the copy was made, or the ledger or keys were put back too.
    """
    anchor = rooms.vault.anchor.read()
    if anchor is None or standing(rooms) is not Standing.OLDER:
        raise Refused(
            "the registry is not older than its anchor, so nothing is to be accepted", hint="vlm doctor"
        )
    ledger_size, ledger_head = rooms.vault.ledger.head()
    if ledger_size < anchor.ledger_size:
        raise IntegrityError(
            "the erasure ledger beside the keys was put back too, so nobody knows what was erased"
        )
    erased = erased_since(rooms)
    if erased or epoch_of(rooms) < anchor.epoch:
        last = f", the last on {erased[-1].time}" if erased else ""
        raise IntegrityError(
            f"{len(erased)} purge(s) were decided since this copy was made{last}; it stays read-only, since nothing "
            "can be erased again on a copy",
            hint="put back a copy that was made after the last purge, then: vlm doctor",
        )
    rooms.registry.writable = True
    with rooms.registry.write() as uow:
        uow.trail.append(
            "accept-older",
            ids={"anchor": f"sha256:{anchor.trail_head}"},
            details={"anchor_size": anchor.trail_size, "copy_size": uow.trail.head()[0]},
        )
        size, head = uow.trail.head()
        uow.commit()
    rooms.vault.anchor.accept_older(
        Anchor(
            trail_size=size,
            trail_head=head,
            ledger_size=ledger_size,
            ledger_head=ledger_head,
            epoch=anchor.epoch,
            highest_clock=timestamp(rooms.clock()),
            generation=anchor.generation + 1,
        )
    )
    seal_checkpoint(rooms=rooms)
