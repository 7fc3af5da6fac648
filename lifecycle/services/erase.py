"""`vlm erase`: the same machinery as a purge, for a retired voice with its model and its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle.erasure.plan import PurgeVerb
from lifecycle.services.purges.preview import PurgeRequest, preview
from lifecycle.services.purges.purge import Purged, purge, resume_open

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


def erase(
    name: str,
    *,
    rooms: Rooms,
    request: str | None = None,
    basis: str | None = None,
    originals: bool = False,
    even_if_used: bool = False,
) -> Purged:
    """Destroy a retired voice; an erasure that was begun and not finished is finished.

    The caller has asked the user already; `preview` gives what to show.

    Raises:
        NotFound: No voice has this name.
        Held: A hold forbids it.
        InUse: Something live depends on it, and that was not overruled.
        Refused: The voice is not retired.
    """
    resumed = resume_open(name, rooms=rooms)
    if resumed is not None and resumed.plan.verb is PurgeVerb.ERASE:
        return resumed
    wanted = PurgeRequest(name, PurgeVerb.ERASE, originals, request, basis, even_if_used)
    return purge(preview(wanted, rooms=rooms), rooms=rooms)
