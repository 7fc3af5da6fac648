"""Look at every voice, find what is at risk, and remember what was found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from lifecycle.bootstrap import Rooms
from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UsageError
from lifecycle.domain.filters import ALL, GROUPS, VoiceFilter
from lifecycle.domain.policies import Policy
from lifecycle.domain.risks import Severity
from lifecycle.domain.time_bases import facts_of
from lifecycle.domain.verdicts import Row
from lifecycle.domain.voices import Artifact, Role, State, Voice
from lifecycle.registry.queries.risks import AcceptedRow
from lifecycle.services.audit_report import AuditReport, Scrub, Scrubbed
from lifecycle.services.guard import holding
from lifecycle.services.policy import load_policies, policy_home
from lifecycle.verification.plan import Way, loader_of, subject_of
from lifecycle.watch.report import FAIL_ON, Finding, Tally, exit_code, weigh
from lifecycle.watch.rules import RISKS, find_risks
from lifecycle.watch.snapshot import Accepted, Damage, DueCase, Snapshot, VoiceFacts

__all__ = ["AcceptedRisk", "AuditReport", "Scrub", "Scrubbed", "accept", "audit", "mark_notified"]

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork

_SHORT = 12
_HELD = frozenset({Role.AUDIO, Role.REFERENCE})


@dataclass(frozen=True, slots=True)
class AcceptedRisk:
    """A risk that somebody accepted."""

    risk: str
    voice: str | None
    until: datetime

    def to_json(self) -> Mapping[str, object]:
        """Return the acceptance for programs."""
        return {
            "risk": self.risk,
            "voice": self.voice,
            "until": self.until.isoformat().replace("+00:00", "Z"),
        }


def audit(
    *,
    rooms: Rooms,
    commands: Collection[str],
    fail_on: str = "warning",
    only_new: bool = False,
    scheduled: bool = False,
    filter: VoiceFilter = ALL,  # noqa: A002 - what it is called everywhere
    group_by: str | None = None,
    scrub: Scrub | str = Scrub.ALL,
) -> AuditReport:
    """Hash stored files again, apply every rule, and put the numbers on the trail.

    Args:
        commands: Every command that exists; a risk whose cure is none of them is not reported.
        fail_on: "critical", "warning" or "never": from which severity on the exit code is 10 or 11.
        only_new: List only what no audit found before.
        scheduled: Like `only_new`, and say nothing where nothing is new.
        filter: Look at these voices only.
        group_by: One of `lifecycle.domain.filters.GROUPS`: count by that as well.
        scrub: "all" reads every stored file again, "due" those whose turn it is, "none" none.

    Raises:
        UsageError: `fail_on`, `group_by` or `scrub` is another word.
    """
    if fail_on not in FAIL_ON:
        raise UsageError(f'--fail-on is "{fail_on}"; it can be {", ".join(FAIL_ON)}', hint="vlm audit --help")
    if group_by is not None and group_by not in GROUPS:
        raise UsageError(
            f'"{group_by}" is nothing to group by; {", ".join(GROUPS)} are', hint="vlm audit --help"
        )
    begun = rooms.clock()
    with rooms.registry.read() as uow:
        voices = uow.voices.all(states=(State.ACTIVE, State.DEPRECATED, State.RETIRED))
        voices = [voice for voice in voices if filter.matches(voice)]
        artifacts = {voice.uid: uow.voices.artifacts(voice.uid) for voice in voices}
        damaged = _damaged([a for mine in artifacts.values() for a in mine], rooms)
        snapshot = _snapshot(voices, artifacts, damaged, uow=uow, rooms=rooms, commands=commands)
        known = _known(uow, {voice.uid: voice.name for voice in voices})
    findings = tuple(weigh(find_risks(snapshot), snapshot, known=known))
    listed = tuple(f for f in findings if not f.accepted and (f.new or not (only_new or scheduled)))
    if rooms.writable:
        _remember(findings, {voice.name: voice.uid for voice in voices}, rooms, scheduled=scheduled)
    return AuditReport(
        findings=findings,
        listed=listed,
        tallies=_tallies(findings, listed),
        voices=len(voices),
        seconds=(rooms.clock() - begun).total_seconds(),
        at=begun,
        code=exit_code(listed, fail_on=fail_on),
        accepted_until=min((a.until for a in snapshot.accepted), default=None),
        quiet=scheduled and not any(f.risk.severity is not Severity.NOTICE for f in listed),
        scrubbed=Scrubbed(Scrub(scrub)),
        filter=filter,
        group_by=group_by,
    )


def _tallies(findings: Sequence[Finding], listed: Sequence[Finding]) -> tuple[Tally, ...]:
    tallies: dict[tuple[str, Severity], Tally] = {}
    for f in findings:
        key = (f.risk.risk, f.risk.severity)
        old = tallies.get(key, Tally(*key, found=0, accepted=0, new=0, reported=0))
        tallies[key] = replace(
            old,
            found=old.found + 1,
            accepted=old.accepted + f.accepted,
            new=old.new + (f.new and not f.accepted),
            reported=old.reported + (f in listed),
            message=f.risk.message,
            next=f.risk.next,
        )
    return tuple(tallies.values())


def mark_notified(findings: Sequence[Finding], *, rooms: Rooms) -> None:
    """Note that somebody was told of findings, so that no later audit calls them untold."""


def accept(
    risk: str, name: str | None, *, until: date, reason: str, rooms: Rooms, dry_run: bool = False
) -> AcceptedRisk:
    """Accept a risk until the end of a day; it is counted from then on and not listed.

    Args:
        risk: A word of `RISKS`.
        name: The voice; None for every voice.
        until: The last day, in UTC.
        reason: Why; kept sealed.

    Raises:
        UsageError: The risk is unknown, the day is past, or there is no reason.
        NotFound: There is no such voice.
    """
    if risk not in RISKS:
        raise UsageError(f'"{risk}" is not a risk', hint=f"one of: {', '.join(RISKS)}")
    end = datetime.combine(until, time(23, 59, 59), UTC)
    if end <= rooms.clock():
        raise UsageError(f"{until} is past", hint=f"vlm audit accept {risk} --until DATE --reason TEXT")
    if not reason.strip():
        raise UsageError(
            "an acceptance needs a reason", hint=f"vlm audit accept {risk} --until DATE --reason TEXT"
        )
    accepted = AcceptedRisk(risk, name, end)
    with rooms.registry.read() as uow:
        uid = None if name is None else uow.voices.get(name).uid
    if dry_run:
        return accepted
    row = AcceptedRow(
        uid=rooms.new_uid(),
        risk=risk,
        voice_uid=uid,
        until=end,
        reason=rooms.vault.keys.seal_text(None, reason),
        at=rooms.clock(),
    )
    with rooms.registry.write() as uow:
        uow.risks.accept(row)
        uow.trail.append(
            "audit.accept",
            voice_uid=uid,
            ids={"acceptance": row.uid},
            details={"risk": risk, "until": until.isoformat(), "reason": reason},
        )
        uow.commit()
    return accepted


def _damaged(artifacts: Sequence[Artifact], rooms: Rooms) -> dict[Digest, str]:
    """Hash every blob once; only hashes are believed, never sizes or times."""
    sizes = {artifact.digest: artifact.size_bytes for artifact in artifacts}
    step = rooms.progress.step("audit", sum(sizes.values()), "bytes")
    damaged = {}
    for digest, size in sizes.items():
        if not rooms.vault.blobs.exists(digest):
            damaged[digest] = "missing"
        elif not rooms.vault.blobs.verify(digest):
            damaged[digest] = "changed"
        step.advance(size)
    step.done("")
    return damaged


def _snapshot(
    voices: Sequence[Voice],
    artifacts: Mapping[str, Sequence[Artifact]],
    damaged: Mapping[Digest, str],
    *,
    uow: UnitOfWork,
    rooms: Rooms,
    commands: Collection[str],
) -> Snapshot:
    policies = load_policies({voice.policy for voice in voices}, own=policy_home(rooms))
    checked: dict[str, list[Row]] = {}
    for row in uow.verdicts.latest():
        checked.setdefault(row.version_uid, []).append(row)
    unfinished = {purge.voice_uid for purge in uow.purges.all_open()}
    cases, reviews = uow.cases.open_by_voice(), uow.cases.reviews_by_voice()
    names = {voice.uid: voice.name for voice in voices}
    facts, now = [], rooms.clock()
    for voice in voices:
        version = uow.voices.current(voice.uid)
        mine = [a for a in artifacts[voice.uid] if a.version_uid in {None, version.uid}]
        one = _facts(voice, mine, policies[voice.policy], checked.get(version.uid, ()), uow=uow, now=now)
        given = {uid: uow.subjects.consents(uid, voice_uid=voice.uid) for uid in voice.subject_uids}
        damage = [
            Damage(a.role.value, damaged[a.digest]) for a in artifacts[voice.uid] if a.digest in damaged
        ]
        facts.append(
            replace(
                one,
                damage=damage,
                unfinished_purge=voice.uid in unfinished,
                cases=[
                    DueCase(c.case.uid[:_SHORT], c.pseudonym, c.case.due_on) for c in cases.get(voice.uid, ())
                ],
                hold_reviews=reviews.get(voice.uid, ()),
                retention=facts_of(voice, artifacts[voice.uid], given),
            )
        )
    return Snapshot(
        voices=facts,
        now=now,
        default_torch=rooms.settings.default_torch,
        commands=commands,
        runtimes=[runtime.torch for runtime in rooms.runtimes.list()],
        highest_seen=rooms.vault.anchor.highest_time,
        accepted=[
            Accepted(row.risk, None if row.voice_uid is None else names.get(row.voice_uid, ""), row.until)
            for row in uow.risks.accepted(now=now)
        ],
    )


def _facts(
    voice: Voice,
    artifacts: Sequence[Artifact],
    policy: Policy,
    checked: Iterable[Row],
    *,
    uow: UnitOfWork,
    now: datetime,
) -> VoiceFacts:
    subject = subject_of(artifacts)
    held = [artifact.added_at for artifact in artifacts if artifact.role in _HELD]
    weights = [artifact for artifact in artifacts if artifact.role is Role.WEIGHTS]
    speaks = subject.way is Way.SPEAK and subject.speaker is not None
    given = {uid: uow.subjects.consents(uid, voice_uid=voice.uid) for uid in voice.subject_uids}
    return VoiceFacts(
        name=voice.name,
        state=voice.state,
        policy=policy,
        registered_at=voice.created_at,
        mute=voice.mute,
        owner=voice.owner,
        own_voice=voice.own_voice,
        subjects=len(voice.subject_uids),
        recordings_since=min(held, default=None),
        consents=[consent for mine in given.values() for consent in mine],
        consented=voice.own_voice or all(holding(mine, now) for mine in given.values()),
        checked=list(checked),
        golden="none" if not speaks else "pending" if subject.golden is None else "recorded",
        checkable=subject.way is not Way.NOTHING,
        lock=_lock(artifacts),
        lock_lost=_lock_lost(artifacts),
        image=any(artifact.role is Role.IMAGE for artifact in artifacts),
        export=any(artifact.role is Role.EXPORT for artifact in artifacts),
        pickled_only=bool(weights) and all(loader_of(artifact.kind) == "checkpoint" for artifact in weights),
    )


def _lock_lost(artifacts: Sequence[Artifact]) -> list[str]:
    """What the last check of the newest lock could not have; it is stored, and no index is asked now."""
    newest = next((a for a in reversed(artifacts) if a.role is Role.LOCKFILE), None)
    told = None if newest is None else newest.facts.get("resolves")
    if not isinstance(told, Mapping) or told.get("verdict") not in {"broken", "differs"}:
        return []
    return [str(package) for package in told.get("packages", ())]


def _lock(artifacts: Sequence[Artifact]) -> str:
    locks = [artifact.facts for artifact in artifacts if artifact.role is Role.LOCKFILE]
    if not locks:
        return "none"
    return "full" if any(facts.get("pinned") == facts.get("packages") for facts in locks) else "partial"


def _known(uow: UnitOfWork, names: Mapping[str, str]) -> set[str]:
    """Return the keys of what the previous audit found; its event names voices by their random ids."""
    sequence = uow.risks.last_audit()
    last = None if sequence is None else next(uow.trail.stored(start=sequence), None)
    told = None if last is None else uow.trail.details(last)
    if told is None:
        return set()
    known = set()
    for entry in told.get("findings", ()):
        uid, _, rest = str(entry).partition("/")
        known.add(f"{names.get(uid, '')}/{rest}")
    return known


def _remember(findings: Sequence[Finding], uids: Mapping[str, str], rooms: Rooms, *, scheduled: bool) -> None:
    found = [
        f"{uids.get(f.risk.voice, '')}/{f.risk.risk}/{f.risk.severity}" for f in findings if not f.accepted
    ]
    with rooms.registry.write() as uow:
        uow.trail.append("audit", details={"findings": sorted(set(found)), "scheduled": scheduled})
        uow.commit()
