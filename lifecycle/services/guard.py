"""The one place that decides whether a voice may be used, changed or deleted now; every verb passes it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Held, InUse, Mute, Refused
from lifecycle.domain.states import SPEAKS
from lifecycle.domain.subjects import USES, Consent, Use, covers, holding
from lifecycle.domain.voices import State, Voice
from lifecycle.render.output import ago, printable

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork

__all__ = [
    "check_arrival",
    "check_generation",
    "check_open_case",
    "check_use",
    "generations",
    "holding",
    "may",
    "refusal",
    "refuse_held",
    "refuse_used",
    "refuse_while_purged",
]


def refusal(voice: Voice, verb: str, *, uow: UnitOfWork, now: datetime) -> Refused | None:
    """Decide whether a voice may be used; return why not, ready to be raised, or None.

    A use needs a living voice, no open purge, no open case of its people, and, where the voice belongs to a person
    who is not the caller, a consent that covers this use, holds, and is newer than any withdrawal or expiry.

    Args:
        verb: A word of `lifecycle.domain.subjects.USES`; what is not named there is refused.
    """
    use = USES.get(verb)
    if use is None:
        return Refused(f'"{verb}" is no use of a voice that the guard knows, so it is refused')
    found = _purged(voice, uow=uow)
    if found is None and use.living and voice.state not in SPEAKS:
        cure = f"vlm restore {voice.name}" if voice.state is State.RETIRED else f"vlm show {voice.name}"
        found = Refused(f'"{voice.name}" is {voice.state}, so it cannot {use.words}', hint=cure)
    found = found or _case(voice, use, uow=uow) or _consent(voice, use, uow=uow, now=now)
    if found is None and use.speaks and voice.mute:
        return Mute(
            f'"{voice.name}" is mute: what it is conditioned on was purged',
            hint=f"vlm register {voice.name} --embedding FILE",
        )
    return found


def may(voice: Voice, verb: str, *, uow: UnitOfWork, now: datetime) -> bool:
    """Whether a voice may be used now; see `refusal`."""
    return refusal(voice, verb, uow=uow, now=now) is None


def check_use(voice: Voice, verb: str, *, uow: UnitOfWork, now: datetime) -> None:
    """Let a use of a voice through; see `refusal`.

    Raises:
        Refused: It may not be used now; nothing was done.
        Mute: It is to speak and what it is conditioned on was purged.
    """
    found = refusal(voice, verb, uow=uow, now=now)
    if found is not None:
        raise found


def _case(voice: Voice, use: Use, *, uow: UnitOfWork) -> Refused | None:
    """An open case of a person stops everything that is done with their voices, whatever was agreed to before."""
    for row in uow.cases.open_over(voice.subject_uids, voice.uid):
        return Refused(
            f'"{voice.name}" cannot {use.words}: subject {row.pseudonym} withdrew their consent, and the case is open',
            hint=f"vlm subject case show {row.case.uid[:12]}",
        )
    return None


def _consent(voice: Voice, use: Use, *, uow: UnitOfWork, now: datetime) -> Refused | None:
    """Require a consent that holds, where the voice belongs to a person who is not the caller."""
    if voice.own_voice:
        return None
    for subject_uid in voice.subject_uids:
        given = uow.subjects.consents(subject_uid, voice_uid=voice.uid)
        if holding(given, now, use.scope):
            continue
        subject = uow.subjects.by_uid(subject_uid)
        who = "its subject" if subject is None else f"subject {subject.pseudonym}"
        others = holding(given, now)
        if others and subject is not None:
            agreed = "; they agreed to " + ", ".join(sorted({c.scope for c in others}))
            return Refused(
                f'"{voice.name}" cannot {use.words}: no consent of {who} covers "{use.scope}" today{agreed}',
                hint=f"vlm subject consent {subject.pseudonym} --evidence FILE --scope {use.scope}",
            )
        why = _missing(given, now, use.scope, who)
        return Refused(
            f'"{voice.name}" cannot {use.words}: {why}',
            hint=f"vlm register {voice.name} --consent FILE --consent-until DATE",
        )
    return None


def _missing(given: Sequence[Consent], now: datetime, word: str | None, who: str) -> str:
    if any(c.withdrawn_at is not None and c.withdrawn_at <= now for c in given):
        return f"consent was withdrawn, and no newer one of {who} holds today"
    ends = [c.valid_until for c in given if c.valid_until is not None and covers(c.scope, word)]
    past = [end for end in ends if end <= now]
    if past:
        return f"consent ended {max(past).date()}, and no newer one of {who} holds today"
    return f"no consent of {who} holds today"


def check_arrival(
    subject_uid: str | None, voice_uid: str | None, *, renewed: bool, uow: UnitOfWork, now: datetime
) -> None:
    """Let things of a person come in: a withdrawal stops them until a newer consent arrives, with them or before.

    Args:
        subject_uid: Whose things they are, if a person's.
        voice_uid: The voice that they are for; None for one that does not exist yet.
        renewed: Whether a consent comes with them.

    Raises:
        Refused: The person withdrew; nothing was stored.
    """
    if subject_uid is None:
        return
    check_open_case(subject_uid, voice_uid, uow=uow)
    given = uow.subjects.consents_for_all(subject_uid)
    if voice_uid is not None:
        given = uow.subjects.consents(subject_uid, voice_uid=voice_uid)
    gone = [c.withdrawn_at for c in given if c.withdrawn_at is not None]
    gone += [case.opened_at for case in uow.cases.of_subject(subject_uid) if case.concerns(voice_uid)]
    last = max(gone, default=None)
    if last is None or renewed or any(c.received_at > last for c in holding(given, now)):
        return
    subject = uow.subjects.by_uid(subject_uid)
    who = "the person" if subject is None else f"subject {subject.pseudonym}"
    raise Refused(
        f"{who} withdrew their consent, so nothing of theirs is taken in before there is a newer one",
        hint="add it with: --consent FILE",
    )


def check_open_case(subject_uid: str, voice_uid: str | None, *, uow: UnitOfWork) -> None:
    """Take nothing in of a person while a withdrawal of theirs is open, a new consent included.

    Raises:
        Refused: One is; nothing was stored.
    """
    for row in uow.cases.open_over([subject_uid], voice_uid):
        raise Refused(
            f"subject {row.pseudonym} withdrew their consent, and the case is open, so nothing of theirs is taken in",
            hint=f"vlm subject case show {row.case.uid[:12]}",
        )


def refuse_while_purged(voice: Voice, *, uow: UnitOfWork) -> None:
    """Refuse to touch a voice that a purge is destroying.

    Raises:
        Refused: A purge of it was begun and is not finished.
    """
    found = _purged(voice, uow=uow)
    if found is not None:
        raise found


def _purged(voice: Voice, *, uow: UnitOfWork) -> Refused | None:
    if uow.purges.open_of(voice.uid) is None:
        return None
    return Refused(
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


def refuse_used(voice: Voice, *, uow: UnitOfWork, now: datetime) -> None:
    """Refuse a deletion of what something live depends on.

    Raises:
        InUse: A claim counts today.
    """
    claims = uow.uses.counting(voice.uid, now=now)
    if not claims:
        return
    place = printable(claims[0].place)
    more = f" and {len(claims) - 1} more" if len(claims) > 1 else ""
    raise InUse(
        f'"{voice.name}" is in use at {place} (claimed {ago(now - claims[0].claimed_at)}){more}, '
        "so nothing was changed",
        hint=f"drop the claim with: vlm use remove {voice.name} --where {shlex.quote(place)}",
    )


def check_generation(before: dict[str, int], *, uow: UnitOfWork) -> None:
    """Refuse what began before something of the same person was purged or withdrawn.

    Args:
        before: Each person's generation when the work began.

    Raises:
        Refused: A purge or a withdrawal happened meanwhile; the caller destroys what it made.
    """
    for subject_uid, generation in before.items():
        subject = uow.subjects.by_uid(subject_uid)
        if subject is not None and subject.generation != generation:
            raise Refused(
                "something of this subject was purged or withdrawn meanwhile, so the result was destroyed"
            )


def generations(voice: Voice, *, uow: UnitOfWork) -> dict[str, int]:
    """Return the generation of each person of a voice, to be checked again at the end of the work."""
    found = [uow.subjects.by_uid(uid) for uid in voice.subject_uids]
    return {subject.uid: subject.generation for subject in found if subject is not None}
