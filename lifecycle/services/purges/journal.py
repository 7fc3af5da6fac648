"""What an open purge must remember and nobody may keep: paths, and pieces of the values that it deletes.

It lies beside the keys, readable by the owner alone, and is removed when the purge ends. A copy of VLM_HOME
made meanwhile holds nothing of it; a copy of VLM_KEYS from before the end is what every result excepts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.files import write_durably

# SQLite cuts a long value into pages, so pieces are searched for; 24 random bytes do not occur by chance.
PIECE_BYTES = 24
_PIECES_PER_VALUE = 4


@dataclass(frozen=True, slots=True)
class Journal:
    """The private part of one purge.

    Attributes:
        originals: For each node, the path where a recording came from.
        artifacts: For each of those nodes, the artifact that was made from it.
        pieces: Hexadecimal pieces of the sealed values that will be deleted.
        rows, residue, work: Nodes of the registry's rows, of the database files and of the work folder.
        name: The voice's name, so that an erasure can be told of and taken up after the name is gone.
        lost: The node of what can no longer be looked at, where the journal itself was lost.
    """

    name: str
    rows: str
    residue: str
    work: str
    originals: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[str] = ()
    lost: str | None = None

    def to_json(self) -> Mapping[str, object]:
        """Return the journal as it is stored."""
        return {
            "name": self.name,
            "rows": self.rows,
            "residue": self.residue,
            "work": self.work,
            "originals": dict(self.originals),
            "artifacts": dict(self.artifacts),
            "pieces": list(self.pieces),
        }


def pieces_of(values: Sequence[bytes]) -> list[str]:
    """Return up to four pieces of each value, spread over it, hexadecimal; short values count whole."""
    found: list[str] = []
    for value in values:
        last = max(len(value) - PIECE_BYTES, 0)
        starts = {last * i // (_PIECES_PER_VALUE - 1) for i in range(_PIECES_PER_VALUE)}
        found += [value[start : start + PIECE_BYTES].hex() for start in sorted(starts)]
    return found


def journal_path(keys: Path, installation: str, purge_uid: str) -> Path:
    """Return where the journal of a purge lies."""
    return keys / installation / f"purge-{purge_uid}.json"


def write_journal(path: Path, journal: Journal) -> None:
    """Store a journal so that a crash leaves it whole or not at all."""
    write_durably(path, json.dumps(journal.to_json()).encode("ascii"))


def read_journal(path: Path) -> Journal:
    """Read a journal back.

    Raises:
        IntegrityError: The file is missing or damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Journal(
            name=str(data["name"]),
            rows=str(data["rows"]),
            residue=str(data["residue"]),
            work=str(data["work"]),
            originals={str(node): str(at) for node, at in data["originals"].items()},
            artifacts={str(node): str(uid) for node, uid in data["artifacts"].items()},
            pieces=[str(piece) for piece in data["pieces"]],
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise IntegrityError(
            f'the journal of an open purge, "{path.name}" beside the keys, is missing or damaged',
            hint="vlm doctor",
        ) from None


def drop_journal(path: Path) -> None:
    """Remove a journal; it being gone is fine."""
    path.unlink(missing_ok=True)


def stray_journals(keys: Path, installation: str, known: Collection[str]) -> list[Path]:
    """Return the journals, and halves of journals, that belong to none of the known purges."""
    folder = keys / installation
    found = [*folder.glob("purge-*.json"), *folder.glob(".purge-*.tmp")]
    return sorted(
        path for path in found if path.name.removeprefix("purge-").removesuffix(".json") not in known
    )
