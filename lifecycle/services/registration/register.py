"""`vlm register`: files become a voice, a new version of one, or additions to one; whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Refused, UsageError, VlmError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.voices import Role, State, Voice
from lifecycle.formats import shown
from lifecycle.services.guard import (
    check_arrival,
    check_generation,
    check_open_case,
    generations,
    refuse_while_purged,
)
from lifecycle.services.people.recognise import refuse_recordings
from lifecycle.services.people.subjects import OWN_VOICE, Person, find_subject, person_of
from lifecycle.services.registration.arrivals import arrivals
from lifecycle.services.registration.batch import Batch, batch
from lifecycle.services.registration.intake import Reader
from lifecycle.services.registration.originals import remove_originals
from lifecycle.services.registration.request import Registered, RegisterRequest, Stored
from lifecycle.services.registration.rows import changed_voice, write_rows
from lifecycle.services.registration.state import Begun, Intake
from lifecycle.verification.plan import OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

__all__ = ["RegisterRequest", "Registered", "register"]


def register(
    request: RegisterRequest,
    *,
    rooms: Rooms,
    generations_before: dict[str, int] | None = None,
    also: Callable[[UnitOfWork, str], None] | None = None,
    among: Batch | None = None,
) -> Registered:
    """Register files under a name.

    A new name makes a voice with version 1; weights that the voice does not have make the next version; everything
    else is added to the version that is current. What the voice has already is found by its content and stored
    once; where nothing is new, nothing is written.

    Args:
        generations_before: Of the voice's people when work began whose result this is; a purge since makes it void.
        also: Done in the same transaction, with the voice's uid; where nothing is new, in one of its own.
        among: What it shares with the registrations around it, where the caller makes several.

    Raises:
        UsageError: Options contradict each other, or a new voice comes without weights.
        NotFound: A file or a policy does not exist.
        UnreadableFile, UnsafeArtifact: A file may not stay; nothing is left behind.
        Refused: The voice is retired, or a purge of it is open.
        Busy: Another registration runs.
        Unavailable: There is no room; nothing is left behind.
    """
    request.check()
    if among is None:
        with batch(rooms, request.weights) as alone:
            return register(
                request, rooms=rooms, generations_before=generations_before, also=also, among=alone
            )
    with arrivals(rooms, ahead=among.ahead) as coming:
        begun = _begin(request, rooms, among)
        begun.generations = {**begun.generations, **(generations_before or {})}
        reader = Reader(begun, coming, rooms)
        intake = reader.read_all()
        hit("register.after_files")
        _settle_version(begun, intake, reader)
        coming.settle()
        created = _commit(begun, intake, rooms, also=also)
        hit("register.before_keep")
        coming.keep()
        hit("register.after_commit")
        stored = coming.stored_bytes
    removed, left = remove_originals(intake.originals, rooms=rooms, asked=request.move)
    golden = _golden(begun, intake, rooms, wanted=among.goldens)
    return _told(begun, intake, created, rooms, stored=stored, removed=removed, left=left, golden=golden)


def _begin(request: RegisterRequest, rooms: Rooms, among: Batch) -> Begun:
    """Look at what is known, decide whose things arrive, and refuse what cannot end well before reading a file."""
    with rooms.registry.read() as uow:
        voice = uow.voices.find(request.name)
        policy = among.policy(_policy_name(request, voice, rooms))
        if voice is None and not request.weights:
            raise UsageError(
                f'"{request.name}" is a new voice, and a new voice needs --weights',
                hint=f"vlm register {request.name} --weights FILE",
            )
        if voice is not None:
            refuse_while_purged(voice, uow=uow)
            _refuse_retired(voice, request)
        person = _person(request, voice, uow=uow, rooms=rooms)
        _refuse_withdrawn(request, voice, person, uow=uow, rooms=rooms, renewed=bool(request.consents))
        artifacts = [] if voice is None else uow.voices.artifacts(voice.uid)
        begun = Begun(
            request=request,
            policy=policy,
            now=rooms.clock(),
            voice=voice,
            versions=[] if voice is None else uow.voices.versions(voice.uid),
            artifacts=artifacts,
            sets=[] if voice is None else uow.voices.sets(voice.uid),
            person=person,
            generations=_generations(voice, person, uow=uow),
            voice_uid=rooms.new_uid() if voice is None else voice.uid,
            has_consent=_has_consent(voice, person, uow=uow),
            held={(a.role, a.fingerprint): a for a in artifacts if a.fingerprint is not None},
        )
    begun.version_uid = begun.current.uid if begun.current is not None else rooms.new_uid()
    return begun


def _has_consent(voice: Voice | None, person: Person | None, *, uow: UnitOfWork) -> bool:
    if voice is not None:
        people = voice.subject_uids
        return any(uow.subjects.consents(uid, voice_uid=voice.uid) for uid in people)
    return person is not None and bool(uow.subjects.consents_for_all(person.subject.uid))


def _generations(voice: Voice | None, person: Person | None, *, uow: UnitOfWork) -> dict[str, int]:
    """Return the generation of everybody whose things arrive, known people only."""
    found = {} if voice is None else generations(voice, uow=uow)
    if person is not None and not person.new:
        found[person.subject.uid] = person.subject.generation
    return found


def _refuse_withdrawn(
    request: RegisterRequest,
    voice: Voice | None,
    person: Person | None,
    *,
    uow: UnitOfWork,
    rooms: Rooms,
    renewed: bool,
) -> None:
    """Take nothing in of a person who withdrew, until there is a newer consent; one's own voice needs none."""
    uid = None if person is None or person.new else person.subject.uid
    if uid is None or not (request.brings_things or request.consents):
        return
    voice_uid = None if voice is None else voice.uid
    if request.own_voice or (voice is not None and voice.own_voice) or not request.brings_things:
        check_open_case(uid, voice_uid, uow=uow)
        return
    check_arrival(uid, voice_uid, renewed=renewed, uow=uow, now=rooms.clock())


def _policy_name(request: RegisterRequest, voice: Voice | None, rooms: Rooms) -> str:
    return request.policy or (voice.policy if voice is not None else rooms.settings.default_policy)


def _refuse_retired(voice: Voice, request: RegisterRequest) -> None:
    # A consent must be able to arrive: restoring needs one that is newer than what ended.
    if voice.state is State.RETIRED and request.brings_things:
        raise Refused(
            f'"{voice.name}" is retired, so nothing is added to it; nothing was stored',
            hint=f"vlm restore {voice.name}",
        )


def _person(request: RegisterRequest, voice: Voice | None, *, uow: UnitOfWork, rooms: Rooms) -> Person | None:
    """Decide whose things arrive; a voice belongs to one person."""
    told = OWN_VOICE if request.own_voice else request.subject
    if told is None:
        known = (
            None if voice is None or not voice.subject_uids else uow.subjects.by_uid(voice.subject_uids[0])
        )
        if known is not None:
            return Person(known, None, new=False)
        if request.audio or request.consents:
            raise UsageError(
                "recordings and consents belong to a person: say whose with --subject ID, or say --own-voice",
                hint=f"vlm register {request.name} --help",
            )
        return None
    if voice is not None and voice.subject_uids:
        owner = uow.subjects.by_uid(voice.subject_uids[0])
        same = find_subject(told, uow=uow, rooms=rooms)
        if owner is not None and (same is None or same.uid != owner.uid):
            raise Refused(
                f'"{voice.name}" belongs to subject {owner.pseudonym}; another person has voices of their own',
                hint="vlm register NAME --subject ID",
            )
    return person_of(told, uow=uow, rooms=rooms)


def _settle_version(begun: Begun, intake: Intake, reader: Reader) -> None:
    """Decide whether the weights that came are a version that exists, and describe a new one."""
    identity = intake.identity
    if identity is None:
        if begun.request.io_spec is not None:
            reader.specification()
        return
    same = [v for v in begun.versions if v.withdrawn_at is None and v.identity == identity]
    if same:
        begun.adopt(same[-1].uid)
        intake.follow(same[-1].uid, begun.artifacts)
        if begun.request.io_spec is not None:
            reader.specification()
        return
    begun.adopt(reader.new_uid())
    begun.new_version = True
    reader.begin_version()
    reader.specification()


def _commit(
    begun: Begun, intake: Intake, rooms: Rooms, *, also: Callable[[UnitOfWork, str], None] | None
) -> str:
    """Write the rows in one transaction, unless nothing is new; return what was created."""
    voice = changed_voice(begun, intake)
    if not begun.new_version and not intake.new and not intake.consents and voice == begun.voice:
        if also is not None:
            with rooms.registry.write() as uow:
                also(uow, voice.uid)
                uow.commit()
        return "nothing"
    with rooms.registry.write() as uow:
        now = uow.voices.find(begun.request.name)
        if (now is None) != (begun.voice is None) or (now is not None and now.uid != begun.voice_uid):
            raise Refused(
                f'"{begun.request.name}" changed while its files were read; nothing was stored',
                hint="vlm list",
            )
        _refuse_withdrawn(
            begun.request, now, begun.person, uow=uow, rooms=rooms, renewed=bool(intake.consents)
        )
        refuse_recordings([each.content for each in intake.originals], uow=uow, rooms=rooms)
        check_generation(begun.generations, uow=uow)
        if now is not None:
            refuse_while_purged(now, uow=uow)
            _refuse_retired(now, begun.request)
            voice = replace(voice, state=now.state)
        created = write_rows(begun, intake, voice, uow=uow)
        if also is not None:
            also(uow, voice.uid)
        hit("register.before_commit")
        uow.commit()
    return created


def _golden(begun: Begun, intake: Intake, rooms: Rooms, *, wanted: bool) -> str:
    """Record what the voice says today, where a runtime is here; its failure is a finding, not an error."""
    from lifecycle.services.golden import record_if_possible

    heard = any(a.role in {Role.WEIGHTS, Role.EMBEDDING} for a in intake.new)
    ours = any(a.kind == OURS for a in (*begun.artifacts, *intake.new))
    if not heard or not ours:
        return "none"
    if not wanted:
        return "pending"
    try:
        return "pending" if record_if_possible(begun.request.name, rooms=rooms) is None else "recorded"
    except VlmError as error:
        rooms.progress.step("golden").done(f"pending: {error.message}")
        return "pending"


def _told(
    begun: Begun,
    intake: Intake,
    created: str,
    rooms: Rooms,
    *,
    stored: int,
    removed: int,
    left: int,
    golden: str,
) -> Registered:
    request = begun.request
    number = begun.number
    return Registered(
        voice=request.name,
        version=number,
        created=created,
        subject=None if begun.person is None else begun.person.subject.pseudonym,
        artifacts=tuple(
            Stored(
                role=artifact.role.value,
                kind=artifact.kind,
                digest=str(artifact.digest),
                size_bytes=artifact.size_bytes,
                sealed=artifact.data_class.sealed,
                summary=intake.summaries.get(artifact.uid, artifact.kind),
            )
            for artifact in intake.new
        ),
        stored_bytes=stored if created != "nothing" else 0,
        skipped=tuple(intake.skipped),
        recordings=sum(1 for arrived in intake.originals if arrived.inspection.kind == "audio"),
        seconds=None if intake.seconds is None else round(intake.seconds, 3),
        originals_left=left,
        originals_removed=removed,
        golden=golden,
        notes=tuple(_notes(begun, intake, left=left, removed=removed)),
        warnings=tuple(_warnings(begun, rooms)),
        next=f"vlm verify {request.name} --torch 2.x"
        if created in {"voice", "version"}
        else f"vlm show {request.name}",
    )


def _notes(begun: Begun, intake: Intake, *, left: int, removed: int) -> list[tuple[str, str]]:
    request, notes = begun.request, []
    if removed:
        notes.append((f"{removed} original(s) removed; their sealed copies were read back first", ""))
    if left:
        many = (
            "1 original still lies where it came from"
            if left == 1
            else f"{left} originals still lie where they came from"
        )
        plain = f"{many}, unencrypted"
        notes.append((plain if request.move else f"{plain} (register --move removes them)", ""))
    if intake.skipped:
        named = ", ".join(intake.skipped[:5]) + (" ..." if len(intake.skipped) > 5 else "")
        notes.append((f"skipped {len(intake.skipped)}: {named}", ""))
    if intake.lock is not None:
        pinned, packages = intake.lock.facts.get("pinned"), intake.lock.facts.get("packages")
        name = shown(request.lockfile.name) if request.lockfile is not None else "the lockfile"
        verdict = "" if pinned == packages else ": not a lock"
        notes.append((f"{name} pins {pinned} of {packages} packages{verdict}", ""))
    return notes


def _warnings(begun: Begun, rooms: Rooms) -> list[str]:
    request, found = begun.request, []
    person = begun.person
    told = request.subject
    if person is not None and person.subject.label is not None and not request.own_voice:
        told = rooms.vault.keys.open_text(person.subject.label)
    if told and told.casefold() in request.name.casefold():
        found.append(
            f"the voice's name contains the subject's id; names of voices lie open in \"{rooms.settings.home}\""
        )
    own = request.own_voice or (begun.voice is not None and begun.voice.own_voice)
    if request.audio and not own and not request.consents and not begun.has_consent:
        found.append(
            f"no consent came with the recordings: vlm register {request.name} --consent FILE --consent-until DATE"
        )
    if request.consent_end is not None and request.consent_end < begun.now:
        found.append(f"the consent ended {request.consent_until}, so nothing may be done with the recordings")
    changed = begun.voice is not None and begun.policy.name != begun.voice.policy
    if changed or request.recorded_on is not None or request.contract_ends is not None:
        from lifecycle.services.retention.explain import due_at_once

        found += due_at_once(request.name, rooms=rooms)
    return found
