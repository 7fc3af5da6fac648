"""The one place that decides whether a voice may be used, changed or deleted now; every verb passes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Held, Mute, Refused
from lifecycle.domain.states import SPEAKS
from lifecycle.domain.subjects import Consent
from lifecycle.domain.voices import State, Voice

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork


def check_use(voice: Voice, verb: str, *, uow: UnitOfWork, now: datetime) -> None:
    """Let a use of a voice through: speak, train, record a golden, export.

    A use needs a living voice, no open purge, and, where the voice belongs to a person who is not the caller, a
    consent that holds and is newer than any withdrawal or expiry.

    Args:
        verb: What is to be done, for the sentence.

    Raises:
        Refused: It may not be used now; nothing was done.
        Mute: It is to speak and what it is conditioned on was purged.
    """
    refuse_while_purged(voice, uow=uow)
    if voice.state not in SPEAKS:
        cure = f"vlm restore {voice.name}" if voice.state is State.RETIRED else f"vlm show {voice.name}"
        raise Refused(f'"{voice.name}" is {voice.state}, so it cannot {verb}', hint=cure)
    check_consent(voice, verb, uow=uow, now=now)
    if verb == "speak" and voice.mute:
        raise Mute(
            f'"{voice.name}" is mute: what it is conditioned on was purged',
            hint=f"vlm register {voice.name} --embedding FILE",
        )


def check_consent(voice: Voice, verb: str, *, uow: UnitOfWork, now: datetime) -> None:
    """Require a consent that holds, where the voice belongs to a person who is not the caller.

    Raises:
        Refused: There is none, or only ones that ended or were withdrawn.
    """
    if voice.own_voice:
        return
    for subject_uid in voice.subject_uids:
        given = uow.subjects.consents(subject_uid, voice_uid=voice.uid)
        if holding(given, now):
            continue
        subject = uow.subjects.by_uid(subject_uid)
        who = "its subject" if subject is None else f"subject {subject.pseudonym}"
        why = "no consent of" if not given else _ended(given, now)
        raise Refused(
            f'"{voice.name}" cannot {verb}: {why} {who} holds today',
            hint=f"vlm register {voice.name} --consent FILE --consent-until DATE",
        )


def holding(given: Sequence[Consent], now: datetime) -> list[Consent]:
    """Return the consents that count: those that hold and came after the last withdrawal.

    A consent that ended by itself never speaks again; a newer one is needed for that.
    """
    gone = [c.withdrawn_at for c in given if c.withdrawn_at is not None and c.withdrawn_at <= now]
    last = max(gone, default=None)
    return [c for c in given if c.holds_at(now) and (last is None or c.received_at > last)]


def _ended(given: Sequence[Consent], now: datetime) -> str:
    if any(c.withdrawn_at is not None and c.withdrawn_at <= now for c in given):
        return "consent was withdrawn, and no newer one of"
    ends = [c.valid_until for c in given if c.valid_until is not None]
    return f"consent ended {max(ends).date()}, and no newer one of" if ends else "no consent of"


def refuse_while_purged(voice: Voice, *, uow: UnitOfWork) -> None:
    """Refuse to touch a voice that a purge is destroying.

    Raises:
        Refused: A purge of it was begun and is not finished.
    """
    if uow.purges.open_of(voice.uid) is not None:
        raise Refused(
            f'a purge of "{voice.name}" was begun and is not finished, so nothing else may touch it',
            hint="vlm doctor",
        )


def refuse_held(voice: Voice, *, uow: UnitOfWork) -> None:
    """Refuse a deletion that a hold on the voice or its people forbids.

    Raises:
        Held: One stands.
    """
    if uow.subjects.holds_over(voice.uid):
        raise Held(
            f'a hold forbids every deletion of "{voice.name}", so nothing was changed',
            hint=f"lift it with: vlm unhold {voice.name}",
        )


def check_generation(before: dict[str, int], *, uow: UnitOfWork) -> None:
    """Refuse what began before something of the same person was purged.

    Args:
        before: Each person's generation when the work began.

    Raises:
        Refused: A purge happened meanwhile; the caller destroys what it made.
    """
    for subject_uid, generation in before.items():
        subject = uow.subjects.by_uid(subject_uid)
        if subject is not None and subject.generation != generation:
            raise Refused("something of this subject was purged meanwhile, so the result was destroyed")


def generations(voice: Voice, *, uow: UnitOfWork) -> dict[str, int]:
    """Return the generation of each person of a voice, to be checked again at the end of the work."""
    found = [uow.subjects.by_uid(uid) for uid in voice.subject_uids]
    return {subject.uid: subject.generation for subject in found if subject is not None}
