"""One voice's rows as the plain facts that the rules of the audit judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from lifecycle.domain.policies import Policy
from lifecycle.domain.time_bases import facts_of
from lifecycle.domain.voices import Artifact, Role
from lifecycle.registry.queries.audits import Looked
from lifecycle.registry.queries.cases import CaseRow
from lifecycle.services.guard import holding
from lifecycle.verification.plan import Way, loader_of, subject_of
from lifecycle.watch.snapshot import Damage, DueCase, VoiceFacts

_SHORT = 12
_HELD = frozenset({Role.AUDIO, Role.REFERENCE})


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of few voices, fetched once for all.

    Attributes:
        damaged: Digest -> "changed" or "missing", of every stored file that is not what it was.
        cases: Open cases by the id of a voice that they concern.
        reviews: Days by which holds over a voice must be looked at again.
        policies_lost: What is wrong with the policies that cannot be read, by name.
    """

    damaged: Mapping[str, str] = field(default_factory=dict)
    cases: Mapping[str, Sequence[CaseRow]] = field(default_factory=dict)
    reviews: Mapping[str, Sequence[date]] = field(default_factory=dict)
    policies_lost: Mapping[str, str] = field(default_factory=dict)


def voice_facts(
    looked: Looked, policy: Policy, *, now: datetime, context: Context | None = None
) -> VoiceFacts:
    """Return what the rules know of a voice."""
    around = context or Context()
    voice, artifacts = looked.voice, looked.current
    subject = subject_of(artifacts)
    held = [artifact.added_at for artifact in artifacts if artifact.role in _HELD]
    weights = [artifact for artifact in artifacts if artifact.role is Role.WEIGHTS]
    speaks = subject.way is Way.SPEAK and subject.speaker is not None
    given = looked.consents
    return VoiceFacts(
        name=voice.name,
        state=voice.state,
        policy=policy,
        policy_lost=around.policies_lost.get(voice.policy, ""),
        registered_at=voice.created_at,
        mute=voice.mute,
        owner=voice.owner,
        own_voice=voice.own_voice,
        subjects=len(voice.subject_uids),
        recordings_since=min(held, default=None),
        consents=[consent for mine in given.values() for consent in mine],
        consented=voice.own_voice or all(holding(mine, now, "speak") for mine in given.values()),
        damage=_damage(looked.artifacts, around.damaged) if around.damaged else (),
        checked=looked.checked,
        golden="none" if not speaks else "pending" if subject.golden is None else "recorded",
        checkable=subject.way is not Way.NOTHING,
        unfinished_purge=looked.unfinished,
        lock=_lock(artifacts),
        lock_lost=_lock_lost(artifacts),
        image=any(artifact.role is Role.IMAGE for artifact in artifacts),
        export=any(artifact.role is Role.EXPORT for artifact in artifacts),
        pickled_only=bool(weights) and all(loader_of(artifact.kind) == "checkpoint" for artifact in weights),
        retention=facts_of(voice, looked.artifacts, given),
        cases=[
            DueCase(row.case.uid[:_SHORT], row.pseudonym, row.case.due_on)
            for row in around.cases.get(voice.uid, ())
        ],
        hold_reviews=around.reviews.get(voice.uid, ()),
    )


def _damage(artifacts: Sequence[Artifact], damaged: Mapping[str, str]) -> list[Damage]:
    told = [(artifact.role.value, damaged.get(str(artifact.digest))) for artifact in artifacts]
    return [Damage(role, state) for role, state in told if state is not None]


def _lock_lost(artifacts: Sequence[Artifact]) -> list[str]:
    """What the last check of the newest lock could not have; it is stored, and no index is asked now."""
    newest = next((a for a in reversed(artifacts) if a.role is Role.LOCKFILE), None)
    told = None if newest is None else newest.facts.get("resolves")
    if not isinstance(told, Mapping) or told.get("verdict") not in {"broken", "differs"}:
        return []
    return [str(package) for package in told.get("packages", ())]


def _lock(artifacts: Sequence[Artifact]) -> str:
    """What the newest lock fixes; those before it are history."""
    newest = next((a.facts for a in reversed(artifacts) if a.role is Role.LOCKFILE), None)
    if newest is None:
        return "none"
    pinned = newest.get("pinned")
    return "full" if pinned is not None and pinned == newest.get("packages") else "partial"
