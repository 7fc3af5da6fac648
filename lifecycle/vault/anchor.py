"""The anchor: how far this installation was, signed, where a copy of VLM_HOME cannot bring it back.

A registry that was put back from a backup is right in itself. Only the anchor, which lies with the keys, shows
that it once was further.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.failpoints import hit
from lifecycle.vault.files import locked, read_small, write_durably
from lifecycle.vault.signing import Signing

_MOST_BYTES = 1 << 16


class Standing(StrEnum):
    """How a registry stands to the anchor."""

    OK = "ok"
    AHEAD = "ahead"  # it has more than the anchor saw: a crash came between; advance the anchor
    OLDER = "older"  # it was put back: read only, decrypt nothing
    FORKED = "forked"  # as long as the anchor says, but another history
    UNKNOWN = "unknown"  # there is no anchor


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far everything was.

    Attributes:
        trail_size, trail_head: Number of leaves of the trail, and the hash that stands for all of them.
        ledger_size, ledger_head: Entries of the erasure ledger, and the hash of the last line.
        epoch: Number of the key epoch.
        highest_clock: The latest time that was ever seen, RFC 3339 UTC.
        generation: Counts the registry's committed transactions that the anchor was told of.
    """

    trail_size: int
    trail_head: str
    ledger_size: int
    ledger_head: str
    epoch: int
    highest_clock: str
    generation: int


class AnchorFile:
    """`anchor.json` beside the keys."""

    def __init__(self, path: Path, signing: Signing) -> None:
        self._path = path
        self._signing = signing

    def read(self) -> Anchor | None:
        """Return the anchor, or None where none was made yet.

        Raises:
            IntegrityError: It was changed.
        """
        try:
            record = json.loads(read_small(self._path, limit=_MOST_BYTES))
            return _parsed(self._signing.verify_record("anchor", record))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IntegrityError("the anchor beside the keys is damaged", hint="vlm doctor") from None

    @property
    def highest_time(self) -> datetime | None:
        """The latest time that was ever seen, aware; None where there is no anchor yet."""
        anchor = self.read()
        return None if anchor is None else datetime.fromisoformat(anchor.highest_clock)

    def advance(self, new: Anchor) -> Anchor:
        """Move the anchor on, durably; the highest clock is kept where `new` has a lower one.

        Raises:
            IntegrityError: Something would go back, or the same length would have another head.
        """
        with locked(self._path.with_name(self._path.name + ".lock"), what="the anchor"):
            old = self.read()
            if old is not None:
                _must_not_go_back(old, new)
                new = Anchor(**{**asdict(new), "highest_clock": _later(old.highest_clock, new.highest_clock)})
            if new == old:
                return new
            hit("anchor.before_advance")
            self._write(new)
            hit("anchor.after_advance")
        return new

    def accept_older(self, new: Anchor) -> None:
        """Move the anchor to a copy that was put back, on the word of whoever answers for it.

        Only the trail may go back; ledger, epoch, generation and highest clock never do.

        Raises:
            IntegrityError: One of them would.
        """
        with locked(self._path.with_name(self._path.name + ".lock"), what="the anchor"):
            old = self.read()
            if old is not None:
                _must_not_go_back(Anchor(**{**asdict(old), "trail_size": 0, "trail_head": ""}), new)
                new = Anchor(**{**asdict(new), "highest_clock": _later(old.highest_clock, new.highest_clock)})
            self._write(new)

    def _write(self, anchor: Anchor) -> None:
        record = self._signing.sign_record("anchor", asdict(anchor))
        write_durably(self._path, canonical_json(record) + b"\n")


def compare(
    anchor: Anchor | None,
    *,
    trail_size: int,
    head_at_anchor: str | None,
    epoch: int,
    ledger_size: int | None = None,
) -> Standing:
    """Say how a registry stands to the anchor.

    Args:
        trail_size: Leaves that the registry has.
        head_at_anchor: The hash of its first `anchor.trail_size` leaves; None if it has fewer.
        epoch: Current epoch of its keys.
        ledger_size: Entries of the ledger, where it was read.
    """
    if anchor is None:
        return Standing.UNKNOWN
    if trail_size < anchor.trail_size or epoch < anchor.epoch:
        return Standing.OLDER
    if ledger_size is not None and ledger_size < anchor.ledger_size:
        return Standing.OLDER
    if head_at_anchor != anchor.trail_head:
        return Standing.FORKED
    return Standing.OK if (trail_size, epoch) == (anchor.trail_size, anchor.epoch) else Standing.AHEAD


def timestamp(moment: datetime) -> str:
    """Return a time as the anchor stores it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _must_not_go_back(old: Anchor, new: Anchor) -> None:
    for name in ("trail_size", "ledger_size", "epoch", "generation"):
        if getattr(new, name) < getattr(old, name):
            raise IntegrityError(
                f"the anchor saw {name.replace('_', ' ')} {getattr(old, name)}, and now it is {getattr(new, name)}",
                hint="vlm doctor",
            )
    for size, head in (("trail_size", "trail_head"), ("ledger_size", "ledger_head")):
        if getattr(new, size) == getattr(old, size) and getattr(new, head) != getattr(old, head):
            raise IntegrityError(
                f"the {size.split('_')[0]} has another history than the anchor saw", hint="vlm doctor"
            )


def _later(first: str, second: str) -> str:
    return max(first, second, key=datetime.fromisoformat)


def _parsed(body: Mapping[str, Any]) -> Anchor:
    anchor = Anchor(**body)
    numbers = (anchor.trail_size, anchor.ledger_size, anchor.epoch, anchor.generation)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a size is not a number")
    datetime.fromisoformat(anchor.highest_clock)
    return anchor
