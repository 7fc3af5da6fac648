"""The trail: append-only events, hashed and chained, with details that can be forgotten without a gap."""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Row, select

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.errors import VlmError
from lifecycle.domain.events import CHAIN_START, SALT_BYTES, Event, chained, details_digest, leaf_of
from lifecycle.domain.merkle import leaf_hash
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, to_text


class TextSealer(Protocol):
    """Seals text about people, as the vault's key store does; None means text about nobody in particular."""

    def seal_bytes(self, subject_uid: str | None, content: bytes) -> bytes:
        """Return the sealed form."""

    def open_bytes(self, sealed: bytes) -> bytes:
        """Return the plain form.

        Raises:
            IntegrityError: It was changed, or its key is gone.
        """


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement about the first `size` leaves; `note` is the signed text."""

    size: int
    root: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as its row says it; nothing here is checked."""

    event: Event
    leaf: bytes
    voice_uid: str | None
    subject_uid: str | None
    details: bytes | None
    details_subject: str | None


class Trail:
    """The events of one registry, within one unit of work."""

    def __init__(
        self,
        connection: Connection,
        *,
        sealer: TextSealer | None,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._connection = connection
        self._sealer = sealer
        self._clock = clock
        self._random_bytes = random_bytes
        # The last event of this unit of work, by which a commit whose answer was lost is found again.
        self.appended: str | None = None

    def append(
        self,
        verb: str,
        *,
        voice_uid: str | None = None,
        subject_uid: str | None = None,
        ids: Mapping[str, str] | None = None,
        details: Mapping[str, Json] | None = None,
    ) -> Event:
        """Add an event; it is kept or dropped with the transaction.

        Args:
            verb: What happened, such as `register`.
            voice_uid: The voice that it happened to.
            subject_uid: The person whom the details are about; theirs is the key that seals them.
            ids: More random ids or digests that the leaf shall name.
            details: Whatever people need to read later: names, reasons, paths. Never in the leaf.

        Raises:
            ValueError: An id or a verb that could carry a name.
        """
        named = dict(ids or {})
        named |= {} if voice_uid is None else {"voice": voice_uid}
        named |= {} if subject_uid is None else {"subject": subject_uid}
        sequence, before = self.head()
        salt = self._random_bytes(SALT_BYTES)
        told = dict(details or {})
        digest, uid, at = details_digest(salt, told), self._random_bytes(16).hex(), to_text(self._clock())
        leaf = leaf_of(sequence, uid=uid, at=at, verb=verb, ids=named, details_digest=digest)
        hashed = leaf_hash(leaf).hex()
        event = Event(sequence, uid, from_text(at), verb, named, digest, hashed, chained(before, hashed))
        self._insert(event, leaf, at, voice_uid, subject_uid)
        self.appended = uid
        if told:
            plain = salt + canonical_json(told)
            self._connection.execute(
                t.event_details.insert().values(
                    event_sequence=sequence,
                    subject_uid=subject_uid,
                    sealed=self._with_sealer().seal_bytes(subject_uid, plain),
                )
            )
        return event

    def _insert(
        self, event: Event, leaf: bytes, at: str, voice_uid: str | None, subject_uid: str | None
    ) -> None:
        self._connection.execute(
            t.events.insert().values(
                sequence=event.sequence,
                uid=event.uid,
                at=at,
                verb=event.verb,
                voice_uid=voice_uid,
                subject_uid=subject_uid,
                details_digest=event.details_digest,
                leaf=leaf,
                leaf_hash=event.leaf_hash,
                chain_hash=event.chain_hash,
            )
        )

    def head(self) -> tuple[int, str]:
        """Return how many leaves there are, and the chain hash of the last."""
        query = select(t.events.c.sequence, t.events.c.chain_hash).order_by(t.events.c.sequence.desc())
        row = self._connection.execute(query.limit(1)).first()
        return (0, CHAIN_START) if row is None else (int(row[0]) + 1, str(row[1]))

    def leaf_hashes(self, *, start: int = 0, end: int | None = None) -> list[bytes]:
        """Return the leaf hashes from index `start` to before `end`, in order."""
        query = select(t.events.c.leaf_hash).where(t.events.c.sequence >= start)
        if end is not None:
            query = query.where(t.events.c.sequence < end)
        rows = self._connection.execute(query.order_by(t.events.c.sequence)).scalars()
        return [bytes.fromhex(text) for text in rows]

    def chain_at(self, size: int) -> str | None:
        """Return the chain hash when the trail had `size` leaves; None if it never had so many."""
        if size == 0:
            return CHAIN_START
        query = select(t.events.c.chain_hash).where(t.events.c.sequence == size - 1)
        found = self._connection.execute(query).scalar()
        return None if found is None else str(found)

    def stored(
        self, *, start: int = 0, voice_uid: str | None = None, subject_uid: str | None = None
    ) -> Iterator[StoredEvent]:
        """Yield events as their rows say them, in order; sealed details stay sealed."""
        query = (
            select(t.events, t.event_details.c.sealed, t.event_details.c.subject_uid.label("details_subject"))
            .outerjoin(t.event_details, t.event_details.c.event_sequence == t.events.c.sequence)
            .where(t.events.c.sequence >= start)
            .order_by(t.events.c.sequence)
        )
        if voice_uid is not None:
            query = query.where(t.events.c.voice_uid == voice_uid)
        if subject_uid is not None:
            query = query.where(t.events.c.subject_uid == subject_uid)
        for row in self._connection.execute(query):
            yield _stored(row)

    def details(self, stored: StoredEvent) -> Mapping[str, Any] | None:
        """Open the details of an event; None where there are none, or they were forgotten.

        Raises:
            IntegrityError: They do not open.
            ValueError: They are not what the leaf says.
        """
        if stored.details is None:
            return None
        plain = self._with_sealer().open_bytes(stored.details)
        told: Mapping[str, Any] = json.loads(plain[SALT_BYTES:])
        if not hmac.compare_digest(details_digest(plain[:SALT_BYTES], told), stored.event.details_digest):
            raise ValueError(f"the details of event {stored.event.sequence} are not what its leaf says")
        return told

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, if any."""
        query = select(t.checkpoints).order_by(t.checkpoints.c.size.desc()).limit(1)
        row = self._connection.execute(query).first()
        return None if row is None else _checkpoint(row)

    def checkpoints(self) -> list[Checkpoint]:
        """Return every checkpoint, oldest first."""
        rows = self._connection.execute(select(t.checkpoints).order_by(t.checkpoints.c.size))
        return [_checkpoint(row) for row in rows]

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint; one of the same size that stands already is left as it is."""
        known = select(t.checkpoints.c.id).where(t.checkpoints.c.size == checkpoint.size)
        if self._connection.execute(known).first() is None:
            self._connection.execute(
                t.checkpoints.insert().values(
                    size=checkpoint.size,
                    root=checkpoint.root,
                    at=to_text(checkpoint.at),
                    note=checkpoint.note,
                )
            )

    def _with_sealer(self) -> TextSealer:
        if self._sealer is None:
            raise VlmError(
                "this is a bug in vlm, please report it: the registry was opened without its vault"
            )
        return self._sealer


def _stored(row: Row[Any]) -> StoredEvent:
    """Read a row without believing it: what is damaged stays comparable, and whoever verifies the trail says so."""
    leaf = _bytes(row.leaf)
    ids: Mapping[str, str] = {}
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        ids = {str(k): str(v) for k, v in json.loads(leaf)["ids"].items()}
    at = datetime.min.replace(tzinfo=UTC)
    with contextlib.suppress(ValueError, TypeError):
        at = from_text(row.at)
    event = Event(
        sequence=row.sequence,
        uid=str(row.uid),
        at=at,
        verb=str(row.verb),
        ids=ids,
        details_digest=str(row.details_digest),
        leaf_hash=str(row.leaf_hash),
        chain_hash=str(row.chain_hash),
    )
    sealed = None if row.sealed is None else _bytes(row.sealed)
    return StoredEvent(event, leaf, row.voice_uid, row.subject_uid, sealed, row.details_subject)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(size=row.size, root=row.root, at=from_text(row.at), note=row.note)
