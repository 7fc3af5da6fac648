"""`vlm doctor`: what a crash or a hand left behind, found and repaired where that is safe."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Busy, IntegrityError, VlmError
from lifecycle.domain.filters import ALL
from lifecycle.services.backups.advice import advice
from lifecycle.services.jobs import clear_dead, elsewhere, strays
from lifecycle.services.put_back import erased_since
from lifecycle.services.registration.arrivals import arrivals
from lifecycle.services.trail import seal_checkpoint, standing
from lifecycle.vault.anchor import Standing

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        id: A stable word for scripts.
        repaired: Whether it is well now.
        next: A command that goes on, where it is not.
        advice: Nothing is broken, but somebody should do something.
    """

    id: str
    message: str
    repaired: bool = False
    next: str | None = None
    advice: bool = False

    @property
    def state(self) -> str:
        """One word for people."""
        return "advice" if self.advice else "repaired" if self.repaired else "found"

    def to_json(self) -> dict[str, object]:
        """Return the finding for programs."""
        return {
            "id": self.id,
            "message": self.message,
            "repaired": self.repaired,
            "next": self.next,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    findings: tuple[Finding, ...]
    looked_at: int

    @property
    def open(self) -> int:
        """How many findings are not repaired; advice is none."""
        return sum(not (finding.repaired or finding.advice) for finding in self.findings)

    @property
    def repaired(self) -> int:
        """How many findings are well now."""
        return sum(finding.repaired for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0, or 5 where something is left."""
        return IntegrityError.exit_code if self.open else 0

    @property
    def summary(self) -> str:
        """The last line for people."""
        if not self.open and not self.repaired:
            return f"looked at {self.looked_at} things; nothing to repair"
        return f"{self.open + self.repaired} found, {self.repaired} repaired, {self.open} left"

    def to_json(self) -> dict[str, object]:
        """Return the findings for programs."""
        body: dict[str, object] = {
            "findings": [finding.to_json() for finding in self.findings],
            "repaired": self.repaired,
            "left": self.open,
            "looked_at": self.looked_at,
        }
        if self.open:
            hint = next((f.next for f in self.findings if not (f.repaired or f.advice) and f.next), None)
            body["error"] = {"code": IntegrityError.code, "message": self.summary, "hint": hint}
        return body


# A job of another machine that lasts longer is said.
_LONG = timedelta(days=1)

Check = Callable[["Rooms", bool], Iterator[Finding]]


def examine(rooms: Rooms, *, repair: bool = True) -> Examination:
    """Look at every place where a crash leaves traces; repair what can be repaired without losing anything.

    Args:
        repair: False only looks.

    Raises:
        Busy: Another process registers or destroys something right now.
    """
    repair = repair and rooms.registry.writable
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(rooms, repair)
        except Busy:
            raise
        except VlmError as error:
            findings.append(Finding(check.__name__.strip("_"), error.message, next=error.hint))
    return Examination(tuple(findings), len(CHECKS))


def _way_on(told: Standing, rooms: Rooms) -> str:
    """A copy may be taken as it is where nothing was erased since it was made."""
    may_go_on = told is Standing.OLDER and not erased_since(rooms)
    return "vlm doctor --accept-older" if may_go_on else "vlm trail verify"


def _database(rooms: Rooms, _repair: bool) -> Iterator[Finding]:
    for flaw in rooms.registry.check():
        yield Finding(
            "registry-damaged", f"the registry database is damaged: {flaw}", next="vlm trail verify"
        )


def _anchor(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    told = standing(rooms)
    if told in {Standing.OLDER, Standing.FORKED}:
        what = "is older than" if told is Standing.OLDER else "has another history than"
        yield Finding(
            "put-back",
            f"the registry {what} the anchor beside its keys: a copy was put back, so it is read-only",
            next=_way_on(told, rooms),
        )
    elif told in {Standing.AHEAD, Standing.UNKNOWN}:
        if repair:
            seal_checkpoint(rooms=rooms)
        message = (
            "the anchor beside the keys was behind the trail, as after a crash; every event since is whole"
        )
        yield Finding("anchor-behind", message, repaired=repair)


def _keys(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    if repair and rooms.vault.keys.resume():
        yield Finding(
            "keys-unfinished", "a destruction of keys was interrupted; it is finished now", repaired=True
        )
    for flaw in rooms.vault.keys.check():
        yield Finding("keys", flaw, next="vlm doctor")


def _purges(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    from lifecycle.services.purges.purge import resume_all

    with rooms.registry.read() as uow:
        unfinished = uow.purges.all_open()
    if repair:  # also where none is open: a crash may have left the notes of one
        resume_all(rooms=rooms)
    for _purge in unfinished:
        what = "finished, or taken back if nothing was destroyed yet" if repair else "not finished"
        yield Finding(
            "purge-unfinished", f"a purge that was begun is {what}", repaired=repair, next="vlm doctor"
        )


def _jobs(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    if repair:
        for verb in clear_dead(rooms):
            yield Finding(
                "dead-job", f"a {verb} that was killed had left its work folder; it is emptied", repaired=True
            )
    for job in elsewhere(rooms):
        if rooms.clock() - job.started_at > _LONG:
            yield Finding(
                "job-elsewhere",
                f"a {job.verb} of another machine ({str(job.machine)[:8]}) has not ended for over a day, and only "
                "that machine can tell whether it lives",
                next="vlm doctor --machines-gone",
            )
    for stray in strays(rooms):
        if repair:
            _remove(stray)
        yield Finding("stray-work", "a file lay in the work folder that belongs to no job", repaired=repair)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _parts(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    blobs = rooms.vault.blobs
    for _path in blobs.clean_stray() if repair else blobs.stray():
        yield Finding("stray-part", "a file that was never finished lay in the store", repaired=repair)


def _orphans(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    """Find blobs that no artifact names. Arriving files are kept out meanwhile: theirs are not named yet."""
    with arrivals(rooms), rooms.registry.read() as uow:
        named = uow.voices.blob_digests()
        found = [digest for digest in rooms.vault.blobs if str(digest) not in named]
        for digest in found:
            if repair:
                rooms.vault.blobs.remove(digest)
            message = f"blob {_short(digest)} belongs to no voice, as after a registration that was killed"
            yield Finding("stray-blob", message, repaired=repair)


def _missing(rooms: Rooms, _repair: bool) -> Iterator[Finding]:
    with rooms.registry.read() as uow:
        files = (digest for digest, _ in uow.audits.digests(ALL))
        gone = [digest for digest in files if not rooms.vault.blobs.exists(Digest.parse(digest))]
        busy = {purge.voice_uid for purge in uow.purges.all_open()}
        for uid, (name, roles) in uow.audits.roles_of(gone).items():
            if uid not in busy:
                what = ", ".join(sorted(set(roles)))
                message = f'{len(roles)} file(s) of "{name}" are missing from the store ({what})'
                yield Finding("missing-blob", message, next=f"vlm show {name}")
        for digest, pseudonym in uow.subjects.all_papers():
            if not rooms.vault.blobs.exists(Digest.parse(digest)):
                message = f"a paper that proves a consent of {pseudonym} is missing from the store"
                yield Finding("missing-blob", message, next=f"vlm subject show {pseudonym}")


def _permissions(rooms: Rooms, repair: bool) -> Iterator[Finding]:
    """Everything beside the keys is for the owner alone."""
    root = rooms.settings.keys / rooms.installation
    for path in (root, *sorted(root.rglob("*"))):
        if path.is_symlink():
            yield Finding("keys-link", f'"{path.name}" beside the keys is a link', next="vlm config show")
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            if repair:
                path.chmod(mode & 0o700)
            yield Finding(
                "keys-open", f'"{path.name}" beside the keys was open to others ({mode:04o})', repaired=repair
            )
    if root.stat().st_uid != os.getuid():
        yield Finding("keys-owner", "the key folder belongs to somebody else", next="vlm config show")


def _copies(rooms: Rooms, _repair: bool) -> Iterator[Finding]:
    """Say what is missing of second copies; see `services.backups.advice`."""
    for word, message, cure in advice(rooms):
        yield Finding(word, message, next=cure, advice=True)


def _short(digest: Digest) -> str:
    return f"{digest.algorithm}:{digest.hex[:12]}"


CHECKS: tuple[Check, ...] = (
    _database,
    _permissions,
    _anchor,
    _keys,
    _purges,
    _jobs,
    _parts,
    _orphans,
    _missing,
    _copies,
)
