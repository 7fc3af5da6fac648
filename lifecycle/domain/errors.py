"""Every error that a user can cause, with the exit code that scripts rely on.

VlmError                     1  our fault: a bug
├── UsageError               2  the command line or a setting is wrong
├── NotFound                 3  a voice, file, runtime or subject that does not exist
├── Refused                  4  hold, use, state, policy, consent, or a confirmation that is missing
│   ├── Held                 4  a hold forbids it
│   ├── InUse                4  something live depends on it
│   └── Mute                 4  the voice's conditioning was purged
├── IntegrityError           5  hash, signature, trail or rollback
├── UnreadableFile           6  a file that could not be read, or not to its end
│   └── UnsafeArtifact       6  a file that would run something when loaded
├── Unavailable              7  a dependency is missing or unreachable
└── Busy                     8  another process holds the lock
"""

from __future__ import annotations

from typing import ClassVar


class VlmError(Exception):
    """An error with one sentence for the user and the next thing to do.

    Args:
        message: What is wrong with which thing; lower case, names in quotes, no full stop.
        hint: The next thing to do, best as a command that works when pasted.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VlmError):
    """The command line or a setting is wrong."""

    exit_code = 2
    code = "usage"


class NotFound(VlmError):
    """A voice, file, runtime or subject that does not exist."""

    exit_code = 3
    code = "not_found"


class Refused(VlmError):
    """A rule forbids it: state, use, policy, consent, or a confirmation that is missing."""

    exit_code = 4
    code = "refused"


class Held(Refused):
    """A hold on the voice or its subject forbids every deletion."""

    code = "held"


class InUse(Refused):
    """Something live depends on the voice, so it is not purged or erased."""

    code = "in_use"


class Mute(Refused):
    """The voice's conditioning was purged, so it cannot speak."""

    code = "mute"


class IntegrityError(VlmError):
    """Stored bytes, a signature, the trail or the anchor do not agree."""

    exit_code = 5
    code = "integrity"


class UnreadableFile(VlmError):
    """A file could not be read, or not to its end; nothing is known about it."""

    exit_code = 6
    code = "unreadable"


class UnsafeArtifact(UnreadableFile):
    """A file would run something when loaded; it was not loaded."""

    code = "unsafe"


class Unavailable(VlmError):
    """A dependency is missing or unreachable: a runtime, the network, a key holder, Docker."""

    exit_code = 7
    code = "unavailable"


class Busy(VlmError):
    """Another process holds the lock."""

    exit_code = 8
    code = "busy"
