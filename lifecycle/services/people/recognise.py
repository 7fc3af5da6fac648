"""Recordings of a person who withdrew are recognised, whoever they are said to belong to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Refused
from lifecycle.services.inspect import opened
from lifecycle.vault.key_chain import KeyDestroyed

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

_PIECE_BYTES = 1 << 20


def refuse_recordings(contents: Iterable[Digest], *, uow: UnitOfWork, rooms: Rooms) -> None:
    """Refuse recordings that are held of somebody whose withdrawal is open, also as another's or as one's own.

    They are recognised by the keyed digest of their content, as long as they are held: what was purged left no
    digest behind, and what was cut or coded anew has another content.

    Args:
        contents: BLAKE3 of each recording.

    Raises:
        Refused: One of them is such a recording; nothing was stored.
    """
    cases = uow.cases.page(open_only=True, limit=500)
    wanted = list(dict.fromkeys(contents)) if cases else []
    prints: dict[str, tuple[str, str]] = {}
    for row in cases:
        for content in wanted:
            try:
                found = rooms.vault.keys.fingerprint(row.case.subject_uid, content)
            except KeyDestroyed:
                break
            prints[found] = (row.pseudonym, row.case.uid[:12])
    for known in uow.subjects.held_prints(prints):
        pseudonym, case = prints[known]
        raise Refused(
            f"a recording is one of {pseudonym}, who withdrew their consent, so nothing was stored",
            hint=f"vlm subject case show {case}",
        )


def contents_of(paths: Iterable[Path]) -> list[Digest]:
    """Return the BLAKE3 of each file.

    Raises:
        NotFound, UnreadableFile: As `opened`.
    """
    found = []
    for path in paths:
        hasher = blake3()
        with opened(path) as (file, _size):
            while piece := file.read(_PIECE_BYTES):
                hasher.update(piece)
        found.append(Digest("blake3", hasher.hexdigest()))
    return found
