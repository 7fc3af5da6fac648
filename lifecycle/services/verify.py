"""Run voices on torch versions and say what came of it, one row at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifecycle.bootstrap import Rooms
from lifecycle.compat.findings import findings, gpu_needs
from lifecycle.domain.errors import Refused, UsageError
from lifecycle.domain.policies import Limits as PolicyLimits
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.domain.voices import State, Voice
from lifecycle.runtimes.model import Runtime, RuntimePlan
from lifecycle.runtimes.worker import Limits
from lifecycle.services.golden import golden_of
from lifecycle.services.guard import check_use
from lifecycle.services.policy import load_policy, policy_home
from lifecycle.services.trial import (
    Material,
    Outcome,
    damage_of,
    facts_of,
    failures_as_outcomes,
    load,
    material_of,
    speak,
)
from lifecycle.verification.compare import Comparison, blame, compare
from lifecycle.verification.golden import SENTENCES, Golden
from lifecycle.verification.plan import Way, Where, inputs_hash

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork

DEVICES = ("auto", "cpu", "cuda", "mps")
_WORST = (Verdict.WORKS, Verdict.NOT_CHECKED, Verdict.DIFFERS, Verdict.BROKEN, Verdict.CRASHED)


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What is to be verified.

    Attributes:
        names: Voices; empty means every voice that is not retired or erased.
        torches: Specs such as "2.13.0", "2.13" or "2.x"; empty means the default torch.
        again: Run although nothing changed since the last result.
    """

    names: tuple[str, ...] = ()
    torches: tuple[str, ...] = ()
    device: str = "auto"
    again: bool = False


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """Which voices run on which torch, and what must be fetched first."""

    request: VerifyRequest
    voices: tuple[str, ...]
    runtimes: tuple[RuntimePlan, ...]

    @property
    def missing(self) -> tuple[RuntimePlan, ...]:
        """Runtimes that are not here yet."""
        return tuple(plan for plan in self.runtimes if plan.existing is None)

    def to_json(self) -> Mapping[str, object]:
        """Return the plan for programs."""
        return {
            "voices": list(self.voices),
            "runtimes": [plan.as_dict() for plan in self.runtimes],
            "download_bytes": sum(plan.download_bytes or 0 for plan in self.missing),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One row as the user sees it; `reused` says that nothing ran for it now."""

    row: Row
    reused: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the row for programs."""
        row = self.row
        return {
            "voice": row.voice,
            "torch": row.torch,
            "build": row.build,
            "code": row.code,
            "verdict": row.verdict.value,
            "reason": row.reason,
            "next": row.next,
            "device": row.device,
            "python": row.python,
            "sandbox": row.sandbox,
            "reused": self.reused,
            "at": row.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "detail": dict(row.detail),
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """All rows, runtime by runtime."""

    results: tuple[Result, ...]
    torches: tuple[str, ...] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """That of the worst row: 0, 12, 13 or 14."""
        worst = max((_WORST.index(result.row.verdict) for result in self.results), default=0)
        return _WORST[worst].exit_code

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {"results": [dict(result.to_json()) for result in self.results]}


def plan(request: VerifyRequest, *, rooms: Rooms) -> VerifyPlan:
    """Resolve voices and torch versions; asks indexes where a spec is not an installed version, changes nothing.

    Raises:
        NotFound: A voice does not exist.
        UsageError: A torch or device cannot be understood.
        Unavailable: A torch cannot be had.
    """
    if request.device not in DEVICES:
        raise UsageError(
            f'"{request.device}" is not a device; there are {", ".join(DEVICES)}', hint="vlm verify --help"
        )
    with rooms.registry.read() as uow:
        if request.names:
            voices = [uow.voices.get(name).name for name in dict.fromkeys(request.names)]
        else:
            voices = [voice.name for voice in uow.voices.all(states=(State.ACTIVE, State.DEPRECATED))]
    specs = request.torches or (rooms.settings.default_torch,)
    plans: dict[str, RuntimePlan] = {}
    for spec in specs:
        found = rooms.runtimes.plan(_installed(spec, rooms))
        plans.setdefault(found.torch, found)
    return VerifyPlan(request, tuple(voices), tuple(plans.values()))


def _installed(spec: str, rooms: Rooms) -> str:
    """Offline, a version with a wildcard means the newest that is installed."""
    found = rooms.runtimes.find(spec) if rooms.settings.offline else None
    return spec if found is None else found.torch


def verify(planned: VerifyPlan, *, rooms: Rooms) -> Verified:
    """Run every voice of a plan on each of its runtimes; each row is kept before the next one runs.

    Missing runtimes are made first: the caller has asked.
    """
    runtimes = [one.existing or rooms.runtimes.add(one) for one in planned.runtimes]
    step = rooms.progress.step("verify", len(planned.voices) * len(runtimes), "rows")
    results = []
    for runtime in runtimes:
        bench = Bench(rooms, runtime, planned.request)
        for name in planned.voices:
            results.append(bench.row(name))
            step.advance(1, f"{name} on torch {runtime.torch}")
    step.done("")
    return Verified(tuple(results), tuple(runtime.torch for runtime in runtimes))


class Bench:
    """One runtime on which voices are tried, with one warm worker for all voices that the engine speaks."""

    def __init__(self, rooms: Rooms, runtime: Runtime, request: VerifyRequest) -> None:
        self._rooms = rooms
        self._runtime = runtime
        self._request = request
        self._fence = rooms.runtimes.sandbox

    def row(self, name: str) -> Result:
        """Return the verdict of one voice: a stored one while nothing that decides it changed, else a new one."""
        rooms = self._rooms
        with rooms.registry.read() as uow:
            voice = uow.voices.get(name)
            material = material_of(voice, uow)
            refusal = _refusal(voice, material, uow, rooms)
            device, absent = self._device()
            where = Where(self._runtime.id, self._runtime.lock_hash, rooms.runtimes.engine_hash, device)
            key = inputs_hash(str(material.version.identity), material.subject, where)
            known = (
                None
                if self._request.again or refusal or absent
                else uow.verdicts.reusable(material.version.uid, key)
            )
        damage = damage_of(material, rooms)
        if known is not None and _stands(known) and damage is None:
            return Result(known, reused=True)
        outcome = refusal or (damage and Outcome(Verdict.BROKEN, f"integrity: {damage}")) or absent
        outcome = outcome or self._try(material, device)
        row = self._kept(material, outcome, device, key)
        return Result(row, reused=False)

    def _device(self) -> tuple[str, Outcome | None]:
        """Return the device to run on; with an outcome where the one that was asked for is not here."""
        wanted = self._request.device
        if wanted == "auto" and self._rooms.settings.verify_device != "auto":
            wanted = self._rooms.settings.verify_device
        without_gpu = self._runtime.build == "cpu" or self._runtime.build.endswith("stubs")
        if wanted == "cpu" or (wanted == "auto" and (without_gpu or self._fence is None)):
            return "cpu", None
        if wanted != "auto" and without_gpu:
            return wanted, self._absent(wanted, f"this runtime was built without {wanted}")
        if self._fence is None:
            return wanted, Outcome(Verdict.NOT_CHECKED, _NO_FENCE)
        told = self._rooms.runtimes.worker(self._runtime).call("describe").values
        here = [
            d for d, key in (("cuda", "cuda_available"), ("mps", "mps_available")) if told.get(key) is True
        ]
        if wanted == "auto":
            return (here[0] if here else "cpu"), None
        return wanted, None if wanted in here else self._absent(wanted, f"there is no {wanted} device here")

    def _absent(self, device: str, reason: str) -> Outcome:
        """What cannot be run here is said as far as it is known, and is never a `works`."""
        known = gpu_needs(self._runtime.torch) if device == "cuda" else None
        told = [{"code": known.code, "message": known.message}] if known else []
        return Outcome(Verdict.NOT_CHECKED, reason, detail={"findings": told}, next=_ON_CPU)

    def _try(self, material: Material, device: str) -> Outcome:
        if material.subject.way is Way.NOTHING:
            return Outcome(Verdict.NOT_CHECKED, "torch opens none of its files")
        if self._fence is None:
            return Outcome(Verdict.NOT_CHECKED, _NO_FENCE)
        policy = load_policy(material.voice.policy, own=policy_home(self._rooms))
        caught: list[Outcome] = []
        speaks = material.subject.way is Way.SPEAK
        with failures_as_outcomes(caught, code="engine" if speaks else "own"):
            if speaks:
                return self._speak(material, device, policy.limits.verify_seconds)
            return self._load(material, policy.limits)
        return caught[0]

    def _load(self, material: Material, most: PolicyLimits) -> Outcome:
        """Foreign bytes get a worker of their own, which sees nothing else and dies afterwards."""
        limits = Limits(address_space=most.verify_memory_mb << 20)
        with self._rooms.runtimes.start_worker(self._runtime, limits=limits) as worker:
            outcome = load(worker, material, self._rooms, timeout_s=most.verify_seconds)
        known = [
            finding
            for artifact in material.subject.weights
            for finding in findings(artifact.kind, facts_of(artifact, self._rooms), self._runtime.torch)
        ]
        told = [{"code": f.code, "message": f.message} for f in known]
        reason = outcome.reason
        if outcome.verdict is Verdict.BROKEN and (explained := next((f for f in known if f.breaks), None)):
            reason = explained.message
        detail = {**outcome.detail, "findings": told}
        return Outcome(outcome.verdict, reason, outcome.code, outcome.ran, detail)

    def _speak(self, material: Material, device: str, timeout_s: float) -> Outcome:
        golden = golden_of(material, self._rooms)
        made = self._compared(material, golden, self._runtime, device, timeout_s)
        if golden is None:
            flaw = made.defect
            verdict = Verdict.BROKEN if flaw else Verdict.NOT_CHECKED
            return Outcome(
                verdict, flaw or "it speaks; there is no golden to compare it with", "engine", ran=True
            )
        verdict, reason = made.judge()
        changed = golden.made.engine_hash != self._rooms.runtimes.engine_hash
        detail: dict[str, object] = {
            "golden": {"torch": golden.made.torch, "build": golden.made.build, "engine_changed": changed},
            "steps": [step.to_json() for step in made.steps],
        }
        if verdict in {Verdict.DIFFERS, Verdict.BROKEN}:
            detail["blame"] = self._blame(material, golden, made, changed=changed, timeout_s=timeout_s)
        return Outcome(verdict, reason, "engine", ran=True, detail=detail)

    def _compared(
        self, material: Material, golden: Golden | None, runtime: Runtime, device: str, timeout_s: float
    ) -> Comparison:
        texts = SENTENCES["en"] if golden is None else tuple(sentence.text for sentence in golden.sentences)
        worker = self._rooms.runtimes.worker(runtime)
        spoken, embedding = speak(
            worker, material, self._rooms, texts=texts, device=device, timeout_s=timeout_s
        )
        if golden is None:
            return Comparison((), 0, next((flaw for one in spoken if (flaw := one.defect())), None))
        return compare(golden, spoken, embedding, device=device)

    def _blame(
        self, material: Material, golden: Golden, made: Comparison, *, changed: bool, timeout_s: float
    ) -> str:
        """If the engine changed since the golden, run the golden's own torch too: that tells the two apart."""
        then: Comparison | None = None
        theirs = self._rooms.runtimes.find(golden.made.torch) if changed else None
        if theirs is not None and theirs.id == self._runtime.id:
            then = made
        elif theirs is not None:
            caught: list[Outcome] = []
            with failures_as_outcomes(caught, code="engine"):
                then = self._compared(material, golden, theirs, "cpu", timeout_s)
            if caught:
                then = Comparison((), 0, caught[0].reason)
        return blame(engine_changed=changed, now=made, then=then)

    def _kept(self, material: Material, outcome: Outcome, device: str, key: str) -> Row:
        rooms, runtime, voice = self._rooms, self._runtime, material.voice
        row = Row(
            uid=rooms.new_uid(),
            voice=voice.name,
            version_uid=material.version.uid,
            torch=runtime.torch,
            build=runtime.build,
            python=runtime.python,
            lock_hash=runtime.lock_hash,
            engine_hash=rooms.runtimes.engine_hash,
            device=device,
            code=outcome.code,
            verdict=outcome.verdict,
            reason=outcome.reason,
            next=next_step(voice.name, runtime.torch, outcome),
            detail={**outcome.detail, "ran": outcome.ran},
            sandbox=self._fence.name if self._fence and outcome.ran else "none",
            at=rooms.clock(),
        )
        with rooms.registry.write() as uow:
            uow.verdicts.add(row, inputs_hash=key)
            uow.trail.append(
                "verify",
                voice_uid=voice.uid,
                ids={"version": row.version_uid, "verdict": row.uid},
                details={
                    "torch": row.torch,
                    "build": row.build,
                    "device": device,
                    "verdict": row.verdict.value,
                },
            )
            uow.commit()
        return row


def _stands(known: Row) -> bool:
    """Whether a stored row may speak again: something ran for it, and it was no crash, which may have been chance."""
    return bool(known.detail.get("ran")) and known.verdict is not Verdict.CRASHED


_ON_CPU = "on the cpu"
_NO_FENCE = "neither bubblewrap nor Landlock works here, so its files were not opened"


def _refusal(voice: Voice, material: Material, uow: UnitOfWork, rooms: Rooms) -> Outcome | None:
    """Say why a voice may not or cannot speak, before anything is opened."""
    if voice.mute or (material.subject.way is Way.SPEAK and material.subject.speaker is None):
        return Outcome(
            Verdict.NOT_CHECKED, "conditioning was purged" if voice.mute else "it has no speaker file"
        )
    try:
        check_use(voice, "be verified", uow=uow, now=rooms.clock())
    except Refused as error:
        return Outcome(Verdict.NOT_CHECKED, error.message, next=error.hint)
    return None


def next_step(name: str, torch: str, outcome: Outcome) -> str | None:
    """Return the first thing to do about an outcome; None where there is nothing."""
    if outcome.next == _ON_CPU:
        return f"vlm verify {name} --torch {torch} --device cpu"
    if outcome.verdict is Verdict.WORKS or outcome.next is not None:
        return outcome.next
    if outcome.verdict is Verdict.NOT_CHECKED:
        if "no golden" in outcome.reason:
            return f"vlm golden record {name}"
        return f"vlm show {name}"
    if outcome.reason.startswith("integrity"):
        return "vlm audit"
    return f"vlm verify {name} --torch {torch} --why"


def tally(results: Sequence[Result]) -> str:
    """Return one line: how many voices work everywhere, differ or are broken somewhere."""
    worst: dict[str, Verdict] = {}
    for result in results:
        before = worst.get(result.row.voice, Verdict.WORKS)
        worst[result.row.voice] = max(before, result.row.verdict, key=_WORST.index)
    count = {verdict: sum(one is verdict for one in worst.values()) for verdict in _WORST}
    works = count[Verdict.WORKS]
    parts = [f"{works} voice{'' if works == 1 else 's'} {'works' if works == 1 else 'work'} everywhere"]
    for verdict, one, many in (
        (Verdict.DIFFERS, "differs", "differ"),
        (Verdict.BROKEN, "is broken somewhere", "are broken somewhere"),
        (Verdict.CRASHED, "crashed", "crashed"),
        (Verdict.NOT_CHECKED, "was not checked", "were not checked"),
    ):
        if count[verdict]:
            parts.append(f"{count[verdict]} {one if count[verdict] == 1 else many}")
    return ", ".join(parts)
