"""The rules of the audit: each looks at one voice and says what is wrong and what to do first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from lifecycle.domain.policies import Action, Policy, TimeBase
from lifecycle.domain.retention import decisions, last_day, strongest
from lifecycle.domain.risks import Risk, Severity
from lifecycle.domain.subjects import holding
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import State
from lifecycle.watch import promises as promise_rules
from lifecycle.watch.snapshot import CLOCK_AHEAD, Snapshot, VoiceFacts

#: Every word that an audit may find, for `vlm audit accept` and the documents.
RISKS: dict[str, str] = {
    "hash-drift": "a stored file changed on disk",
    "missing-artifact": "a stored file is gone",
    "recordings-without-subject": "recordings are held and nobody knows of whom",
    "recordings-without-consent": "recordings are held without a consent",
    "consent-expired": "recordings are held after the consent ended",
    "consent-withdrawn": "recordings are held after the consent was withdrawn",
    "broken": "the voice is broken on a runtime; critical on the default one",
    "clock": "the time of day is not plausible",
    "differs": "the voice says something else than it did",
    **promise_rules.RISKS,
    "consent-due-soon": "a consent ends soon",
    "recordings-past-policy": "recordings are held longer than the policy allows",
    "past-policy": "the policy says that it is time to retire or erase the voice, or to decide",
    "no-policy": "its policy cannot be read, so nothing is due by it",
    "not-verified": "no verdict for longer than the policy allows",
    "golden-pending": "there is nothing yet to compare the voice with",
    "unfinished-purge": "a purge was begun and not finished",
    "no-image": "no image is fixed",
    "lock-unresolvable": "a package of its lock can no longer be had as the wheel that it names",
    "no-lock": "the versions of its packages are not fixed",
    "no-export": "there is no export that runs without its own code",
    "no-owner": "nobody is named who answers for it",
    "pickled-only": "its weights are kept as pickles only",
    "keys-single-copy": "the keys have no second copy",
    "keys-copy-old": "the copy of the keys is from before a purge",
    "backup-stale": "the last backup is old",
}

#: What is found of no voice in particular.
MACHINE = frozenset({"clock", "keys-single-copy", "keys-copy-old", "backup-stale"})

Rule = Callable[[VoiceFacts, Snapshot], Iterator[Risk]]


def find_risks(snapshot: Snapshot) -> list[Risk]:
    """Return every risk whose cure is a command that exists, worst first, accepted ones included."""
    found = [risk for voice in snapshot.voices for risk in risks_of(voice, snapshot)]
    return sorted([*machine_risks(snapshot), *found], key=gravity)


def machine_risks(snapshot: Snapshot) -> list[Risk]:
    """Return the risks of no voice in particular, whose cure is a command that exists."""
    return _curable([*_clock(snapshot), *_copies(snapshot)], snapshot)


def risks_of(voice: VoiceFacts, snapshot: Snapshot) -> list[Risk]:
    """Return the risks of one voice whose cure is a command that exists.

    Whoever adds a rule widens `lifecycle/registry/queries/candidates.py` too: an audit of very many voices only
    looks at those that are named there.
    """
    return [risk for rule in _RULES for risk in _curable(rule(voice, snapshot), snapshot)]


def _curable(risks: Iterable[Risk], snapshot: Snapshot) -> list[Risk]:
    return [risk for risk in risks if command_of(risk.next) in snapshot.commands]


_GRAVITY = {severity: number for number, severity in enumerate(Severity)}
_WORDS = {word: number for number, word in enumerate(RISKS)}


def gravity(risk: Risk) -> tuple[int, int, str]:
    """Return what risks are sorted by: the worst first."""
    return _GRAVITY[risk.severity], _WORDS[risk.risk], risk.voice


def notices_of(snapshot: Snapshot, policy: Policy) -> list[str]:
    """Return the words of notices whose cure is a command that exists."""
    bare = VoiceFacts("name", State.ACTIVE, policy, snapshot.now, pickled_only=True)
    return [risk.risk for risk in _curable(_notices(bare, snapshot), snapshot)]


def command_of(line: str) -> str:
    """Return the command of a line: "vlm golden record" of `vlm golden record kol-a --torch 2.13`."""
    words = re.match(r"vlm(?: [a-z][a-z-]*)+", line)
    if words is None:
        return line
    parts = words.group().split()
    return " ".join(parts[:3] if len(parts) > 2 and parts[1] in _GROUPS else parts[:2])


_GROUPS = frozenset(
    {
        "golden",
        "audit",
        "image",
        "trail",
        "runtime",
        "config",
        "certificate",
        "policy",
        "archive",
        "subject",
        "backup",
    }
)


def _copies(snapshot: Snapshot) -> Iterator[Risk]:
    """Say what is missing of second copies, where anything is sealed that would be lost."""
    for word, what, cure in snapshot.copies:
        yield Risk("", word, Severity.NOTICE, what, cure)


def _clock(snapshot: Snapshot) -> Iterator[Risk]:
    seen = snapshot.highest_seen
    if seen is None:
        return
    if snapshot.now < seen:
        what = f"the clock says {_day(snapshot.now)} but {_minute(seen)} was already seen"
    elif snapshot.now - seen > CLOCK_AHEAD:
        days = (snapshot.now - seen).days
        what = f"the clock is {days} days ahead of the last use"
    else:
        return
    yield Risk("", "clock", Severity.CRITICAL if snapshot.now < seen else Severity.NOTICE, what, "vlm doctor")


def _damage(voice: VoiceFacts, _snapshot: Snapshot) -> Iterator[Risk]:
    for damage in voice.damage:
        risk = "missing-artifact" if damage.state == "missing" else "hash-drift"
        role = damage.role
        what = f"{role} is gone from the store" if damage.state == "missing" else f"{role} changed on disk"
        yield Risk(voice.name, risk, Severity.CRITICAL, what, _mending(voice.name, role))


def _recordings(voice: VoiceFacts, snapshot: Snapshot) -> Iterator[Risk]:
    """Recordings need a person and a consent that holds; one's own voice needs neither."""
    if voice.recordings_since is None:
        return
    purge = f"vlm retire {voice.name} --purge-audio"
    if voice.own_voice:
        return
    if voice.subjects == 0:
        what = "recordings are held and nobody knows of whom"
        yield Risk(voice.name, "recordings-without-subject", Severity.CRITICAL, what, purge)
        return
    if not voice.consents:
        what = "recordings are held without a consent"
        yield Risk(voice.name, "recordings-without-consent", Severity.CRITICAL, what, purge)
        return
    yield from _consent(voice, snapshot, purge)


def _consent(voice: VoiceFacts, snapshot: Snapshot, purge: str) -> Iterator[Risk]:
    """A withdrawal ends every consent that came before it; otherwise the one that lasts longest counts."""
    now = snapshot.now
    withdrawn = [
        c.withdrawn_at for c in voice.consents if c.withdrawn_at is not None and c.withdrawn_at <= now
    ]
    last = max(withdrawn, default=None)
    valid = holding(voice.consents, now)
    if not valid:
        ends = [c.valid_until for c in voice.consents if c.valid_until is not None and c.withdrawn_at is None]
        if last is not None and all(last >= c.received_at for c in voice.consents):
            what = f"consent was withdrawn {_day(last)}, recordings still held"
            yield Risk(voice.name, "consent-withdrawn", Severity.CRITICAL, what, purge)
            return
        since = f" {_day(max(ends))}" if ends else ""
        yield Risk(
            voice.name,
            "consent-expired",
            Severity.CRITICAL,
            f"consent expired{since}, recordings still held",
            purge,
        )
        return
    if any(c.valid_until is None for c in valid):
        return
    end = max(c.valid_until for c in valid if c.valid_until is not None)
    left = (end - now).days
    if left < voice.policy.consent_due_days:
        renew = f"vlm register {voice.name} --consent FILE --consent-until DATE"
        what = f"consent ends {_day(end)}, in {left} day{'s' if left != 1 else ''}"
        yield Risk(voice.name, "consent-due-soon", Severity.WARNING, what, renew)


def _policy(voice: VoiceFacts, snapshot: Snapshot) -> Iterator[Risk]:
    """What the policy says is due; that a consent is over is told by a graver risk already."""
    policy, told = voice.policy, set()
    if voice.policy_lost:
        gone = voice.policy_lost == "is gone"
        cure = f"vlm register {voice.name} --policy NAME" if gone else f"vlm policy explain {policy.name}"
        what = f'policy "{policy.name}" {voice.policy_lost}, so nothing is due by it'
        yield Risk(voice.name, "no-policy", Severity.WARNING, what, cure)
    if voice.retention is None:
        return
    for each in strongest(decisions(policy, voice.retention, horizon=snapshot.now)):
        risk = "recordings-past-policy" if each.action is Action.PURGE_AUDIO else "past-policy"
        of_consent = each.rule.time_base in {TimeBase.CONSENT_ENDED, TimeBase.CONSENT_WITHDRAWN}
        if each.base is None or snapshot.now < each.delete_due or risk in told:
            continue
        if of_consent and risk == "recordings-past-policy":
            continue
        told.add(risk)
        day = last_day(each.delete_due, policy.timezone)
        thing = "recordings" if risk == "recordings-past-policy" else _DUE[each.action]
        what = f'rule "{each.rule.id}" of policy "{policy.name}": {thing} due since the end of {day}'
        yield Risk(voice.name, risk, Severity.WARNING, what, f"vlm policy plan --policy {policy.name}")


_DUE = {Action.ERASE: "erasure", Action.RETIRE: "retirement", Action.REVIEW: "a decision"}


def _verdicts(voice: VoiceFacts, snapshot: Snapshot) -> Iterator[Risk]:
    if not voice.speaks or not voice.checkable:
        return
    for row in voice.checked:
        why = f"vlm verify {voice.name} --torch {_public(row.torch)} --why"
        broken = row.verdict in {Verdict.BROKEN, Verdict.CRASHED}
        on_default = _public(row.torch) == snapshot.default_torch
        reason = f": {row.reason}" if row.reason else ""
        what = f"{row.verdict} on torch {_public(row.torch)}{reason}"
        if broken:
            severity = Severity.CRITICAL if on_default else Severity.WARNING
            yield Risk(voice.name, "broken", severity, what, why)
        elif row.verdict is Verdict.DIFFERS:
            yield Risk(voice.name, "differs", Severity.WARNING, what, why)
    yield from _stale(voice, snapshot)


def _stale(voice: VoiceFacts, snapshot: Snapshot) -> Iterator[Risk]:
    """A row counts when something ran for it, also where all that can be done is to load the file."""
    ran = [row.at for row in voice.checked if row.detail.get("ran")]
    days = (snapshot.now - max(ran, default=voice.registered_at)).days
    if days < voice.policy.verify_every_days:
        return
    what = f"not verified for {days} days" if ran else f"never verified, registered {days} days ago"
    cure = f"vlm verify {voice.name} --torch {snapshot.default_torch}"
    yield Risk(voice.name, "not-verified", Severity.WARNING, what, cure)


def _golden(voice: VoiceFacts, snapshot: Snapshot) -> Iterator[Risk]:
    if voice.speaks and voice.golden == "pending" and snapshot.runtimes:
        what = "no golden yet: there is nothing to compare it with"
        yield Risk(voice.name, "golden-pending", Severity.WARNING, what, f"vlm golden record {voice.name}")


def _purge(voice: VoiceFacts, _snapshot: Snapshot) -> Iterator[Risk]:
    if voice.unfinished_purge:
        what = "a purge was begun and not finished"
        yield Risk(voice.name, "unfinished-purge", Severity.WARNING, what, "vlm doctor")


def _notices(voice: VoiceFacts, _snapshot: Snapshot) -> Iterator[Risk]:
    if not voice.serves:
        return
    name, notice = voice.name, Severity.NOTICE
    if not voice.image:
        yield Risk(name, "no-image", notice, "no image", _later(name, "image", "build"))
    if voice.lock != "full":
        what = "no lockfile" if voice.lock == "none" else "its lockfile does not pin every package"
        yield Risk(name, "no-lock", notice, what, f"vlm lock {name} --python PATH")
    if voice.lock_lost:
        first, more = voice.lock_lost[0], len(voice.lock_lost) - 1
        what = f"its lock no longer resolves from wheels: {first}{f' and {more} more' if more else ''}"
        yield Risk(name, "lock-unresolvable", Severity.WARNING, what, f"vlm lock {name} --check")
    if not voice.export:
        yield Risk(name, "no-export", notice, "no export", _later(name, "export"))
    if not voice.owner:
        yield Risk(name, "no-owner", notice, "no owner", f"vlm register {name} --owner TEAM --contact MAIL")
    if voice.pickled_only:
        yield Risk(name, "pickled-only", notice, "weights are kept as pickles only", _later(name, "migrate"))


def _later(name: str, *words: str) -> str:
    """A cure that only some installations have: put together here, because no such command may be printed."""
    return " ".join(("vlm", *words, name))


_RULES: tuple[Rule, ...] = (
    _damage,
    _recordings,
    promise_rules.promises,
    _policy,
    _verdicts,
    _golden,
    _purge,
    _notices,
)


def _day(moment: object) -> str:
    return str(moment)[:10]


def _minute(moment: object) -> str:
    return str(moment)[:16]


def _public(torch: str) -> str:
    return torch.partition("+")[0]


def _mending(name: str, role: str) -> str:
    """The command that puts the same file back; registering it again heals the stored copy."""
    option = {
        "weights": "--weights",
        "embedding": "--embedding",
        "lockfile": "--lockfile",
        "audio": "--audio",
    }.get(role)
    return f"vlm show {name}" if option is None else f"vlm register {name} {option} FILE"
