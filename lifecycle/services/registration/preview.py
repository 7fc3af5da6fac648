"""`vlm register --dry-run`: every file is read and judged, nothing is stored, no key is made."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import UnreadableFile, UsageError
from lifecycle.domain.voices import Role
from lifecycle.formats import Inspection, shown
from lifecycle.services.guard import check_arrival, refuse_while_purged
from lifecycle.services.inspect import inspect_file
from lifecycle.services.people.subjects import find_subject
from lifecycle.services.registration.intake import MAX_CONSENT_BYTES, NO_EMBEDDING, NO_FEATURES, NO_WEIGHTS
from lifecycle.services.registration.recordings import find_recordings, require_recording
from lifecycle.services.registration.request import Registered, RegisterRequest, Stored
from lifecycle.services.registration.state import require_fitting, small_file
from lifecycle.services.retention.files import load_policy, policy_home
from lifecycle.services.specs.spec import MAX_BYTES, read_spec

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


def preview(request: RegisterRequest, *, rooms: Rooms) -> Registered:
    """Say what `register` would do, without storing anything.

    Raises:
        VlmError: As `register` would.
    """
    request.check()
    with rooms.registry.read() as uow:
        voice = uow.voices.find(request.name)
        if voice is None and not request.weights:
            raise UsageError(
                f'"{request.name}" is a new voice, and a new voice needs --weights',
                hint=f"vlm register {request.name} --weights FILE",
            )
        if voice is not None:
            refuse_while_purged(voice, uow=uow)
        known = None if request.subject is None else find_subject(request.subject, uow=uow, rooms=rooms)
        uid = known.uid if known is not None else next(iter(voice.subject_uids), None) if voice else None
        if request.brings_things and not (request.own_voice or (voice is not None and voice.own_voice)):
            mine = None if voice is None else voice.uid
            check_arrival(uid, mine, renewed=bool(request.consents), uow=uow, now=rooms.clock())
        versions = [] if voice is None else uow.voices.versions(voice.uid)
    load_policy(request.policy or rooms.settings.default_policy, own=policy_home(rooms))
    files, skipped = _files(request)
    for path in request.consents:
        if not small_file(path, MAX_CONSENT_BYTES):
            raise UnreadableFile(f'"{shown(path.name)}" is empty, so it is no consent; nothing was stored')
    return Registered(
        voice=request.name,
        version=max((version.number for version in versions), default=0) + bool(request.weights),
        created="voice" if voice is None else "additions",
        dry_run=True,
        subject=None if known is None else known.pseudonym,
        artifacts=tuple(files),
        skipped=tuple(skipped),
        recordings=sum(1 for file in files if file.role == Role.AUDIO),
    )


def _files(request: RegisterRequest) -> tuple[list[Stored], list[str]]:
    skipped: list[str] = []
    files = [_look(path, Role.WEIGHTS, refuse=NO_WEIGHTS) for path in request.weights]
    if request.lockfile is not None:
        files.append(_look(request.lockfile, Role.LOCKFILE, only="lockfile"))
    if request.embedding is not None:
        files.append(_look(request.embedding, Role.EMBEDDING, refuse=NO_EMBEDDING))
    if request.io_spec is not None:
        read_spec(small_file(request.io_spec, MAX_BYTES), request.io_spec.name)
    for reference in request.references:
        found = inspect_file(reference.path)
        require_recording(found.inspection, reference.path.name)
        files.append(_stored(Role.REFERENCE, found.inspection, found.size))
    files += [_look(path, Role.FEATURES, refuse=NO_FEATURES) for path in request.features]
    for path in request.audio:
        before = len(files)
        listed = find_recordings(path)
        skipped += listed.skipped
        for file in listed.files:
            found = inspect_file(file)
            if found.inspection.kind != "audio" and not listed.alone:
                skipped.append(f"{shown(file.name)} (no recording)")
                continue
            require_recording(found.inspection, file.name)
            files.append(_stored(Role.AUDIO, found.inspection, found.size))
        if len(files) == before:
            raise UnreadableFile(f'"{shown(str(path))}" holds no recording; nothing was stored')
    return files, skipped


def _look(path: Path, role: Role, *, refuse: frozenset[str] = frozenset(), only: str = "") -> Stored:
    found = inspect_file(path)
    judge = partial(require_fitting, role=role, refuse=refuse, only=only)
    judge(found.inspection, path.name)
    return _stored(role, found.inspection, found.size)


def _stored(role: Role, found: Inspection, size: int) -> Stored:
    from lifecycle.domain.voices import CLASS_OF_ROLE

    return Stored(role.value, found.kind, "", size, CLASS_OF_ROLE[role].sealed, found.summary)
