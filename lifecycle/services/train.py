"""`vlm train`: fit the base voice to a person's recordings, and register what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import Refused, UnreadableFile
from lifecycle.domain.voices import checked_name
from lifecycle.services.guard import check_use
from lifecycle.services.jobs import working
from lifecycle.services.recordings import find_recordings
from lifecycle.services.register import Registered, RegisterRequest, register
from lifecycle.services.studio import default_runtime, engine_errors

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.runtimes.worker import Worker

_MAX_VOICE_BYTES = 1 << 30
_OVERHEAD_S = 1800.0
_FIGURES = ("similarity", "similarity_held_out", "similarity_base", "scale", "steps", "speech_s", "train_s", "seconds",
            "warp", "loss_held_out_before", "loss_held_out_after")  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What a voice is to be made of.

    Attributes:
        budget_s: Wall seconds of training.
        seed: Of crops and noise; the same seed and machine give the same voice.
    """

    name: str
    audio: tuple[Path, ...]
    own_voice: bool = False
    subject: str | None = None
    consents: tuple[Path, ...] = ()
    consent_until: date | None = None
    owner: str | None = None
    contact: str | None = None
    budget_s: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """The voice, registered, and what the training measured."""

    registered: Registered
    figures: Mapping[str, Any]

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {**self.registered.to_json(), "figures": dict(self.figures)}

    def lines(self) -> list[str]:
        """Return the result for people."""
        told, scale = self.figures, self.figures["scale"]
        return [
            *self.registered.lines(),
            (
                f"resembles the recordings: {told['similarity']:.2f} (the base voice {told['similarity_base']:.2f}, "
                f"held-out recording {told['similarity_held_out']:.2f}); {scale}"
            ),
        ]


def train(request: TrainRequest, *, rooms: Rooms) -> Trained:
    """Fit the base voice to recordings within a budget of time, and register the result with its recordings.

    Raises:
        NotFound: A recording does not exist.
        UnreadableFile: A recording cannot be read, or holds less than 10 s of speech.
        Refused: Nobody agreed, or the voice may not be used now.
        Unavailable: The runtime is not installed.
    """
    checked_name(request.name)
    _require_agreement(request, rooms)
    runtime = default_runtime(rooms.runtimes, rooms.settings.default_torch)
    files = [file for path in request.audio for file in find_recordings(path).files]
    if not files:
        raise UnreadableFile(f'there is no recording in "{request.audio[0]}"')
    with working("train", rooms=rooms) as folder:
        with rooms.runtimes.start_worker(runtime, work=folder) as worker:
            values = _fit(request, files, worker, rooms)
            weights, speaker = (_keep(worker, str(values[part]), folder) for part in ("weights", "speaker"))
        registered = register(_registration(request, weights, speaker), rooms=rooms)
    figures = {name: values[name] for name in _FIGURES}
    return Trained(registered, figures)


def _require_agreement(request: TrainRequest, rooms: Rooms) -> None:
    with rooms.registry.read() as uow:
        voice = uow.voices.find(request.name)
        if voice is not None:
            check_use(voice, "train", uow=uow, now=rooms.clock())
    agreed = request.own_voice or (request.subject and request.consents)
    if voice is None and not agreed:
        raise Refused(
            f'nobody agreed that "{request.name}" is made, so nothing was trained',
            hint=f"vlm train {request.name} --audio PATH --own-voice    "
            f"or: vlm train {request.name} --audio PATH --subject ID --consent FILE",
        )
    end = request.consent_until
    if end is not None and end < rooms.clock().date():
        raise Refused(
            f"the consent ended {end}, so nothing was trained", hint="bring a consent that holds today"
        )


def _fit(request: TrainRequest, files: list[Path], worker: Worker, rooms: Rooms) -> Mapping[str, Any]:
    step, shown = rooms.progress.step("train", 1.0), 0.0

    def tell(state: Mapping[str, Any]) -> None:
        nonlocal shown
        share = float(state.get("done") or 0.0)
        loss = (
            f"step {state['step']} loss {state['loss']:.2f}"
            if state.get("step")
            else str(state.get("stage", ""))
        )
        step.advance(max(share - shown, 0.0), loss)
        shown = max(share, shown)

    given = [worker.put(file, f"{i:06d}") for i, file in enumerate(files)]
    params = {
        "audio": given,
        "name": "voice",
        "out": worker.out(),
        "budget_s": request.budget_s,
        "seed": request.seed,
    }
    with engine_errors(f'"{request.name}" cannot be trained'):
        values = worker.call("fit", params, timeout_s=request.budget_s + _OVERHEAD_S, on_event=tell).values
    step.done(f"{values['steps']} steps on {values['train_s']:.0f} s of recording, {values['seconds']:.0f} s")
    return values


def _keep(worker: Worker, inside: str, folder: Path) -> Path:
    target = folder / Path(inside).name
    target.write_bytes(worker.take(inside, max_bytes=_MAX_VOICE_BYTES))
    return target


def _registration(request: TrainRequest, weights: Path, speaker: Path) -> RegisterRequest:
    return RegisterRequest(
        name=request.name,
        weights=(weights,),
        embedding=speaker,
        audio=request.audio,
        own_voice=request.own_voice,
        subject=request.subject,
        consents=request.consents,
        consent_until=request.consent_until,
        owner=request.owner,
        contact=request.contact,
    )
