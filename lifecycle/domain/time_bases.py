"""The moments that a policy's rules count from, and the facts about a voice that they are taken from; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from lifecycle.domain.policies import IfMissing, Rule, TimeBase
from lifecycle.domain.subjects import Consent, covers
from lifecycle.domain.voices import Artifact, DataClass, State, Voice

#: Later than every date: retained without a known end.
NEVER = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last of several moments."""

    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """What a voice still holds of one class.

    Attributes:
        registered: When the oldest and the newest of them came.
        recorded: When the oldest and the newest were made; an undated one counts from its registration.
        undated: How many have no date of recording.
    """

    data_class: DataClass
    count: int
    size_bytes: int
    registered: Span
    recorded: Span
    undated: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the rules may know about one voice.

    Attributes:
        changed_at: When its state or its words last changed; the oldest known moment of a retirement without a date.
        consents: By person, all that cover the voice.
        kept: What it still holds, by class.
    """

    uid: str
    state: State
    owner: str | None
    own_voice: bool
    registered_at: datetime
    changed_at: datetime
    last_used_at: datetime | None = None
    retired_at: datetime | None = None
    contract_ends_at: datetime | None = None
    consents: Mapping[str, Sequence[Consent]] = field(default_factory=dict)
    kept: Sequence[Kept] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """From when a rule counts: the first and the last of the moments; no moments where they are not known."""

    first: datetime | None
    last: datetime
    substituted: bool = False


UNKNOWN = Base(None, NEVER)


def about(rule: Rule, facts: Facts) -> bool:
    """Return whether a rule speaks of a voice at all: its state, its owner, what its consents are for."""
    wanted = rule.applies_to
    if facts.state not in wanted.states or (wanted.owners and (facts.owner or "") not in wanted.owners):
        return False
    if not wanted.consent_scope:
        return True
    given = [consent for each in facts.consents.values() for consent in each]
    return any(covers(consent.scope, word) for consent in given for word in wanted.consent_scope)


def base_of(rule: Rule, facts: Facts, kept: Kept) -> Base | None:
    """Return the moments that a rule counts from; None where what it waits for has not happened."""
    if rule.time_base is TimeBase.REGISTERED:
        return Base(kept.registered.first, kept.registered.last)
    missing = UNKNOWN
    if rule.if_time_base_missing is IfMissing.OLDEST:
        missing = Base(kept.registered.first, kept.registered.last, substituted=True)
    match rule.time_base:
        case TimeBase.RECORDED:
            if kept.undated and missing is UNKNOWN:
                return UNKNOWN
            return Base(kept.recorded.first, kept.recorded.last, substituted=bool(kept.undated))
        case TimeBase.LAST_USED:
            return _one(facts.last_used_at) or missing
        case TimeBase.CONTRACT_ENDED:
            return _one(facts.contract_ends_at) or missing
        case TimeBase.RETIRED:
            if facts.state is not State.RETIRED:
                return None
            known = Base(facts.changed_at, facts.changed_at, substituted=True)
            return _one(facts.retired_at) or (missing if missing is UNKNOWN else known)
        case _:
            return _consent_base(rule.time_base, facts, missing)


def _one(moment: datetime | None) -> Base | None:
    return None if moment is None else Base(moment, moment)


def _consent_base(base: TimeBase, facts: Facts, missing: Base) -> Base | None:
    if facts.own_voice:
        return None
    people = list(facts.consents.values())
    given = [consent for each in people for consent in each]
    if base is TimeBase.CONSENT_WITHDRAWN:
        found = [_withdrawn(each) for each in people]
        # One person who withdrew is enough: the voice is theirs too.
        return _one(min((at for at in found if at is not None), default=None))
    if not given or not all(people):
        return missing
    if base is TimeBase.CONSENT_GIVEN:
        return _one(min(max(c.received_at for c in each) for each in people))
    ends = [_ended(each) for each in people]
    return _one(min((at for at in ends if at is not None), default=None))


def _standing(given: Sequence[Consent]) -> list[Consent]:
    """Return the consents that count; one from before a withdrawal, or one that was renewed, does not."""
    last = max((c.withdrawn_at for c in given if c.withdrawn_at is not None), default=None)
    renewed = {c.renews_uid for c in given}
    return [
        c
        for c in given
        if c.withdrawn_at is None and c.uid not in renewed and (last is None or c.received_at > last)
    ]


def _withdrawn(given: Sequence[Consent]) -> datetime | None:
    if _standing(given):
        return None
    return max((c.withdrawn_at for c in given if c.withdrawn_at is not None), default=None)


def _ended(given: Sequence[Consent]) -> datetime | None:
    """Return when one person's consents ended or will end; None for those without an end."""
    valid = _standing(given)
    if not valid:
        return _withdrawn(given)
    ends = [c.valid_until for c in valid]
    return None if None in ends else max(end for end in ends if end is not None)


def facts_of(voice: Voice, artifacts: Sequence[Artifact], consents: Mapping[str, Sequence[Consent]]) -> Facts:
    """Put together what the rules may know about a voice whose rows, of every version, are here already."""
    return Facts(
        uid=voice.uid,
        state=voice.state,
        owner=voice.owner,
        own_voice=voice.own_voice,
        registered_at=voice.created_at,
        changed_at=voice.changed_at,
        last_used_at=voice.last_used_at,
        retired_at=voice.retired_at,
        contract_ends_at=voice.contract_ends_at,
        consents=consents,
        kept=kept_of(artifacts),
    )


def kept_of(artifacts: Sequence[Artifact]) -> list[Kept]:
    """Return what is still there, by class."""
    classes: dict[DataClass, list[Artifact]] = {}
    for artifact in artifacts:
        if artifact.present:
            classes.setdefault(artifact.data_class, []).append(artifact)
    return [
        Kept(
            data_class=data_class,
            count=len(mine),
            size_bytes=sum(each.size_bytes for each in mine),
            registered=_span([each.added_at for each in mine]),
            recorded=_span([each.recorded_at or each.added_at for each in mine]),
            undated=sum(each.recorded_at is None for each in mine),
        )
        for data_class, mine in sorted(classes.items())
    ]


def _span(moments: Sequence[datetime]) -> Span:
    return Span(min(moments), max(moments))


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """Return a time zone that was checked when its policy was read."""
    return UTC if name == "UTC" else ZoneInfo(name)


def local_day(moment: datetime, timezone: str) -> date:
    """Return the day of a moment in a policy's zone."""
    return moment.astimezone(zone_of(timezone)).date()
