"""The comparison: a voice's steps against its golden, in order, so that the first one that diverges is named.

Everything after a diverging step differs because of it, so it is not judged. A waveform is never compared sample by
sample: its phase differs between CPUs while the speech is the same. Its spectrum and its level are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.domain.verdicts import Verdict
from lifecycle.verification.golden import Golden, Spoken
from lifecycle.verification.spectrum import level_db, log_mel
from lifecycle.verification.tolerances import TOLERANCES, VOICING_FLIPS


@dataclass(frozen=True, slots=True)
class Step:
    """One comparison: how far a step is from its golden.

    Attributes:
        sentence: Number of the sentence, from 1; 0 for what belongs to the voice.
        distance: In `unit`; None where the shapes differ, then `note` says how.
        note: What else there is to say.
    """

    name: str
    sentence: int
    distance: float | None
    tolerance: float
    unit: str
    passed: bool
    note: str = ""

    def __str__(self) -> str:
        if self.distance is None or not self.unit:
            return f"step {self.name}: {self.note}"
        relation = "within" if self.passed else ">"
        extra = f" ({self.note})" if self.note else ""
        return f"step {self.name}: {self.distance:.3g} {relation} {self.tolerance:g}{extra}"

    def to_json(self) -> dict[str, object]:
        """Return the step for programs, with the reason of its tolerance."""
        return {
            "step": self.name,
            "sentence": self.sentence,
            "distance": None if self.distance is None else float(f"{self.distance:.4g}"),
            "tolerance": self.tolerance,
            "unit": self.unit,
            "passed": self.passed,
            "note": self.note,
            "why_this_tolerance": TOLERANCES[self.name].reason,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All steps that were judged, and for how many sentences the end was reached."""

    steps: tuple[Step, ...]
    complete: int
    defect: str | None = None

    @property
    def first(self) -> Step | None:
        """The first step that leaves its tolerance."""
        return next((step for step in self.steps if not step.passed), None)

    def judge(self) -> tuple[Verdict, str]:
        """Return the verdict and its reason: `works` only if every sentence was compared, and one to its end."""
        if self.defect is not None:
            return Verdict.BROKEN, self.defect
        if self.first is not None:
            return Verdict.DIFFERS, str(self.first)
        if self.complete == 0:
            return (
                Verdict.NOT_CHECKED,
                "a duration on the edge of rounding fell the other way in every sentence",
            )
        return Verdict.WORKS, ""


def compare(
    golden: Golden, spoken: Sequence[Spoken], embedding: NDArray[np.float32], *, device: str
) -> Comparison:
    """Compare what a runtime gave with a golden.

    Args:
        golden: What was recorded.
        spoken: The same sentences in the same order, as the runtime spoke them.
        embedding: (D,) the speaker vector that the runtime used.
        device: "cpu", "cuda" or "mps": says which column of the tolerances holds.
    """
    if [s.text for s in spoken] != [s.text for s in golden.sentences]:
        return Comparison((), 0, "the runtime did not speak the golden's sentences")
    for number, one in enumerate(spoken, start=1):
        flaw = one.defect()
        if flaw is not None:
            return Comparison((), 0, f"sentence {number}: {flaw}")
    if not np.isfinite(embedding).all():
        return Comparison((), 0, "the embedding holds values that are not numbers")
    steps = [_distance("embedding", 0, golden.embedding, embedding, device)]
    complete = 0
    for number, (then, now) in enumerate(zip(golden.sentences, spoken, strict=True), start=1):
        if not steps[-1].passed:
            break
        for step in _steps(number, then, now, device):
            steps.append(step)
            if not step.passed:
                break
        complete += steps[-1].passed and steps[-1].name == "level"
    return Comparison(tuple(steps), complete)


def _steps(number: int, then: Spoken, now: Spoken, device: str) -> Iterator[Step]:
    yield _phones(number, then, now)
    durations = _durations(number, then, now, device)
    yield durations
    if not np.array_equal(then.durations, now.durations):
        return
    yield _distance("mel", number, then.mel, now.mel, device)
    yield _f0(number, then.f0, now.f0, device)
    yield _log_mel(number, then, now, device)
    yield _scalar("level", number, abs(level_db(then.samples) - level_db(now.samples)), device)


def _scalar(name: str, number: int, distance: float, device: str, note: str = "") -> Step:
    tolerance = TOLERANCES[name]
    limit = tolerance.on(device)
    return Step(name, number, distance, limit, tolerance.unit, distance <= limit, note)


def _shapes(name: str, number: int, then: tuple[int, ...], now: tuple[int, ...], device: str) -> Step:
    note = f"{' x '.join(map(str, now))} values where the golden has {' x '.join(map(str, then))}"
    return Step(
        name, number, None, TOLERANCES[name].on(device), TOLERANCES[name].unit, passed=False, note=note
    )


def _distance(name: str, number: int, then: NDArray[Any], now: NDArray[Any], device: str) -> Step:
    if then.shape != now.shape:
        return _shapes(name, number, then.shape, now.shape, device)
    furthest = float(np.abs(then.astype(np.float64) - now).max()) if then.size else 0.0
    return _scalar(name, number, furthest, device)


def _phones(number: int, then: Spoken, now: Spoken) -> Step:
    if then.phones == now.phones:
        return _scalar("phones", number, 0.0, "cpu")
    pairs = zip(then.phones, now.phones, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(then.phones), len(now.phones)))
    wrong = sum(a != b for a, b in zip(then.phones, now.phones, strict=False)) + abs(
        len(then.phones) - len(now.phones)
    )
    return _scalar("phones", number, float(wrong), "cpu", f"from phone {at + 1} on")


def _durations(number: int, then: Spoken, now: Spoken, device: str) -> Step:
    """Compare lengths before they are rounded; where a voice does not tell them, whole frames count."""
    if len(then.raw_durations) != len(then.durations) or len(now.raw_durations) != len(now.durations):
        return _distance("durations", number, then.durations, now.durations, device)
    step = _distance("durations", number, then.raw_durations, now.raw_durations, device)
    other = int((then.durations != now.durations).sum())
    if not step.passed or not other:
        return step
    if int(np.abs(then.durations - now.durations).max()) > 1:
        note = f"{other} of {len(then.durations)} phones are rounded to another length"
        return replace(step, distance=None, passed=False, note=note)
    return replace(step, note=f"{other} on the edge of rounding; what follows is not compared")


def _f0(number: int, then: NDArray[np.float32], now: NDArray[np.float32], device: str) -> Step:
    if then.shape != now.shape:
        return _shapes("f0", number, then.shape, now.shape, device)
    both = (then > 0) & (now > 0)
    flips = float(((then > 0) != (now > 0)).mean()) if len(then) else 0.0
    if flips > VOICING_FLIPS:
        return Step("f0", number, flips, VOICING_FLIPS, "share of frames", passed=False, note="voicing flips")
    furthest = (
        float((np.abs(then[both].astype(np.float64) - now[both]) / then[both]).max()) if both.any() else 0.0
    )
    return _scalar("f0", number, furthest, device)


def _log_mel(number: int, then: Spoken, now: Spoken, device: str) -> Step:
    if then.rate != now.rate or len(then.samples) != len(now.samples):
        return _shapes("log-mel", number, (len(then.samples),), (len(now.samples),), device)
    difference = np.abs(log_mel(then.samples, then.rate) - log_mel(now.samples, now.rate))
    return _scalar("log-mel", number, float(difference.mean()), device)


def blame(*, engine_changed: bool, now: Comparison, then: Comparison | None) -> str:
    """Say whether the engine or torch made a voice differ.

    Args:
        engine_changed: The golden was recorded by an engine with another hash.
        now: On the torch that was asked for.
        then: By today's engine on the golden's torch; None where that runtime is not here.
    """
    if now.first is None and now.defect is None:
        return ""
    if not engine_changed:
        return "the engine is the golden's, so torch made the difference"
    if then is None:
        return "the engine changed since the golden, and the golden's torch is not here to tell the two apart"
    if then.first is None and then.defect is None:
        return "today's engine agrees on the golden's torch, so torch made the difference"
    return "today's engine differs on the golden's torch too, so the engine made the difference"
