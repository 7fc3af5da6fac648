"""What a server of PostgreSQL answered, in one sentence of ours; nothing here repeats a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import TimeoutError as PoolTimeout

from lifecycle.domain.errors import Busy, IntegrityError, Unavailable, VlmError

if TYPE_CHECKING:
    import psycopg

# See appendix A of the PostgreSQL manual.
_BUSY = frozenset({"55P03", "40001", "40P01"})
_AWAY = frozenset({"57P01", "57P02", "57P03", "57P05"})
_FULL = frozenset({"53100", "53200", "58030"})
_READ_ONLY = frozenset({"25006", "42501"})


def lost(error: object) -> bool:
    """Whether the connection is gone, so that what became of a commit is not known."""
    import psycopg

    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    state = error.sqlstate
    return state is None or state[:2] == "08" or state in _AWAY


def gone(place: str) -> Unavailable:
    """Return the error of a server that went away before anything was kept."""
    return Unavailable(
        f"the registry's server ({place}) went away or cannot be reached; nothing was changed",
        hint="start it or wait for it, then run the same command again",
    )


def told(error: Exception, place: str) -> VlmError | None:
    """Return ours for an error of the server, of its driver or of the pool; None for any other."""
    import psycopg

    if isinstance(error, PoolTimeout):
        return Busy(
            "every connection to the registry's server is in use; nothing was changed", hint="vlm list"
        )
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    if state in _BUSY:
        return Busy("another process writes to the registry; nothing was changed", hint="vlm list")
    if lost(error):
        return _unreachable(error, place) if not state else gone(place)
    return _answered(error, state, place)


def _unreachable(error: psycopg.Error, place: str) -> VlmError:
    said = str(error).lower()
    if "password" in said or "authentication" in said or "no pg_hba.conf" in said or "role" in said:
        return Unavailable(
            f"the registry's server ({place}) does not let this user in", hint="vlm config show"
        )
    if "does not exist" in said and "database" in said:
        return Unavailable(
            f"the registry's server has no such database ({place})", hint="create it with: createdb NAME"
        )
    return gone(place)


def _answered(error: psycopg.Error, state: str, place: str) -> VlmError:
    what = _first_line(error)
    if state in _FULL:
        return Unavailable(f"the registry's server ({place}) has no room left; nothing was changed: {what}")
    if state == "53300":
        return Unavailable(f"the registry's server ({place}) takes no more connections; nothing was changed")
    if state == "57014":
        return Unavailable(f"the registry's server ({place}) took too long; nothing was changed: {what}")
    if state in _READ_ONLY:
        return Unavailable(
            f"the registry ({place}) cannot be opened for writing: {what}", hint="vlm config show"
        )
    if state[:2] == "23":
        return IntegrityError(f"the registry refused rows that contradict each other: {what}")
    if state[:2] == "XX" or state in {"42P01", "42703"}:
        return IntegrityError(f"the registry ({place}) is damaged: {what}", hint="vlm doctor")
    if state[:2] in {"28", "3D", "3F"}:
        return Unavailable(f"the registry ({place}) cannot be opened: {what}", hint="vlm config show")
    return VlmError(f"this is a bug in vlm, please report it: the registry answered: {what}")


def _first_line(error: Exception) -> str:
    # Later lines quote rows, which may hold what people wrote.
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
