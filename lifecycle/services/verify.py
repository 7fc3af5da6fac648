"""Run voices on torch versions and say what came of it, one row at a time."""

from __future__ import annotations

from lifecycle.bootstrap import Rooms
from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UsageError
from lifecycle.domain.voices import State
from lifecycle.runtimes.model import RuntimePlan
from lifecycle.services.bench import Bench
from lifecycle.services.verify_result import Verified, VerifyPlan, VerifyRequest

__all__ = ["DEVICES", "Verified", "VerifyPlan", "VerifyRequest", "plan", "verify"]

DEVICES = ("auto", "cpu", "cuda", "mps")


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
    looked: dict[Digest, str] = {}
    for runtime in runtimes:
        bench = Bench(rooms, runtime, planned.request, looked=looked)
        for name in planned.voices:
            results.append(bench.row(name))
            step.advance(1, f"{name} on torch {runtime.torch}")
    step.done("")
    return Verified(tuple(results), tuple(runtime.torch for runtime in runtimes))
