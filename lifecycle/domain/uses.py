"""Claims that something live depends on a voice."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.domain.errors import UsageError

MAX_PLACE = 255
_TERM = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MAX_TERM = timedelta(days=3660)
#: The part of a URL where credentials stand: anything before an "@" of its authority.
_CREDENTIALS = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*@", re.IGNORECASE)
_SECRET = re.compile(
    r"[?&#;](?:access_?key|api_?key|auth|key|pass(?:word|wd)?|pwd|secret|sig(?:nature)?|token)=",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that something live depends on a voice; unique per voice and place.

    Attributes:
        place: Where, such as `k8s://prod/tts`; printable, at most 255 characters, without credentials.
        until: When the claim ends by itself; None: when it is removed.
    """

    uid: str
    voice_uid: str
    place: str
    claimed_at: datetime
    until: datetime | None = None

    def counts_at(self, now: datetime) -> bool:
        """Whether the claim protects the voice at `now`."""
        return self.until is None or now < self.until


def checked_place(place: str) -> str:
    """Return a place that may be stored and printed.

    Raises:
        UsageError: It is empty, too long, holds control characters or spaces at its ends, or credentials.
    """
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" or c == " " else "?" for c in place[:64])
    hint = "vlm use add NAME --where k8s://prod/tts"
    if not place or len(place) > MAX_PLACE or place != place.strip():
        raise UsageError(
            f'"{shown}" is not a place: 1 to {MAX_PLACE} characters, no spaces around', hint=hint
        )
    if any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"} for c in place):
        raise UsageError(f'"{shown}" is not a place: it holds characters that cannot be printed', hint=hint)
    if _CREDENTIALS.match(place) or _SECRET.search(place):
        raise UsageError("the place holds credentials, so it was not stored", hint=hint)
    return place


def parse_term(text: str) -> timedelta:
    """Read how long a claim lasts: `24h`, `7d`, `2w`.

    Raises:
        UsageError: Any other form, nothing, or more than ten years.
    """
    match = _TERM.fullmatch(text.strip())
    term = int(match[1]) * _UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < term <= MAX_TERM:
        shown = "".join(c if c.isprintable() else "?" for c in text[:32])
        raise UsageError(
            f'"{shown}" is not a time such as 24h, 7d or 2w, at most ten years',
            hint="vlm use add NAME --where PLACE --for 7d",
        )
    return term
