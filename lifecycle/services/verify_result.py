"""What `vlm verify` is asked and what it answers, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.runtimes.model import RuntimePlan

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


def tally(results: Sequence[Result]) -> str:
    """Return one line: how many voices work everywhere, differ or are broken somewhere."""
    worst: dict[str, Verdict] = {}
    for result in results:
        before = worst.get(result.row.voice, Verdict.WORKS)
        worst[result.row.voice] = max(before, result.row.verdict, key=_WORST.index)
    count = {verdict: sum(one is verdict for one in worst.values()) for verdict in _WORST}
    works = count[Verdict.WORKS]
    worse = ""
    for verdict, one, many in (
        (Verdict.DIFFERS, "differs", "differ"),
        (Verdict.BROKEN, "is broken somewhere", "are broken somewhere"),
        (Verdict.CRASHED, "crashed", "crashed"),
        (Verdict.NOT_CHECKED, "was not checked", "were not checked"),
    ):
        if count[verdict]:
            worse += f", {count[verdict]} {one if count[verdict] == 1 else many}"
    plural = "" if works == 1 else "s"
    return f"{works} voice{plural} {'works' if works == 1 else 'work'} everywhere{worse}"
