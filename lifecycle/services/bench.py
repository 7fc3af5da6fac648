"""One runtime on which voices are tried one after the other; each row is kept before the next one runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle.bootstrap import Rooms
from lifecycle.compat.findings import findings, gpu_needs
from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Refused
from lifecycle.domain.policies import Limits as PolicyLimits
from lifecycle.domain.states import SPEAKS
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.domain.voices import Voice
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.worker import Limits
from lifecycle.services.golden import golden_of
from lifecycle.services.guard import check_use
from lifecycle.services.retention.files import load_policies, policy_home
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
from lifecycle.services.verify_result import Result, VerifyRequest
from lifecycle.verification.compare import Comparison, blame, compare
from lifecycle.verification.golden import SENTENCES, Golden
from lifecycle.verification.plan import Way, Where, inputs_hash

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork


class Bench:
    """One runtime on which voices are tried, with one warm worker for all voices that the engine speaks."""

    def __init__(
        self, rooms: Rooms, runtime: Runtime, request: VerifyRequest, *, looked: dict[Digest, str]
    ) -> None:
        self._rooms = rooms
        self._looked = looked
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
        damage = damage_of(material, rooms, looked=self._looked)
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
        named = material.voice.policy
        policy = load_policies({named}, own=policy_home(self._rooms))[0][named]
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
        cure = f"vlm register {voice.name} --embedding FILE" if voice.state in SPEAKS else None
        reason = "conditioning was purged" if voice.mute else "it has no speaker file"
        return Outcome(Verdict.NOT_CHECKED, reason, next=cure)
    try:
        check_use(voice, "verify", uow=uow, now=rooms.clock())
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
