"""Which voices an audit must look at closely: conditions in SQL, each true for every voice that a rule could name.

The rules in `lifecycle/watch/rules.py` decide; what is written here may only be too wide, never too narrow, and a
test holds the two against each other on random registries. The conditions of notices are exact, since notices are
counted here and not looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, func, not_, or_, select

from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.policies import Action, IfMissing, Policy, Rule, TimeBase
from lifecycle.domain.purges import OPEN
from lifecycle.domain.voices import Role, State
from lifecycle.registry import tables as t
from lifecycle.registry.times import to_text

_LIVING = [State.ACTIVE.value, State.DEPRECATED.value, State.RETIRED.value]
_SERVING = [State.ACTIVE.value, State.DEPRECATED.value]
_HELD = [Role.AUDIO.value, Role.REFERENCE.value]
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)

v, a, c = t.voices.c, t.artifacts.c, t.consents.c


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kinds of files mean what; known to `lifecycle/verification/plan.py`.

    Attributes:
        voice: Of weights that the engine speaks with.
        speaker: Of the speaker file that it speaks with.
        checkpoints: Beginnings of kinds that are pickles, and of those that only look so.
        others: Beginnings that are looked at first.
    """

    voice: str
    speaker: str
    checkpoints: Sequence[str]
    others: Sequence[str]


def meant(wanted: VoiceFilter, *, named: bool = False) -> Any:
    """Return the condition that a voice is living and meant.

    Args:
        named: The query goes through the voices by name, and only the living have one; asking for their state as
            well would make SQLite collect and sort all of them for one page.
    """
    conditions: list[Any] = [v.name.is_not(None) if named else v.state.in_(_LIVING)]
    if wanted.names:
        conditions.append(v.name.in_(wanted.names))
    if wanted.states:
        conditions.append(v.state.in_([state.value for state in wanted.states]))
    for column, value in ((v.owner, wanted.owner), (v.upstream, wanted.upstream)):
        if value is not None:
            conditions.append(column == value if value else or_(column.is_(None), column == ""))
    if wanted.policy is not None:
        conditions.append(v.policy == wanted.policy)
    if wanted.subject_uid is not None:
        belongs = (
            select(t.voice_subjects.c.voice_id)
            .join(t.subjects, t.subjects.c.id == t.voice_subjects.c.subject_id)
            .where(t.subjects.c.uid == wanted.subject_uid)
        )
        conditions.append(v.id.in_(belongs))
    return and_(*conditions)


def superseded() -> Any:
    """Return the versions that are not their voice's current one, as a table of ids to be joined.

    A join, and no "not in": what does not fit into a server's memory would be read again for every row.
    """
    newer, older = t.versions.alias("newer"), t.versions.alias("older")
    over = select(older.c.id).join(
        newer,
        and_(
            newer.c.voice_id == older.c.voice_id,
            newer.c.number > older.c.number,
            # Said by the line above already, but so only the few voices with several versions are looked up.
            newer.c.number > 1,
            newer.c.withdrawn_at.is_(None),
        ),
    )
    return over.union(select(t.versions.c.id).where(t.versions.c.withdrawn_at.is_not(None))).subquery()


def _has(*conditions: Any, current: bool = True) -> Any:
    """A voice has a file that is there and meets conditions; of the current version, or of none in particular."""
    here = [a.voice_id == v.id, a.present.is_(True), *conditions]
    if not current:
        return exists().where(*here)
    over = superseded()
    files = t.artifacts.outerjoin(over, over.c.id == a.version_id)
    return exists(select(a.id).select_from(files).where(*here, over.c.id.is_(None)).correlate(t.voices))


def _consent(*conditions: Any) -> Any:
    """A person of the voice gave a consent that covers it and meets conditions."""
    link = t.voice_subjects.c
    return exists().where(
        link.voice_id == v.id,
        c.subject_id == link.subject_id,
        covering(v.id),
        *conditions,
    )


def covering(voice: Any) -> Any:
    """A consent covers a voice, by its row.

    Not with "or": without statistics SQLite takes the index of voices for it, where nearly all consents name none.
    """
    return func.coalesce(c.voice_id, voice) == voice


def recordings(policy: Policy, now: datetime) -> list[Any]:
    """Recordings whose person or whose consent may be missing, over, withdrawn, or about to end."""
    soon = to_text(now + timedelta(days=policy.consent_due_days))
    lasting = _consent(
        c.withdrawn_at.is_(None),
        or_(c.valid_from.is_(None), c.valid_from <= to_text(now)),
        or_(c.valid_until.is_(None), c.valid_until >= soon),
    )
    over = _consent(or_(c.withdrawn_at.is_not(None), c.renews_uid.is_not(None)))
    held = [v.policy == policy.name, v.own_voice.is_(False), _has(a.role.in_(_HELD), current=False)]
    # Two questions and not one with "or": a server answers each as a join, and an "or" voice by voice.
    return [and_(*held, not_(lasting)), and_(*held, over)]


def stale(policy: Policy, now: datetime) -> list[Any]:
    """No run within the days that the policy allows, or a last row that did not run."""
    since = to_text(now - timedelta(days=policy.verify_every_days))
    ran = t.verdicts.c.detail["ran"].as_boolean()
    recent = [
        t.versions.c.voice_id == v.id,
        t.verdicts.c.version_id == t.versions.c.id,
        t.verdicts.c.at > since,
    ]
    over = superseded()
    versions = t.versions.join(t.verdicts, t.verdicts.c.version_id == t.versions.c.id)
    current = (
        select(t.versions.c.id)
        .select_from(versions.outerjoin(over, over.c.id == t.versions.c.id))
        .where(*recent, over.c.id.is_(None), ran.is_(True))
        .correlate(t.voices)
    )
    mine = [v.policy == policy.name, v.state.in_(_SERVING), v.mute.is_(False)]
    old = [*mine, v.created_at <= since]
    early = select(t.versions.c.voice_id).select_from(versions).where(t.verdicts.c.at <= since)
    return [
        and_(*old, not_(exists(current))),
        # A clock that was wrong once: checked long before it was registered.
        and_(*mine, v.created_at > since, v.id.in_(early)),
        and_(*old, exists().where(*recent, or_(ran.is_(None), ran.is_(False)))),
    ]


def wrong_verdict() -> Any:
    """Some run ended badly."""
    bad = ("broken", "crashed", "differs")
    of = select(t.versions.c.voice_id).join(t.verdicts, t.verdicts.c.version_id == t.versions.c.id)
    return v.id.in_(of.where(t.verdicts.c.verdict.in_(bad)))


def without_golden(kinds: Kinds) -> Any:
    """One of our voices that could speak and has no golden."""
    return and_(
        v.state.in_(_SERVING),
        v.mute.is_(False),
        not_(_has(a.role == Role.GOLDEN.value)),
        _has(a.role.in_([Role.WEIGHTS.value, Role.EXPORT.value]), a.kind == kinds.voice),
        _has(a.role == Role.EMBEDDING.value, a.kind == kinds.speaker),
    )


def unfinished() -> Any:
    """A purge is open."""
    return v.id.in_(select(t.purges.c.voice_id).where(t.purges.c.state.in_([s.value for s in OPEN])))


def lost_lock() -> Any:
    """The last check of a lock said that something of it cannot be had."""
    told = a.facts[("resolves", "verdict")].as_string()
    lost = select(a.voice_id).where(
        a.role == Role.LOCKFILE.value, a.present.is_(True), told.in_(["broken", "differs"])
    )
    return and_(v.state.in_(_SERVING), v.id.in_(lost))


def promised(now: datetime) -> list[Any]:
    """A case of its people is open, or the day has come on which a hold must be looked at again."""
    link, h = t.voice_subjects.c, t.holds.c
    cases = select(link.voice_id).join(t.cases, t.cases.c.subject_id == link.subject_id)
    due_holds = [h.released_at.is_(None), h.review_on <= to_text(now)[:10]]
    on_people = select(link.voice_id).join(t.holds, h.subject_id == link.subject_id).where(*due_holds)
    return [
        v.id.in_(cases.where(t.cases.c.closed_at.is_(None))),
        v.id.in_(select(h.voice_id).where(*due_holds, h.voice_id.is_not(None))),
        v.id.in_(on_people),
    ]


def holding(digests: Collection[str]) -> Any:
    """A stored file has one of these digests; at most 500 of them."""
    return v.id.in_(select(a.voice_id).where(a.present.is_(True), a.digest.in_(sorted(digests))))


def due(policy: Policy, now: datetime) -> list[Any]:
    """What each rule of a policy may find due: a condition or two for each rule with an action."""
    found = []
    for rule in policy.rules:
        of_consent = rule.time_base in {TimeBase.CONSENT_ENDED, TimeBase.CONSENT_WITHDRAWN}
        if rule.action is None or rule.delete_after is None:
            continue
        # That a consent is over is told by a graver risk already.
        if of_consent and rule.action is Action.PURGE_AUDIO:
            continue
        # A day more than the least that the period can be: days of a time zone begin earlier somewhere.
        cut = _before(now, max(rule.delete_after.least_days - 1, 0))
        about = [
            v.policy == policy.name,
            v.state.in_([state.value for state in rule.applies_to.states]),
            _has(a.data_class.in_([each.value for each in rule.applies_to.classes]), current=False),
        ]
        found += [and_(*about, begun) for begun in _begun(rule, cut)]
    return found


def _before(now: datetime, days: int) -> str:
    try:
        return to_text(now - timedelta(days=days))
    except OverflowError:
        return to_text(_EARLIEST)


def _begun(rule: Rule, cut: str) -> list[Any]:
    """The moment that a rule counts from may lie before `cut`: where that is so in several ways, each by itself."""
    of = a.data_class.in_([each.value for each in rule.applies_to.classes])
    # Found once and looked up: an index of classes must not be walked through for every voice.
    oldest = v.id.in_(select(a.voice_id).where(of, a.added_at <= cut, a.present.is_(True)))
    guessed = rule.if_time_base_missing is IfMissing.OLDEST
    match rule.time_base:
        case TimeBase.REGISTERED:
            return [oldest]
        case TimeBase.RECORDED:
            made = func.coalesce(a.recorded_at, a.added_at)
            return [v.id.in_(select(a.voice_id).where(of, made <= cut, a.present.is_(True)))]
        case TimeBase.LAST_USED:
            return [v.last_used_at <= cut, *([and_(v.last_used_at.is_(None), oldest)] if guessed else [])]
        case TimeBase.CONTRACT_ENDED:
            known = v.contract_ends_at
            return [known <= cut, *([and_(known.is_(None), oldest)] if guessed else [])]
        case TimeBase.RETIRED:
            return [v.retired_at <= cut, and_(v.retired_at.is_(None), v.changed_at <= cut)]
        case TimeBase.CONSENT_WITHDRAWN:
            moments = [c.withdrawn_at <= cut]
        case TimeBase.CONSENT_GIVEN:
            moments = [c.received_at <= cut]
        case _:
            moments = [c.withdrawn_at <= cut, c.valid_until <= cut]
    return [*map(_consent, moments), *([oldest] if guessed else [])]


def notices(kinds: Kinds) -> dict[str, Any]:
    """Return, exactly, for which voices each notice is found."""
    serving = v.state.in_(_SERVING)
    locked = and_(a.facts["pinned"].as_string() == a.facts["packages"].as_string(), not_(_locked_again()))
    weights = a.role == Role.WEIGHTS.value
    return {
        "no-image": and_(serving, not_(_has(a.role == Role.IMAGE.value))),
        "no-lock": and_(serving, not_(_has(a.role == Role.LOCKFILE.value, locked))),
        "no-export": and_(serving, not_(_has(a.role == Role.EXPORT.value))),
        "no-owner": and_(serving, or_(v.owner.is_(None), v.owner == "")),
        "pickled-only": and_(serving, _has(weights), not_(_has(weights, not_(_pickled(kinds))))),
    }


def _locked_again() -> Any:
    """A newer lock of the voice stands in the place of this one."""
    later, over = t.artifacts.alias("later"), superseded()
    files = later.outerjoin(over, over.c.id == later.c.version_id)
    same = [later.c.voice_id == a.voice_id, later.c.role == Role.LOCKFILE.value, later.c.present.is_(True)]
    newer = select(later.c.id).select_from(files).where(*same, later.c.id > a.id, over.c.id.is_(None))
    return exists(newer.correlate(t.artifacts))


def _pickled(kinds: Kinds) -> Any:
    def begins(word: str) -> Any:
        return func.substr(a.kind, 1, len(word)) == word

    return and_(or_(*map(begins, kinds.checkpoints)), not_(or_(*map(begins, kinds.others))))
