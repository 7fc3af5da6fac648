"""`vlm train`: recordings become a voice, fitted in a fenced worker and registered with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import Refused, UnreadableFile, UsageError
from lifecycle.domain.subjects import covers, holding
from lifecycle.render.output import duration
from lifecycle.services.guard import check_open_case, check_use, generations
from lifecycle.services.making import ask, default_runtime, job_worker
from lifecycle.services.people.recognise import contents_of, refuse_recordings
from lifecycle.services.people.subjects import OWN_VOICE, find_subject
from lifecycle.services.prepare import Prepared, hand_in, judged, recordings_of
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import Registered, RegisterRequest

if TYPE_CHECKING:
    from datetime import datetime

    from lifecycle.bootstrap import Rooms
    from lifecycle.runtimes.worker import Worker

MAX_FILE_BYTES = 512 << 20
_GRACE_S = 1800.0


@dataclass(frozen=True, slots=True)
class Trained:
    """A voice that was fitted and registered.

    Attributes:
        fit: What the engine says of the fit: similarity to the recording, losses, steps, seconds.
    """

    registered: Registered
    prepared: Prepared
    fit: Mapping[str, Any]
    torch: str

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        told = {
            name: value for name, value in self.fit.items() if name not in {"weights", "speaker", "sample"}
        }
        return {
            **self.registered.to_json(),
            "torch": self.torch,
            "prepared": dict(self.prepared.report),
            "fit": told,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        name, fit = self.registered.voice, self.fit
        lines = self.registered.lines()[:1]
        if isinstance(fit.get("similarity"), int | float):
            floor, ceiling = fit.get("similarity_base"), fit.get("similarity_held_out")
            between = ""
            if isinstance(floor, int | float) and isinstance(ceiling, int | float):
                between = f" (the base: {floor:.2f}, the recording itself: {ceiling:.2f})"
            lines.append(f"  similarity to the recording {fit['similarity']:.2f}{between}")
        lines += [f"  {line}" for line in self.prepared.advice]
        lines += [line for line in self.registered.lines()[1:] if line and not line.startswith("next: ")]
        lines.append(f'next: vlm speak {name} --text "The old road is quiet." -o {name}.wav')
        return lines


def train(
    request: RegisterRequest, *, rooms: Rooms, budget_s: float = 120.0, seed: int = 0, dry_run: bool = False
) -> Trained | Prepared:
    """Judge recordings, fit a voice to them for a bounded time, and register it with them.

    Args:
        request: Name, recordings, whose they are, and consents; no weights.
        budget_s: How long the fit may tune.
        seed: Of everything random in it.
        dry_run: Only judge.

    Raises:
        UsageError: No recordings, or nobody said whose they are.
        Refused: No consent holds, or a purge is open.
        UnreadableFile: The recordings are too short, silent, clipped, or of several people; nothing was stored.
        Unavailable: The default runtime is not installed.
    """
    request.check()
    if not request.audio:
        raise UsageError("training needs recordings", hint=f"vlm train {request.name} --audio PATH")
    if not 1 <= budget_s <= 86_400:
        raise UsageError("--budget is a number of seconds from 1 to 86400", hint="vlm train --help")
    before = _may_train(request, rooms)
    files, skipped = recordings_of(request.audio)
    with rooms.registry.read() as uow:
        refuse_recordings(contents_of(files), uow=uow, rooms=rooms)
    runtime = default_runtime(rooms)
    with job_worker("train", rooms=rooms) as (worker, folder):
        report, told = judged(worker, files, rooms=rooms)
        prepared = Prepared(request.audio[0], report, tuple(told), tuple(skipped))
        if prepared.refused:
            raise UnreadableFile(
                f"{prepared.sentence}; no voice was made", hint=f"vlm prepare {request.audio[0]}"
            )
        if dry_run:
            return prepared
        worker.clear()
        fit = _fit(worker, files, request.name, budget_s=budget_s, seed=seed, rooms=rooms)
        weights = _fetch(worker, fit, "weights", folder / f"{request.name}.safetensors")
        speaker = _fetch(worker, fit, "speaker", folder / f"{request.name}.speaker.safetensors")
        done = register(
            replace(request, weights=(weights,), embedding=speaker), rooms=rooms, generations_before=before
        )
    _note(request.name, fit, runtime.torch, rooms)
    return Trained(done, prepared, fit, runtime.torch)


def _may_train(request: RegisterRequest, rooms: Rooms) -> dict[str, int]:
    """Require a right to the recordings before anything is made of them; return the people's generations."""
    now = rooms.clock()
    with rooms.registry.read() as uow:
        voice = uow.voices.find(request.name)
        told = OWN_VOICE if request.own_voice else request.subject
        person = None if told is None else find_subject(told, uow=uow, rooms=rooms)
        before = {} if voice is None else generations(voice, uow=uow)
        if person is not None:
            before[person.uid] = person.generation
        for uid in before:
            check_open_case(uid, None if voice is None else voice.uid, uow=uow)
        own = request.own_voice or (voice is not None and voice.own_voice)
        if voice is not None and not request.consents and not request.own_voice:
            check_use(voice, "train", uow=uow, now=now)
            return before
        given = [] if person is None else uow.subjects.consents_for_all(person.uid)
    if not own and voice is None and request.subject is None:
        raise UsageError(
            "recordings belong to a person: say whose with --subject ID, or say --own-voice",
            hint=f"vlm train {request.name} --audio PATH --own-voice",
        )
    if not own:
        _require_consent(request, known=bool(holding(given, now, "train")), now=now)
    return before


def _require_consent(request: RegisterRequest, *, known: bool, now: datetime) -> None:
    """Require a consent to train: one that comes with the recordings, or (`known`) one for all voices."""
    if not request.consents and known:
        return
    why = ""
    if not request.consents:
        why = "no consent of the person is given"
    elif request.consent_end is not None and request.consent_end < now:
        why = "the consent has ended"
    elif request.consent_start is not None and request.consent_start > now:
        why = f"the consent begins on {request.consent_from}"
    elif not covers(request.consent_words, "train"):
        why = f"the consent does not cover it: {request.consent_words}"
    if why:
        raise Refused(
            f'"{request.name}" cannot be trained: {why}',
            hint=f"vlm train {request.name} --audio PATH --subject ID --consent FILE",
        )


def _fit(
    worker: Worker, files: list[Path], name: str, *, budget_s: float, seed: int, rooms: Rooms
) -> Mapping[str, Any]:
    step = rooms.progress.step("training", 1.0)
    seen = 0.0

    def on_event(values: Mapping[str, Any]) -> None:
        nonlocal seen
        done = values.get("done")
        if isinstance(done, int | float):
            step.advance(float(done) - seen, _told(values))
            seen = float(done)

    params = {
        "audio": hand_in(worker, files),
        "name": name,
        "out": worker.out(),
        "base": None,
        "budget_s": budget_s,
        "seed": seed,
    }
    reply = ask(worker, "fit", params, timeout_s=budget_s + _GRACE_S, on_event=on_event)
    fit = reply.values
    seconds, steps = fit.get("seconds"), fit.get("steps")
    step.done(f"{steps} steps in {duration(float(seconds))}" if isinstance(seconds, int | float) else "")
    return fit


def _told(values: Mapping[str, Any]) -> str:
    stage, loss = values.get("stage"), values.get("loss")
    return f"{stage} loss {loss:.3f}" if isinstance(loss, int | float) and loss else str(stage or "")


def _fetch(worker: Worker, fit: Mapping[str, Any], what: str, target: Path) -> Path:
    name = fit.get(what)
    if not isinstance(name, str):
        raise UnreadableFile(f"the worker did not say where the {what} are")
    target.write_bytes(worker.take(name, max_bytes=MAX_FILE_BYTES))
    return target


def _note(name: str, fit: Mapping[str, Any], torch: str, rooms: Rooms) -> None:
    """Put the fit on the trail; numbers as text, since hashed records hold no floating point."""
    told = {
        key: str(fit[key]) for key in ("similarity", "steps", "speech_s", "seconds", "warp") if key in fit
    }
    with rooms.registry.write() as uow:
        voice = uow.voices.get(name)
        subject = voice.subject_uids[0] if voice.subject_uids else None
        version = uow.voices.current(voice.uid)
        uow.voices.used(voice.uid, at=rooms.clock())
        uow.trail.append(
            "train",
            voice_uid=voice.uid,
            subject_uid=subject,
            ids={"version": version.uid},
            details={"torch": torch, **told},
        )
        uow.commit()
