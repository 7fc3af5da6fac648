"""Looks at the voices: the registry says which could be at risk, the rules decide, notices are counted.

A voice that no condition of `registry/queries/candidates.py` names costs nothing; the others are fetched a few
hundred at a time and judged by the same rules as ever, so that an audit of a million voices stays within its memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.policies import Policy
from lifecycle.domain.progress import Progress, Silent
from lifecycle.domain.risks import Risk, Severity
from lifecycle.registry.queries.audits import Looked
from lifecycle.registry.queries.candidates import Kinds
from lifecycle.registry.queries.findings import Known
from lifecycle.registry.queries.notice_counts import Asked, Counted
from lifecycle.registry.queries.risks import AcceptedRow
from lifecycle.services.audits.facts import Context, voice_facts
from lifecycle.verification.plan import OURS, SPEAKER, beginnings
from lifecycle.watch.report import Finding, Section, Tally
from lifecycle.watch.rules import MACHINE, gravity, machine_risks, notices_of, risks_of
from lifecycle.watch.snapshot import Snapshot

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork

KINDS = Kinds(OURS, SPEAKER, *beginnings("checkpoint"))
Key = tuple[str, str]
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Question:
    """What one audit asks.

    Attributes:
        snapshot: The moment, the machine, and the commands that exist; no voices.
        policies_lost: What is wrong with those that cannot be read, by name.
        damaged: Digest -> "changed" or "missing".
        limit: So many findings of one risk and severity are listed one by one.
    """

    snapshot: Snapshot
    policies: Mapping[str, Policy]
    policies_lost: Mapping[str, str]
    accepted: Sequence[AcceptedRow]
    damaged: Mapping[str, str]
    wanted: VoiceFilter
    only_new: bool
    group_by: str | None
    limit: int


@dataclass(slots=True)
class _Number:
    found: int = 0
    accepted: int = 0
    new: int = 0
    reported: int = 0


@dataclass(slots=True)
class Answer:
    """What was found, while it is gathered.

    Attributes:
        numbers: Exact, by risk and severity.
        listed: What the report is about, up to the bound; `others` are accepted or known findings, up to it too.
        new: Voices (rows; -1 for none in particular) of which something is to be remembered.
        seen: Rows of the memory that are found again.
        notices: What is to be remembered of each notice.
    """

    limit: int
    voices: int = 0
    numbers: dict[Key, _Number] = field(default_factory=dict)
    listed: dict[Key, list[Finding]] = field(default_factory=dict)
    others: dict[Key, list[Finding]] = field(default_factory=dict)
    new: dict[Key, array[int]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    notices: list[tuple[Asked, Counted]] = field(default_factory=list)
    groups: dict[str | None, list[int]] = field(default_factory=dict)
    in_groups: dict[str | None, int] = field(default_factory=dict)

    def keep(self, finding: Finding, *, reported: bool) -> None:
        """Keep a finding to be listed, while there is room."""
        where = self.listed if reported else self.others
        mine = where.setdefault(_key(finding.risk), [])
        if len(mine) < self.limit:
            mine.append(finding)

    def count(self, finding: Finding, *, reported: bool) -> None:
        """Count a finding."""
        number = self.numbers.setdefault(_key(finding.risk), _Number())
        number.found += 1
        number.accepted += finding.accepted
        number.new += finding.new and not finding.accepted
        number.reported += reported

    def findings(self) -> list[Finding]:
        """Return everything that is listed one by one, worst first."""
        every = [f for where in (self.listed, self.others) for mine in where.values() for f in mine]
        return sorted(every, key=lambda finding: gravity(finding.risk))

    def reported(self) -> list[Finding]:
        """Return what the report is about and is listed one by one, worst first."""
        return sorted(
            (f for mine in self.listed.values() for f in mine), key=lambda finding: gravity(finding.risk)
        )

    def tallies(self) -> list[Tally]:
        """Return the exact numbers, worst first."""
        found = []
        for key, number in self.numbers.items():
            listed = self.listed.get(key, [])
            example = next(iter([*listed, *self.others.get(key, [])]), None)
            risk = Risk("", key[0], Severity(key[1]), "", "") if example is None else example.risk
            tally = Tally(
                risk=key[0],
                severity=Severity(key[1]),
                found=number.found,
                accepted=number.accepted,
                new=number.new,
                reported=number.reported,
                not_listed=number.reported - len(listed),
                message=risk.message,
                next=risk.next,
            )
            found.append((gravity(Risk("", key[0], Severity(key[1]), "", "")), tally))
        return [tally for _, tally in sorted(found, key=lambda each: each[0])]

    def sections(self) -> list[Section]:
        """Return the numbers by group, those without one last."""
        ordered = sorted(self.in_groups, key=lambda key: (key is None, key or ""))
        return [Section(key, self.in_groups[key], *self.groups.get(key, [0, 0, 0])) for key in ordered]


def look(question: Question, *, uow: UnitOfWork, progress: Progress | None = None) -> Answer:
    """Find the risks of the voices that are meant."""
    answer = Answer(question.limit, voices=uow.audits.count(question.wanted))
    if question.group_by is not None:
        answer.in_groups = uow.audits.grouped(question.wanted, question.group_by)
    _machine(question, answer, uow=uow)
    wanted = _notices(question, answer, uow=uow) | suspects(question, uow=uow)
    _voices(sorted(wanted), question, answer, uow=uow, progress=progress or Silent())
    return answer


def suspects(question: Question, *, uow: UnitOfWork) -> set[int]:
    """Return every voice of which the rules could find more than a notice, and some others."""
    found = uow.audits.suspects(
        question.wanted,
        question.policies.values(),
        now=question.snapshot.now,
        kinds=KINDS,
        runtimes=bool(question.snapshot.runtimes),
    )
    found |= uow.audits.under(question.policies_lost, question.wanted)
    return found | uow.audits.holders(question.damaged, question.wanted)


def note(question: Question, answer: Answer, *, uow: UnitOfWork) -> None:
    """Remember what was found, and forget what no longer is."""
    told = set(uow.findings.of_voices(question.wanted, without=[Severity.NOTICE.value]))
    told |= {known.id for (_, risk, _), known in uow.findings.of_none().items() if risk in MACHINE}
    uow.findings.forget(told - answer.seen)
    now = question.snapshot.now
    for (risk, severity), voices in answer.new.items():
        uow.findings.remember(risk, severity, (None if row < 0 else row for row in voices), at=now)
    for asked, counted in answer.notices:
        uow.notice_counts.remember(asked, counted, at=now)


def _machine(question: Question, answer: Answer, *, uow: UnitOfWork) -> None:
    known = uow.findings.of_none()
    for risk in machine_risks(question.snapshot):
        _take(risk, None, question, answer, known=known)


def _notices(question: Question, answer: Answer, *, uow: UnitOfWork) -> set[int]:
    """Count the notices, and return the voices whose notices are listed."""
    wanted: set[int] = set()
    accepted = _accepted(question.accepted)
    policy = next(iter(question.policies.values()), None)
    for word in [] if policy is None else notices_of(question.snapshot, policy):
        mine = accepted.get(word, set())
        asked = Asked(
            word=word,
            wanted=question.wanted,
            kinds=KINDS,
            accepted=None if None in mine else {uid for uid in mine if uid is not None},
            limit=question.limit,
            only_new=question.only_new,
            group_by=question.group_by,
        )
        counted = uow.notice_counts.count(asked)
        answer.notices.append((asked, counted))
        if not counted.found:
            continue
        reported = counted.new if question.only_new else counted.found - counted.accepted
        answer.numbers[word, Severity.NOTICE.value] = _Number(
            counted.found, counted.accepted, counted.new, reported
        )
        for group, number in counted.by_group.items():
            answer.groups.setdefault(group, [0, 0, 0])[2] += number
        wanted |= counted.ids
    return wanted


def _voices(
    ids: Sequence[int], question: Question, answer: Answer, *, uow: UnitOfWork, progress: Progress
) -> None:
    step = progress.step("look", len(ids), "voices")
    context = Context(
        question.damaged,
        uow.cases.open_by_voice(),
        uow.cases.reviews_by_voice(),
        question.policies_lost,
    )
    folds = {asked.word: counted.fold for asked, counted in answer.notices if counted.fold is not None}
    for start in range(0, len(ids), _BATCH):
        part = ids[start : start + _BATCH]
        known = uow.findings.of(part)
        for looked in uow.audits.look(part):
            facts = voice_facts(
                looked,
                question.policies[looked.voice.policy],
                now=question.snapshot.now,
                context=context,
            )
            for risk in risks_of(facts, question.snapshot):
                _take(risk, looked, question, answer, known=known, folds=folds)
        step.advance(len(part))
    step.done("")


def _take(
    risk: Risk,
    looked: Looked | None,
    question: Question,
    answer: Answer,
    *,
    known: Mapping[tuple[int | None, str, str], Known],
    folds: Mapping[str, Known] | None = None,
) -> None:
    """Weigh one finding: accepted or not, known or new; count it, list it, and note what to remember of it."""
    severity, voice = risk.severity.value, None if looked is None else looked.id
    counted_apart = looked is not None and risk.severity is Severity.NOTICE
    before = known.get((voice, risk.risk, severity))
    if before is None and counted_apart:
        before = (folds or {}).get(risk.risk)
    accepted = _lived_with(risk, looked, question)
    finding = Finding(
        risk,
        accepted=accepted,
        new=before is None,
        owner=None if looked is None else looked.voice.owner,
        since=question.snapshot.now if before is None else before.since,
        notified_at=None if before is None else before.notified_at,
    )
    reported = not accepted and (finding.new or not question.only_new)
    answer.keep(finding, reported=reported)
    if counted_apart:
        return
    answer.count(finding, reported=reported)
    if reported and looked is not None and question.group_by is not None:
        for group in _groups(looked, question.group_by):
            answer.groups.setdefault(group, [0, 0, 0])[list(Severity).index(risk.severity)] += 1
    if accepted:
        return
    if before is not None:
        answer.seen.add(before.id)
    else:
        answer.new.setdefault(_key(risk), array("q")).append(-1 if voice is None else voice)


def _lived_with(risk: Risk, looked: Looked | None, question: Question) -> bool:
    uid = None if looked is None else looked.voice.uid
    return any(row.risk == risk.risk and row.voice_uid in {None, uid} for row in question.accepted)


def _accepted(rows: Iterable[AcceptedRow]) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for row in rows:
        found.setdefault(row.risk, set()).add(row.voice_uid)
    return found


def _groups(looked: Looked, by: str) -> Collection[str | None]:
    voice = looked.voice
    if by == "subject":
        return looked.people or (None,)
    words = {
        "owner": voice.owner,
        "state": voice.state.value,
        "upstream": voice.upstream,
        "policy": voice.policy,
    }
    return (words[by] or None,)


def _key(risk: Risk) -> Key:
    return risk.risk, risk.severity.value
