"""What a snapshot says that it holds: signed, small, and read as if a stranger had written it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError
from lifecycle.registry.times import to_text
from lifecycle.vault.files import read_small, write_durably
from lifecycle.vault.signing import key_id_of, verify_record

if TYPE_CHECKING:
    from lifecycle.vault.signing import Signing

NAME, LIST = "manifest.json", "blobs.txt"
DATABASES = ("registry.db", "keys.db")
FORMAT = "vlm-snapshot/1"
PURPOSE = "backup"
HELD, GONE, MISSING = "held", "gone", "missing"
_MOST_BYTES = 64 << 20
_EXTRA = re.compile(r"vlm\.toml|certificates/[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9]{1,15}) (held|gone|missing)\n")
_INTEGERS = ("trail_size", "ledger_size", "epoch", "blobs", "blob_bytes", "gone", "missing")


@dataclass(frozen=True, slots=True)
class Part:
    """One file: its name, its bytes, and their BLAKE3."""

    name: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Entry:
    """One blob of the list.

    Attributes:
        state: `held`; `gone`, which a purge took while the copy was made; `missing`, which the registry lacked.
    """

    digest: Digest
    size: int
    state: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One snapshot.

    Attributes:
        schema: Revision of the registry's schema.
        database: Where the registry lived: "sqlite" or "postgresql".
        parts: registry.db, keys.db and the list of blobs, which lie beside the manifest.
        extras: Other files of VLM_HOME, which lie among the blobs.
        blobs, blob_bytes, gone, missing: What the list of blobs comes to.
    """

    uid: str
    installation: str
    made_at: datetime
    version: str
    schema: str
    database: str
    trail_size: int
    trail_head: str
    ledger_size: int
    epoch: int
    parts: tuple[Part, ...]
    extras: tuple[Part, ...]
    blobs: int
    blob_bytes: int
    gone: int
    missing: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.made_at:%Y%m%dT%H%M%S}{self.made_at.microsecond // 1000:03d}Z-{self.uid[:8]}"

    def part(self, name: str) -> Part:
        """Return one of the files beside the manifest."""
        return next(part for part in self.parts if part.name == name)

    def to_json(self) -> dict[str, Json]:
        """Return the body that is signed."""
        return {
            "format": FORMAT,
            "id": self.uid,
            "installation": self.installation,
            "made_at": to_text(self.made_at),
            "version": self.version,
            "schema": self.schema,
            "database": self.database,
            "trail_size": self.trail_size,
            "trail_head": self.trail_head,
            "ledger_size": self.ledger_size,
            "epoch": self.epoch,
            "parts": [_told(part) for part in self.parts],
            "extras": [_told(part) for part in self.extras],
            "blobs": self.blobs,
            "blob_bytes": self.blob_bytes,
            "gone": self.gone,
            "missing": self.missing,
        }


def write_manifest(path: Path, manifest: Manifest, signing: Signing) -> None:
    """Sign a manifest and write it durably; the public key travels with it."""
    record = signing.sign_record(PURPOSE, manifest.to_json())
    write_durably(path, canonical_json({**record, "public": signing.public(PURPOSE).hex()}) + b"\n")


def read_manifest(folder: Path, trusted: Mapping[str, bytes] | None) -> Manifest:
    """Read a snapshot's manifest.

    Args:
        trusted: Public keys of the installation; None where none is at hand: then only that it was not changed
            since the key that travels with it signed it.

    Raises:
        IntegrityError: It is missing, damaged, changed, signed by somebody else, or of another snapshot.
    """
    try:
        record = json.loads(read_small(folder / NAME, limit=_MOST_BYTES))
        public = bytes.fromhex(record["public"])
        known = {key_id_of(public): public} if trusted is None else trusted
        manifest = _parsed(verify_record(PURPOSE, record, known))
    except OSError as error:
        raise IntegrityError(f"its manifest cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise IntegrityError("its manifest is damaged") from None
    if manifest.name != folder.name:
        raise IntegrityError("its manifest is that of another snapshot")
    return manifest


def write_list(path: Path, entries: Iterable[Entry]) -> None:
    """Write the list of blobs, sorted by digest."""
    lines = [f"{e.digest.hex} {e.size} {e.state}\n" for e in sorted(entries, key=lambda e: e.digest.hex)]
    write_durably(path, "".join(lines).encode("ascii"))


def read_list(path: Path) -> Iterator[Entry]:
    """Yield the blobs of a list.

    Raises:
        IntegrityError: A line is not one of ours, or they are not in order.
    """
    before = b""
    with path.open("rb") as file:
        while line := file.readline(128):
            match = _LINE.fullmatch(line)
            if match is None or match[1] <= before:
                raise IntegrityError("its list of blobs is damaged")
            before = match[1]
            yield Entry(Digest("blake3", match[1].decode()), int(match[2]), match[3].decode())


def is_extra(name: str) -> bool:
    """Whether a file of VLM_HOME of that name travels with a snapshot."""
    return _EXTRA.fullmatch(name) is not None


def part_of(path: Path) -> Part:
    """Return what a file is, by reading it."""
    hasher, size = blake3(), 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
            size += len(piece)
    return Part(path.name, size, Digest("blake3", hasher.hexdigest()))


def _told(part: Part) -> dict[str, Json]:
    return {"name": part.name, "size": part.size, "digest": str(part.digest)}


def _parsed(body: Mapping[str, Any]) -> Manifest:
    if body["format"] != FORMAT or not all(
        type(body[name]) is int and 0 <= body[name] < 1 << 53 for name in _INTEGERS
    ):
        raise ValueError
    parts, extras = _parts(body["parts"]), _parts(body["extras"])
    if tuple(part.name for part in parts) != (*DATABASES, LIST):
        raise ValueError
    names = [part.name for part in extras]
    if len(set(names)) != len(names) or not all(map(is_extra, names)):
        raise ValueError
    made_at = datetime.fromisoformat(body["made_at"]).astimezone(UTC)
    texts = {name: _text(body[name]) for name in ("version", "schema", "database", "trail_head")}
    for name in ("id", "installation"):
        if not re.fullmatch(r"[0-9a-f]{32}", body[name]):
            raise ValueError
    return Manifest(
        uid=body["id"],
        installation=body["installation"],
        made_at=made_at,
        parts=parts,
        extras=extras,
        version=texts["version"],
        schema=texts["schema"],
        database=texts["database"],
        trail_head=texts["trail_head"],
        trail_size=body["trail_size"],
        ledger_size=body["ledger_size"],
        epoch=body["epoch"],
        blobs=body["blobs"],
        blob_bytes=body["blob_bytes"],
        gone=body["gone"],
        missing=body["missing"],
    )


def _parts(told: list[Mapping[str, Any]]) -> tuple[Part, ...]:
    parts = [Part(str(each["name"]), each["size"], Digest.parse(each["digest"])) for each in told]
    if not all(type(part.size) is int and part.size >= 0 for part in parts):
        raise ValueError
    return tuple(parts)


def _text(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.+_-]{1,80}", value):
        raise ValueError
    return value
