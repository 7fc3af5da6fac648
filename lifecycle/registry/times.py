"""Times as the registry stores them: RFC 3339 UTC text with microseconds, which sorts as time does."""

from __future__ import annotations

from datetime import UTC, datetime


def to_text(at: datetime) -> str:
    """Return an aware moment as stored text, such as `2026-11-24T15:30:00.000000Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Return the moment of a stored text."""
    return datetime.fromisoformat(text)


def maybe_text(at: datetime | None) -> str | None:
    """Return stored text, or None for no moment."""
    return None if at is None else to_text(at)


def maybe_time(text: str | None) -> datetime | None:
    """Return the moment of a stored text, or None."""
    return None if text is None else from_text(text)
