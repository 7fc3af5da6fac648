"""Carries out a purge: planned, committed, destroyed, verified, each step durable before the next begins."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.canonical import Json
from lifecycle.domain.errors import Busy, IntegrityError, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.domain.purges import Purge, PurgeState
from lifecycle.domain.states import Move, moved
from lifecycle.domain.voices import State, Voice
from lifecycle.erasure.plan import Plan, PurgeVerb
from lifecycle.registry.outbox import Promise
from lifecycle.registry.queries.purges import Forgotten
from lifecycle.services.guard import refuse_held, refuse_used, refuse_while_purged
from lifecycle.services.purges.journal import (
    Journal,
    drop_journal,
    journal_path,
    pieces_of,
    read_journal,
    stray_journals,
    write_journal,
)
from lifecycle.services.purges.preview import Preview, PurgeRequest, preview
from lifecycle.services.purges.result import Purged
from lifecycle.services.purges.steps import STEPS, ledger_ids, run_steps
from lifecycle.services.registration.arrivals import LOCK_SECONDS
from lifecycle.services.trail import seal_checkpoint
from lifecycle.vault.files import locked
from lifecycle.vault.ledger import EntryKind

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

__all__ = [
    "Preview",
    "PurgeRequest",
    "Purged",
    "preview",
    "purge",
    "resume_all",
    "resume_open",
]


def purge(planned: Preview, *, rooms: Rooms) -> Purged:
    """Carry out a plan that was shown and confirmed.

    Raises:
        Held: A hold was placed since; nothing was changed.
        InUse: A claim was made since; nothing was changed.
        Refused: The voice changed since the plan was shown; nothing was changed.
        Busy: Another process is destroying something.
    """
    with _alone(rooms):
        begun = _begin(planned, rooms=rooms)
        committed = _commit(begun, planned, rooms=rooms)
        return _finish(committed, rooms=rooms)


def resume_open(name: str, *, rooms: Rooms) -> Purged | None:
    """Finish the purge of a voice that was begun and not finished, if there is one.

    Returns:
        None where there was none, or where it was only planned: then nothing was destroyed and it is taken back.
    """
    with rooms.registry.read() as uow:
        found = uow.purges.all_open()
        names = {purge.uid: _name_of(purge, uow=uow, rooms=rooms) for purge in found}
    for each in found:
        if names[each.uid] == name:
            with _alone(rooms):
                return _take_up(each.uid, rooms=rooms)
    return None


def resume_all(*, rooms: Rooms) -> list[Purged]:
    """Finish every purge that was begun and not finished; `vlm doctor` calls it.

    Raises:
        Busy: Another process is destroying something right now.
    """
    with rooms.registry.read() as uow:
        found = uow.purges.all_open()
    known = {each.uid for each in found}
    if not found and not stray_journals(rooms.settings.keys, rooms.installation, known):
        return []
    with _alone(rooms):
        done = [_take_up(each.uid, rooms=rooms) for each in found]
    return [each for each in done if each is not None]


def _take_up(uid: str, *, rooms: Rooms) -> Purged | None:
    with rooms.registry.read() as uow:
        found = uow.purges.get(uid)
    if not found.state.open:
        return None
    if found.state is PurgeState.PLANNED:
        _abort(found, rooms=rooms)
        return None
    return _finish(found, rooms=rooms)


def _name_of(found: Purge, *, uow: UnitOfWork, rooms: Rooms) -> str | None:
    voice = uow.voices.by_uid(found.voice_uid)
    if voice is not None and voice.name:
        return voice.name
    path = journal_path(rooms.settings.keys, rooms.installation, found.uid)
    try:
        return read_journal(path).name
    except IntegrityError:
        return None


@contextmanager
def _alone(rooms: Rooms) -> Iterator[None]:
    """Hold the store-wide lock of destruction; it goes with the process, whatever ends it."""
    descriptor = os.open(rooms.settings.home / "purge.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("another process is destroying something right now", hint="vlm doctor") from None
        # A registration that comes in meanwhile could name a file that is about to go.
        arriving = rooms.settings.home / "arrivals.lock"
        with locked(arriving, what="arriving files", seconds=LOCK_SECONDS):
            _drop_strays(rooms)
            yield
    finally:
        os.close(descriptor)


def _drop_strays(rooms: Rooms) -> None:
    """Remove journals of purges that are not open: a crash came between the file and its row."""
    with rooms.registry.read() as uow:
        known = {each.uid for each in uow.purges.all_open()}
    for path in stray_journals(rooms.settings.keys, rooms.installation, known):
        drop_journal(path)


def _begin(planned: Preview, *, rooms: Rooms) -> Purge:
    """Write the plan down: journal, row, ledger. Nothing is destroyed yet."""
    plan, now = planned.plan, rooms.clock()
    nodes = {rooms.new_uid(): each for each in planned.originals if each.state == "same"}
    begun = Purge(
        uid=rooms.new_uid(),
        voice_uid=plan.voice_uid,
        verb=plan.verb.value,
        state=PurgeState.PLANNED,
        plan=plan.to_json(),
        plan_digest=plan.digest(),
        basis=plan.basis,
        request=None,
        opened_at=now,
        changed_at=now,
    )
    with rooms.registry.write() as uow:
        voice = uow.voices.get(planned.request.name)
        refuse_while_purged(voice, uow=uow)
        refuse_held(voice, uow=uow)
        _refuse_used(planned, voice, uow=uow, rooms=rooms)
        _refuse_changed(planned, voice, uow=uow)
        journal = Journal(
            name=planned.request.name,
            rows=rooms.new_uid(),
            residue=rooms.new_uid(),
            work=rooms.new_uid(),
            originals={node: each.path for node, each in nodes.items()},
            artifacts={node: each.artifact_uid for node, each in nodes.items()},
            pieces=pieces_of(uow.purges.sealed_of(forgotten(plan))),
        )
        write_journal(journal_path(rooms.settings.keys, rooms.installation, begun.uid), journal)
        hit("purge.after_journal")
        uow.purges.add(begun)
        uow.commit()
    hit("purge.after_plan")
    rooms.vault.ledger.append(EntryKind.PLANNED, begun.uid, ids=ledger_ids(plan, digest=begun.plan_digest))
    hit("purge.after_ledger_planned")
    return begun


def _refuse_used(planned: Preview, voice: Voice, *, uow: UnitOfWork, rooms: Rooms) -> list[Json]:
    """Refuse what is in use; return the ids of the claims where that was overruled (a place may name the voice)."""
    if not planned.request.even_if_used:
        refuse_used(voice, uow=uow, now=rooms.clock())
    return [claim.uid for claim in uow.uses.counting(voice.uid, now=rooms.clock())]


def _refuse_changed(planned: Preview, voice: Voice, *, uow: UnitOfWork) -> None:
    plan = planned.plan
    there = {artifact.uid for artifact in uow.voices.artifacts(voice.uid)}
    same = (
        voice.uid == plan.voice_uid and voice.state is planned.voice.state and there == planned.artifact_uids
    )
    plain = {str(t.digest) for t in plan.targets if t.remove_blob and not t.data_class.sealed}
    alone = all(owners == {voice.uid} for owners in uow.purges.owners(plain).values())
    if not same or not alone or tuple(sorted(uow.purges.leaving(voice.uid))) != plan.leaving:
        raise Refused(
            f'"{planned.request.name}" changed since the plan was shown, so nothing was changed',
            hint=f"vlm retire {planned.request.name} --purge-audio --dry-run",
        )


def forgotten(plan: Plan) -> Forgotten:
    """Return what the registry must no longer know after a plan was carried out."""
    return Forgotten(
        voice_uid=plan.voice_uid,
        artifacts=[target.artifact_uid for target in plan.targets],
        leaving=plan.leaving,
        erased=plan.verb is PurgeVerb.ERASE,
    )


def _commit(begun: Purge, planned: Preview, *, rooms: Rooms) -> Purge:
    """Check for holds and decide, in one transaction; from here on it cannot be taken back."""
    plan, now = planned.plan, rooms.clock()
    try:
        with rooms.registry.write() as uow:
            voice = uow.voices.get(planned.request.name)
            refuse_held(voice, uow=uow)
            overruled = _refuse_used(planned, voice, uow=uow, rooms=rooms)
            _refuse_changed(planned, voice, uow=uow)
            committed = uow.purges.move(begun, PurgeState.COMMITTED, at=now)
            if voice.state is not State.RETIRED:
                state = moved(planned.request.name, voice.state, Move.RETIRE)
                uow.voices.update(replace(voice, state=state, changed_at=now, retired_at=now))
            for subject_uid in voice.subject_uids:
                uow.subjects.bump_generation(subject_uid)
                if plan.basis == "withdrawal":
                    # From here on only a newer consent brings the voice back.
                    uow.subjects.withdraw(subject_uid, at=now, new_uid=rooms.new_uid, voice_uid=voice.uid)
            for action in STEPS:
                uow.outbox.promise(Promise(rooms.new_uid(), begun.uid, action, {}, now))
            uow.trail.append(
                "purge.committed",
                voice_uid=voice.uid,
                ids={"purge": begun.uid},
                details={
                    "plan": begun.plan_digest,
                    "basis": plan.basis,
                    "request": planned.request.request,
                    "before": voice.state.value,
                    **({"uses_overruled": overruled} if overruled else {}),
                },
            )
            hit("purge.before_commit")
            uow.commit()
    except Refused:
        _abort(begun, rooms=rooms)
        raise
    hit("purge.after_commit")
    seal_checkpoint(rooms=rooms)
    return committed


def _abort(planned: Purge, *, rooms: Rooms) -> None:
    with rooms.registry.write() as uow:
        uow.purges.move(planned, PurgeState.ABORTED, at=rooms.clock())
        uow.trail.append("purge.aborted", voice_uid=planned.voice_uid, ids={"purge": planned.uid})
        uow.commit()
    rooms.vault.ledger.append(EntryKind.ABORTED, planned.uid, ids={"voice": planned.voice_uid})
    drop_journal(journal_path(rooms.settings.keys, rooms.installation, planned.uid))
    seal_checkpoint(rooms=rooms)


def _finish(committed: Purge, *, rooms: Rooms) -> Purged:
    path = journal_path(rooms.settings.keys, rooms.installation, committed.uid)
    journal = _journal(path, committed, rooms=rooms)
    written = run_steps(committed, journal, rooms=rooms)
    return Purged(
        voice=journal.name,
        plan=Plan.from_json(committed.plan),
        receipt=written.receipt,
        certificate=written.path,
        page=written.page,
    )


def _journal(path: Path, committed: Purge, *, rooms: Rooms) -> Journal:
    """Read the journal; where it was lost the purge goes on, and says that it cannot look everywhere."""
    try:
        return read_journal(path)
    except IntegrityError:
        with rooms.registry.read() as uow:
            voice = uow.voices.by_uid(committed.voice_uid)
        return Journal(
            name=voice.name if voice is not None else "",
            rows=rooms.new_uid(),
            residue=rooms.new_uid(),
            work=rooms.new_uid(),
            lost=rooms.new_uid(),
        )
