"""`vlm lock`: what is really installed for a voice, as pylock.toml with hashes; and whether it can still be had."""

from __future__ import annotations

import io
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import NotFound
from lifecycle.domain.failpoints import hit
from lifecycle.domain.packages import Environment, Note, Trouble
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, Role
from lifecycle.formats import inspect, shown
from lifecycle.formats.limits import MAX_LOCKFILE
from lifecycle.formats.lockfiles import Pins, pins_of
from lifecycle.formats.pylock import write_pylock
from lifecycle.runtimes.installed import interpreter_at, read_installed
from lifecycle.runtimes.resolve import Offer, ask_index, chosen
from lifecycle.services.guard import refuse_while_purged
from lifecycle.services.locks.make import askable, compose
from lifecycle.services.locks.result import LockResult
from lifecycle.services.registration.arrivals import arrivals
from lifecycle.services.registration.state import facts_of, small_file
from lifecycle.vault.files import write_durably

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

NAME = "pylock.toml"
_PLACES = {"vcs": Trouble.VCS, "url": Trouble.URL, "local": Trouble.DIRECTORY}
_SAID = {
    Trouble.VCS: "comes from a repository, not from an index",
    Trouble.URL: "comes from an address, not from an index",
    Trouble.DIRECTORY: "comes from a folder or file of one machine, not from an index",
}
_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where an environment was read.

    Attributes:
        python: The interpreter, where it is here; the index is asked for wheels that fit it.
        image: What identifies the image, where it was one.
    """

    environment: Environment
    origin: str
    python: Path | None = None
    image: Mapping[str, object] | None = None
    site: str | None = None


def lock_python(
    name: str, python: Path, *, rooms: Rooms, output: Path | None = None, dry_run: bool = False
) -> LockResult:
    """Lock what is installed for an interpreter, which is run as it is, and store it with the voice.

    Args:
        python: The interpreter, or the folder of its environment.

    Raises:
        NotFound: There is no such voice or interpreter.
        Refused: A purge of the voice is open.
        Unavailable: The interpreter or the index does not answer.
    """
    voice_is_there(name, rooms)
    interpreter = interpreter_at(python)
    source = Source(read_installed(interpreter), "python", python=interpreter)
    return keep_lock(name, source, rooms=rooms, output=output, dry_run=dry_run)


def keep_lock(name: str, source: Source, *, rooms: Rooms, output: Path | None, dry_run: bool) -> LockResult:
    """Ask the index about an environment, write its lock and store it; the same lock is stored once."""
    environment = source.environment
    offer = _ask(askable(environment), environment, rooms=rooms, python=source.python)
    packages, notes = compose(environment, offer)
    told: dict[str, object] = {"origin": source.origin}
    if source.image is not None:
        told |= {"site": source.site or "", "image": source.image}
    content = write_pylock(environment, packages, notes, source=told)
    result = LockResult(
        voice=name,
        did="captured",
        origin=source.origin,
        content=content,
        digest=f"blake3:{blake3(content).hexdigest()}",
        python=environment.python,
        platform=f"{environment.system} {environment.machine}",
        packages=len(packages),
        hashed=sum(bool(package.wheels) for package in packages),
        notes=tuple(notes),
        dry_run=dry_run,
        image=source.image,
        site=source.site,
    )
    result = _store(result, rooms=rooms, dry_run=dry_run)
    return _written(result, output, dry_run=dry_run)


def check_lock(name: str, *, rooms: Rooms, file: Path | None = None, dry_run: bool = False) -> LockResult:
    """Ask the index whether a lock still resolves from wheels, to the files whose hashes it names.

    Nothing of a lock but names, versions and hashes reaches the installer: its options, addresses, repositories
    and paths are findings. What is found about the voice's own lock is kept, so that the audit can tell.

    Args:
        file: Another lock than the one that is stored.

    Raises:
        NotFound: There is no such voice, file or stored lock.
        UnreadableFile: The file is no lock.
        Unavailable: The index does not answer.
    """
    artifact, content = _content(name, file, rooms=rooms)
    pins = pins_of(content, NAME if file is None else file.name)
    environment = _environment(pins.tool)
    placed = {item for kind in _PLACES for item in pins.asks.get(kind, ())}
    # A lock for several platforms names packages of others too; nobody misses those here.
    fits = {key: chosen(pins.choices.get(key, ()), environment) for key in pins.pins if key not in placed}
    wanted = {key: version for key, version in fits.items() if version is not None}
    offer = _ask(wanted, environment, rooms=rooms)
    notes = [*_placed(pins), *_compared(pins, wanted, offer)]
    result = LockResult(
        voice=name,
        did="checked",
        origin="stored" if file is None else "file",
        content=content,
        digest=f"blake3:{blake3(content).hexdigest()}",
        python=environment.python,
        platform=f"{environment.system} {environment.machine}",
        packages=len(pins.pins) + len(pins.unpinned),
        hashed=len(pins.hashes),
        notes=tuple(notes),
        dry_run=dry_run,
    )
    # An index that was not asked does not make it unknown what it said the last time.
    if artifact is not None and not dry_run and result.verdict is not Verdict.NOT_CHECKED:
        _remember(artifact, result, rooms=rooms)
    return result


def show_lock(name: str, *, rooms: Rooms, output: Path | None = None) -> LockResult:
    """Return the newest lock of a voice's current version, as it was stored.

    Raises:
        NotFound: There is no such voice, or it has no lock.
        IntegrityError: The stored file is not what it was.
    """
    _, content = _content(name, None, rooms=rooms)
    pins = pins_of(content, NAME)
    environment = _environment(pins.tool)
    result = LockResult(
        voice=name,
        did="shown",
        origin="stored",
        content=content,
        digest=f"blake3:{blake3(content).hexdigest()}",
        python=environment.python if pins.tool else "",
        platform=f"{environment.system} {environment.machine}" if pins.tool else "",
        packages=len(pins.pins) + len(pins.unpinned),
        hashed=len(pins.hashes),
    )
    return _written(result, output, dry_run=False)


def resolves_of(result: LockResult, *, rooms: Rooms) -> dict[str, object]:
    """What the registry remembers of a question to the index."""
    bad = [note for note in result.notes if not note.harmless]
    return {
        "verdict": result.verdict.value,
        "at": rooms.clock().isoformat(timespec="seconds").replace("+00:00", "Z"),
        "findings": len(bad),
        "packages": [f"{note.package} {note.version}".strip() for note in bad[:_REMEMBERED]],
    }


def voice_is_there(name: str, rooms: Rooms) -> None:
    """Refuse before anything long is begun.

    Raises:
        NotFound: There is no such voice.
        Refused: A purge of it is open.
    """
    with rooms.registry.read() as uow:
        voice = uow.voices.get(name)
        refuse_while_purged(voice, uow=uow)
        uow.voices.current(voice.uid)


def _ask(
    wanted: Mapping[str, str], environment: Environment, *, rooms: Rooms, python: Path | None = None
) -> Offer:
    step = rooms.progress.step("index", len(wanted), "packages")
    offer = ask_index(wanted, environment, uv=rooms.runtimes.uv(), python=python)
    step.done(f"{len(wanted)} packages    {len(offer.wheels)} as wheels")
    return offer


def _newest(name: str, uow: UnitOfWork) -> Artifact | None:
    voice = uow.voices.get(name)
    version = uow.voices.current(voice.uid)
    found = uow.voices.artifacts(voice.uid, role=Role.LOCKFILE, version_uid=version.uid)
    return found[-1] if found else None


def _content(name: str, file: Path | None, *, rooms: Rooms) -> tuple[Artifact | None, bytes]:
    with rooms.registry.read() as uow:
        newest = _newest(name, uow)
    if file is not None:
        return None, small_file(file, MAX_LOCKFILE)
    if newest is None:
        raise NotFound(f'"{name}" has no lockfile', hint=f"vlm lock {name} --python PATH")
    return newest, rooms.vault.blobs.read_bytes(newest.digest, limit=MAX_LOCKFILE)


def _environment(tool: Mapping[str, object]) -> Environment:
    """For whom a lock was made; one that does not say is asked for as if it were for this machine and Python."""

    def told(key: str, otherwise: str) -> str:
        value = tool.get(key)
        fits = (
            isinstance(value, str) and len(value) <= 40 and value.replace(".", "").replace("_", "").isalnum()
        )
        return value if isinstance(value, str) and fits else otherwise

    return Environment(
        python=told("python", ".".join(map(str, sys.version_info[:3]))),
        system=told("system", sys.platform),
        machine=told("machine", platform.machine()),
        libc=told("libc", "glibc" if sys.platform == "linux" else ""),
        packages=(),
    )


def _placed(pins: Pins) -> list[Note]:
    notes = [Note(item, "", Trouble.UNPINNED, "is not fixed to one version") for item in pins.unpinned]
    for kind, trouble in _PLACES.items():
        notes += [
            Note(item, pins.pins.get(item, ""), trouble, _SAID[trouble]) for item in pins.asks.get(kind, ())
        ]
    options = pins.asks.get("option", ())
    notes += [Note(item, "", Trouble.OPTION, "an option for the installer, not followed") for item in options]
    named = {note.package for note in notes if note.trouble in _PLACES.values()}
    return [n for n in notes if n.trouble is not Trouble.UNPINNED or n.package not in named]


def _compared(pins: Pins, wanted: Mapping[str, str], offer: Offer) -> list[Note]:
    notes = []
    for name, version in wanted.items():
        if name in offer.troubles:
            notes.append(Note(name, version, *offer.troubles[name]))
            continue
        offered = {wheel.sha256 for wheel in offer.wheels.get(name, ())}
        allowed = pins.hashes.get(name, frozenset())
        # A lock of ours names only files that fit; others may name files for every platform.
        gone = len(allowed - offered) if pins.tool else 0
        if not allowed:
            notes.append(Note(name, version, Trouble.NO_HASH, "the lock names no hash of its files"))
        elif not allowed & offered:
            notes.append(Note(name, version, Trouble.OTHER_FILES, "no file that the lock names is offered"))
        elif gone:
            said = f"{gone} of {len(allowed)} files that the lock names are no longer offered"
            notes.append(Note(name, version, Trouble.OTHER_FILES, said))
        elif name in offer.yanked:
            notes.append(Note(name, version, Trouble.YANKED, "its authors withdrew this release"))
    return notes


def _store(result: LockResult, *, rooms: Rooms, dry_run: bool) -> LockResult:
    facts = {
        **facts_of(inspect(io.BytesIO(result.content), name=NAME, size=len(result.content))),
        "origin": result.origin,
        "resolves": resolves_of(result, rooms=rooms),
    }
    with arrivals(rooms) as coming:
        with rooms.registry.read() as uow:
            before = _newest(result.voice, uow)
        same = before is not None and str(before.digest) == result.digest
        result = replace(result, created=not same, replaced=before is not None and not same)
        if same or dry_run:
            return replace(result, created=result.created and not dry_run)
        stored = coming.take_bytes(result.content)
        _write(result, stored.digest, facts, rooms=rooms)
        coming.keep()
    return result


def _write(result: LockResult, digest: Digest, facts: Mapping[str, object], *, rooms: Rooms) -> None:
    with rooms.registry.write() as uow:
        voice = uow.voices.get(result.voice)
        refuse_while_purged(voice, uow=uow)
        artifact = Artifact(
            uid=rooms.new_uid(),
            version_uid=uow.voices.current(voice.uid).uid,
            role=Role.LOCKFILE,
            data_class=CLASS_OF_ROLE[Role.LOCKFILE],
            digest=digest,
            size_bytes=len(result.content),
            key_id=None,
            kind="lockfile",
            facts=facts,
            label=None,
            fingerprint=None,
            added_at=rooms.clock(),
        )
        uow.voices.add_artifact(voice.uid, artifact)
        uow.trail.append(
            "lock",
            voice_uid=voice.uid,
            ids={"artifact": artifact.uid},
            details={"origin": result.origin, "packages": result.packages, "verdict": result.verdict.value},
        )
        hit("lock.before_commit")
        uow.commit()


def _remember(artifact: Artifact, result: LockResult, *, rooms: Rooms) -> None:
    told = resolves_of(result, rooms=rooms)
    with rooms.registry.write() as uow:
        voice = uow.voices.get(result.voice)
        uow.voices.note(artifact.uid, {**artifact.facts, "resolves": told})
        uow.trail.append(
            "lock.check",
            voice_uid=voice.uid,
            ids={"artifact": artifact.uid},
            details={"verdict": result.verdict.value, "findings": len(result.notes)},
        )
        uow.commit()


def _written(result: LockResult, output: Path | None, *, dry_run: bool) -> LockResult:
    if output is None:
        return result
    if not dry_run:
        write_durably(output, result.content, mode=0o666)
    return replace(result, output=shown(str(output)))
