"""What `vlm lock` answers: the packages of a lock, and what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lifecycle.domain.packages import Note, judged
from lifecycle.domain.verdicts import Verdict
from lifecycle.render.output import columns

Did = Literal["captured", "checked", "shown"]
_LISTED = 40


@dataclass(frozen=True, slots=True)
class LockResult:
    """A lock that was captured, checked or shown.

    Attributes:
        origin: Where it was read: "python", "image", "stored" or "file".
        packages: How many packages it names.
        hashed: How many of them have files with hashes.
        created: Whether a new lockfile was stored.
        digest: BLAKE3 of the lock.
        image: What identifies the image that it was read from.
    """

    voice: str
    did: Did
    origin: str
    content: bytes
    digest: str
    python: str
    platform: str
    packages: int
    hashed: int
    notes: tuple[Note, ...] = ()
    created: bool = False
    replaced: bool = False
    dry_run: bool = False
    image: Mapping[str, object] | None = None
    site: str | None = None
    output: str | None = None

    @property
    def verdict(self) -> Verdict:
        """What becomes of the lock on the user's index."""
        return Verdict.NOT_CHECKED if self.did == "shown" else judged(self.notes)

    @property
    def code(self) -> int:
        """0, and 9 for a capture that is not whole; a check ends as `verify` does."""
        if self.did == "shown":
            return 0
        if self.did == "checked":
            return self.verdict.exit_code
        return 0 if self.verdict is Verdict.WORKS else 9

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {
            "voice": self.voice,
            "did": self.did,
            "origin": self.origin,
            "created": self.created,
            "dry_run": self.dry_run,
            "digest": self.digest,
            "python": self.python or None,
            "platform": self.platform or None,
            "packages": self.packages,
            "hashed": self.hashed,
            "verdict": self.verdict.value,
            "findings": [
                {
                    "package": note.package or None,
                    "version": note.version or None,
                    "finding": note.trouble.value,
                    "harmless": note.harmless,
                    "message": note.said,
                }
                for note in self.notes
            ],
            "image": self.image,
            "site": self.site,
            "output": self.output,
            "text": self.content.decode("utf-8", "replace") if self.did == "shown" else None,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        if self.did == "shown" and self.output is None:
            return self.content.decode("utf-8", "replace").splitlines()
        of = f" of Python {self.python} on {self.platform}" if self.python else ""
        lines = [f"{self.packages} packages{of}, {self.hashed} with the hashes of their files"]
        if self.image is not None:
            lines.append(f"from image {self.image['config']}, {self.site}")
        rows = [
            ["  " + " ".join(part for part in (note.package, note.version) if part), note.trouble, note.said]
            for note in self.notes[:_LISTED]
        ]
        lines += columns(rows)
        if len(self.notes) > _LISTED:
            lines.append(f"  and {len(self.notes) - _LISTED} more: vlm lock {self.voice} --check --json")
        return [*lines, *self._end()]

    def _end(self) -> list[str]:
        written = [f'written to "{self.output}"'] if self.output else []
        if self.did == "shown":
            return written
        if self.did == "checked":
            said = {
                Verdict.WORKS: "works: every package can be had as the wheel that the lock names",
                Verdict.NOT_CHECKED: "not_checked: not all of it could be compared with an index",
                Verdict.DIFFERS: "differs: the index offers other files than the lock names",
            }
            return [said.get(self.verdict, "broken: the lock no longer resolves from wheels"), *written]
        before = ", the one before stays in the history" if self.replaced else ""
        if self.dry_run:
            return [*written, f"would be stored as the lockfile of {self.voice}{before}"]
        if not self.created:
            return [*written, f"{self.voice} has this lockfile already, nothing was stored"]
        stored = f"stored as the lockfile of {self.voice}{before}"
        return [*written, stored, f"ask again whether it resolves: vlm lock {self.voice} --check"]
