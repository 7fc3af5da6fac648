"""What the commands about backups answer."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.anchor import timestamp

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Created:
    """What a backup came to.

    Attributes:
        gone: Files that a purge destroyed while the copy was made; left out.
        missing: Files that the registry names and does not have whole; left out.
        older: Earlier snapshots in the folder; `before_purge` of them were made before the last purge.
        same_disk: Whether the backup lies on the file system of the registry.
    """

    backup: Path
    keys_to: Path | None
    snapshot: str
    made_at: datetime
    files: int
    size_bytes: int
    copied_files: int
    copied_bytes: int
    gone: tuple[str, ...]
    missing: tuple[str, ...]
    older: int
    before_purge: int
    same_disk: bool
    dry_run: bool

    @property
    def exit_code(self) -> int:
        """0, or 5 where the registry itself lacks a file."""
        return IntegrityError.exit_code if self.missing else 0

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        body: dict[str, object] = {
            "backup": str(self.backup),
            "keys_to": None if self.keys_to is None else str(self.keys_to),
            "snapshot": self.snapshot,
            "made_at": timestamp(self.made_at),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "copied_files": self.copied_files,
            "copied_bytes": self.copied_bytes,
            "gone": list(self.gone),
            "missing": list(self.missing),
            "older_snapshots": self.older,
            "before_last_purge": self.before_purge,
            "same_disk": self.same_disk,
            "dry_run": self.dry_run,
        }
        if self.missing:
            body["error"] = {"code": IntegrityError.code, "message": self._lacking(), "hint": "vlm doctor"}
        return body

    def lines(self) -> list[str]:
        """Return the result for people."""
        from lifecycle.render.output import megabytes

        copied = f"{self.copied_files} new files, {megabytes(self.copied_bytes)}"
        whole = f"{self.files} files, {megabytes(self.size_bytes)}"
        if self.dry_run:
            return [f"would copy {copied} of {whole} to {self.backup}; nothing was written"]
        told = [f"backed up {whole} ({copied}) to {self.backup}: snapshot {self.snapshot}"]
        if self.gone:
            told.append(f"  left out: {len(self.gone)} file(s) that a purge destroyed meanwhile")
        if self.missing:
            told.append(f"  {self._lacking()}: vlm doctor")
        if self.keys_to is None:
            told.append("  the keys are not in it, and nothing sealed opens without them: --keys-to DIR2")
        else:
            told.append(
                f"  keys copied to {self.keys_to}; keep the two apart: who has both can read everything"
            )
        if self.same_disk:
            told.append("  it lies on the same disk as the registry, so one broken disk takes both")
        if self.before_purge:
            told.append(
                f"  {self.before_purge} earlier snapshot(s) are older than the last purge: they hold what was "
                "destroyed, as ciphertext without its keys, and models of erased voices in plain:"
            )
            told.append(f"  vlm backup prune {shlex.quote(str(self.backup))} --keep 1")
        return [*told, f"next: vlm backup check {shlex.quote(str(self.backup))}"]

    def _lacking(self) -> str:
        return f"{len(self.missing)} file(s) of the registry are missing or damaged, so they are in no backup"


@dataclass(frozen=True, slots=True)
class CheckedSnapshot:
    """What looking at one snapshot gave.

    Attributes:
        attested: Whether its signature is by a key of this installation that was at hand.
        keys_opened: Wraps of keys that a fresh process opened; None where no keys were at hand.
        unread: Why something was not looked at.
        uid: Its id in the registry that it is of.
    """

    name: str
    made_at: datetime | None
    files: int
    size_bytes: int
    attested: bool
    keys_opened: int | None
    flaws: tuple[str, ...]
    unread: tuple[str, ...] = ()
    uid: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "snapshot": self.name,
            "made_at": None if self.made_at is None else timestamp(self.made_at),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "attested": self.attested,
            "keys_opened": self.keys_opened,
            "flaws": list(self.flaws),
            "not_checked": list(self.unread),
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """What looking at a backup gave.

    Attributes:
        read_data: Whether every file was read; else only its name and size were compared.
        unneeded: Files that no snapshot names.
    """

    backup: Path
    read_data: bool
    snapshots: tuple[CheckedSnapshot, ...]
    flaws: tuple[str, ...]
    unneeded: int
    installation: str

    @property
    def problems(self) -> list[str]:
        """Every flaw, with the snapshot that it is in."""
        return [*self.flaws, *(f"{each.name}: {flaw}" for each in self.snapshots for flaw in each.flaws)]

    @property
    def exit_code(self) -> int:
        """0, or 5 where anything is wrong."""
        return IntegrityError.exit_code if self.problems else 0

    def to_json(self) -> dict[str, object]:
        """Return the report for programs."""
        body: dict[str, object] = {
            "backup": str(self.backup),
            "whole": not self.problems,
            "read_data": self.read_data,
            "snapshots": [each.to_json() for each in self.snapshots],
            "flaws": list(self.flaws),
            "unneeded_files": self.unneeded,
        }
        if self.problems:
            body["error"] = {
                "code": IntegrityError.code,
                "message": f"the backup is damaged: {len(self.problems)} finding(s)",
                "hint": f"make a new one: vlm backup create {shlex.quote(str(self.backup))}",
            }
        return body

    def lines(self) -> list[str]:
        """Return the report for people, the answer first."""
        from lifecycle.render.output import megabytes

        if self.problems:
            first = f"the backup is damaged: {len(self.problems)} finding(s)"
            return [first, *(f"  {flaw}" for flaw in self.problems), "make a new one: vlm backup create DIR"]
        how = "every file was read" if self.read_data else "files by name and size; --read-data reads them"
        told = [f"the backup is whole: {len(self.snapshots)} snapshot(s), {how}"]
        for each in self.snapshots:
            opened = "keys not looked at" if each.keys_opened is None else f"{each.keys_opened} keys opened"
            told.append(f"  {each.name}  {each.files} files, {megabytes(each.size_bytes)}, {opened}")
            told += [f"    not checked: {what}" for what in each.unread]
        return told


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """One snapshot of a list; `flaw` where its manifest could not be read."""

    name: str
    made_at: datetime | None
    files: int
    size_bytes: int
    trail_size: int
    flaw: str | None

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "snapshot": self.name,
            "made_at": None if self.made_at is None else timestamp(self.made_at),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "trail_size": self.trail_size,
            "flaw": self.flaw,
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """The snapshots of a backup, oldest first."""

    backup: Path
    snapshots: tuple[ListedSnapshot, ...]

    def to_json(self) -> dict[str, object]:
        """Return the list for programs."""
        return {"backup": str(self.backup), "snapshots": [each.to_json() for each in self.snapshots]}

    def lines(self) -> list[str]:
        """Return the list for people."""
        from lifecycle.render.output import columns, megabytes

        if not self.snapshots:
            return [
                f"no finished backup in {self.backup}",
                f"make one: vlm backup create {shlex.quote(str(self.backup))}",
            ]
        return columns(
            [
                [each.name, f"{each.files} files", megabytes(each.size_bytes), f"{each.trail_size} events"]
                if each.flaw is None
                else [each.name, f"damaged: {each.flaw}"]
                for each in self.snapshots
            ]
        )


@dataclass(frozen=True, slots=True)
class Pruned:
    """What removing old snapshots gave.

    Attributes:
        uids: Ids of the removed snapshots in the registry that they are of.
    """

    backup: Path
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    freed_files: int
    freed_bytes: int
    dry_run: bool
    installation: str
    uids: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "backup": str(self.backup),
            "removed": list(self.removed),
            "kept": list(self.kept),
            "freed_files": self.freed_files,
            "freed_bytes": self.freed_bytes,
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        from lifecycle.render.output import megabytes

        gone, files, freed = len(self.removed), self.freed_files, megabytes(self.freed_bytes)
        told = f"{gone} snapshot(s) and {files} file(s) that no other needs, {freed}; {len(self.kept)} stay"
        first = f"would remove {told}" if self.dry_run else f"removed {told}"
        return [first, *(f"  {name}" for name in self.removed)]


@dataclass(frozen=True, slots=True)
class Restored:
    """What restoring gave.

    Attributes:
        standing: How the copy stands to the anchor beside its keys.
        keys: "in place" where VLM_KEYS had them, "restored" from a copy.
        keybag: Keys that came from the keybag, since the snapshot is from before a purge; None where none was needed.
        erased_since: Purges that were decided after the snapshot.
        gone: Files that a purge had destroyed while the snapshot was made.
    """

    home: Path
    snapshot: str
    made_at: datetime
    files: int
    size_bytes: int
    keys: str
    keys_opened: int | None
    keybag: int | None
    standing: str
    erased_since: int
    gone: int
    next: str
    dry_run: bool

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "home": str(self.home),
            "snapshot": self.snapshot,
            "made_at": timestamp(self.made_at),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "keys": self.keys,
            "keys_opened": self.keys_opened,
            "keys_from_keybag": self.keybag,
            "standing": self.standing,
            "erased_since": self.erased_since,
            "gone": self.gone,
            "next": self.next,
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        from lifecycle.render.output import megabytes

        what = f"{self.files} files, {megabytes(self.size_bytes)}, of snapshot {self.snapshot}"
        if self.dry_run:
            return [f"would restore {what} to {self.home}; nothing was written"]
        told = [f"restored {what} to {self.home}", f"  keys {self.keys}: {self.keys_opened} opened"]
        if self.keybag is not None:
            told.append(
                f"  the snapshot is from before a purge: its {self.keybag} surviving keys came from the keybag, "
                "and what was purged does not open"
            )
        if self.erased_since:
            told.append(
                f"  {self.erased_since} purge(s) were decided since: it is open for looking only, as nothing can be "
                "erased again on a copy; put back a snapshot that is newer than the last purge"
            )
        elif self.standing == "older":
            told.append(
                "  the trail went on since it was made: say that what came after is given up, and it goes on"
            )
        if self.next.startswith("VLM_DATABASE_URL="):
            carry = 'afterwards into an empty database: VLM_DATABASE_URL=sqlite vlm registry move "$URL"'
            told.append(f"  it is a file in VLM_HOME now; {carry}")
        return [*told, f"next: {self.next}"]
