"""`vlm speak`: a voice says a text into a WAV file, and the trail remembers that it did."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, Mute, Refused, UsageError
from lifecycle.render.output import duration
from lifecycle.services.guard import check_generation, check_use, generations
from lifecycle.services.making import ask, check_result, default_runtime, job_worker, write_result
from lifecycle.services.trial import Material, content_of, damage_of, material_of
from lifecycle.verification.plan import Way

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.runtimes.worker import Reply, Worker

MAX_TEXT = 20_000
_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """What is to be said, and how.

    Attributes:
        speed: 2 is twice as fast.
        pitch: Semitones added to the melody.
        force: Replace a file that is there.
    """

    name: str
    text: str
    out: Path
    speed: float = 1.0
    pitch: float = 0.0
    pause: float = 1.0
    seed: int = 0
    language: str = "en"
    force: bool = False


@dataclass(frozen=True, slots=True)
class Spoken:
    """A file that was written; vlm keeps no track of where it goes from there."""

    voice: str
    version: int
    path: Path
    seconds: float
    rate: int
    torch: str
    took_s: float
    digest: Digest

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "voice": self.voice,
            "version": self.version,
            "path": str(self.path),
            "seconds": round(self.seconds, 3),
            "sample_rate": self.rate,
            "torch": self.torch,
            "took_s": round(self.took_s, 2),
            "digest": str(self.digest),
            "tracked": False,
            "dry_run": False,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        said = f"spoke {duration(self.seconds)} with {self.voice} version {self.version}"
        return [
            f"{said} in {duration(self.took_s)}    {self.path}    {self.rate / 1000:g} kHz",
            "the file is yours: it is not tracked, and a purge does not reach it",
        ]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a voice would say, and where it would go; everything but the speaking was checked."""

    voice: str
    version: int
    path: Path
    torch: str

    def to_json(self) -> dict[str, object]:
        """Return the rehearsal for programs."""
        told = {"voice": self.voice, "version": self.version, "path": str(self.path), "torch": self.torch}
        return {**told, "dry_run": True}

    def lines(self) -> list[str]:
        """Return the rehearsal for people."""
        said = f"would speak with {self.voice} version {self.version} on torch {self.torch} into {self.path}"
        return [said, "nothing was said or written (--dry-run)"]


def rehearse(request: SpeakRequest, *, rooms: Rooms) -> Rehearsed:
    """Check all that `speak` checks before it speaks, and change nothing.

    Raises:
        VlmError: As `speak`.
    """
    material, _, torch = _admitted(request, rooms)
    return Rehearsed(request.name, material.version.number, request.out, torch)


def speak(request: SpeakRequest, *, rooms: Rooms) -> Spoken:
    """Let a voice say a text.

    The speaker file is decrypted for the worker only, in the job's own folder, which is emptied.

    Raises:
        NotFound: There is no such voice.
        Mute: What it is conditioned on was purged, or never came.
        Refused: Its state, a purge or its consent forbid it; or the file exists.
        UsageError: The text or an option cannot be spoken.
        IntegrityError: A stored file is not what it was.
        Unavailable: The default runtime is not installed.
    """
    material, before, torch = _admitted(request, rooms)
    with job_worker("speak", rooms=rooms) as (worker, folder):
        reply = _say(worker, folder, material, request, rooms)
    content, seconds, rate = _wave(reply)
    digest = _keep(request, material, content, before, rooms, seconds=seconds, torch=torch)
    return Spoken(
        voice=request.name,
        version=material.version.number,
        path=request.out,
        seconds=seconds,
        rate=rate,
        torch=torch,
        took_s=reply.wall_s,
        digest=digest,
    )


def _admitted(request: SpeakRequest, rooms: Rooms) -> tuple[Material, dict[str, int], str]:
    """Let a request through, or raise; return the voice, its people's generations, and the torch it speaks on."""
    text = request.text.strip()
    if not text or len(text) > MAX_TEXT:
        raise UsageError(f"a text of 1 to {MAX_TEXT} characters is expected", hint="vlm speak --help")
    check_result(request.out, force=request.force)
    with rooms.registry.read() as uow:
        voice = uow.voices.get(request.name)
        check_use(voice, "speak", uow=uow, now=rooms.clock())
        material = material_of(voice, uow)
        before = generations(voice, uow=uow)
    _must_speak(material, rooms)
    return material, before, default_runtime(rooms).torch


def _must_speak(material: Material, rooms: Rooms) -> None:
    name = material.voice.name
    if material.subject.way is not Way.SPEAK:
        raise Refused(f'nothing here can speak "{name}" yet', hint=f"vlm show {name}")
    if material.subject.speaker is None:
        raise Mute(
            f'"{name}" has no speaker file, so it is mute', hint=f"vlm register {name} --embedding FILE"
        )
    damage = damage_of(material, rooms)
    if damage is not None:
        raise IntegrityError(f'"{name}": {damage}', hint=f"vlm verify {name}")


def _say(worker: Worker, folder: Path, material: Material, request: SpeakRequest, rooms: Rooms) -> Reply:
    weights, speaker = material.subject.weights[0], material.subject.speaker
    assert speaker is not None
    plain = folder / "weights"
    rooms.vault.blobs.materialise(weights.digest, plain)
    params: dict[str, Any] = {
        "weights": worker.put(plain, "voice.safetensors"),
        "speaker": worker.put_bytes(content_of(speaker, rooms), "speaker.safetensors"),
        "text": request.text,
        "device": "cpu",
        "options": {
            "speed": request.speed,
            "pitch_semitones": request.pitch,
            "pause": request.pause,
            "seed": request.seed,
            "language": request.language,
        },
    }
    step, seen = rooms.progress.step("speaking", 1.0), 0.0

    def on_event(values: Mapping[str, Any]) -> None:
        nonlocal seen
        share = values.get("share")
        if isinstance(share, int | float):
            step.advance(float(share) - seen)
            seen = float(share)

    reply = ask(worker, "speak", params, timeout_s=_TIMEOUT_S, on_event=on_event)
    step.done()
    return reply


def _wave(reply: Reply) -> tuple[bytes, float, int]:
    """Return a WAV file of 16 bits, its length in seconds and its rate in Hz.

    Raises:
        IntegrityError: The worker's answer is no sound.
    """
    rate, samples = reply.values.get("rate"), reply.arrays.get("samples")
    if not isinstance(rate, int) or not 1000 <= rate <= 768_000 or samples is None:
        raise IntegrityError("the worker answered no sound")
    if samples.ndim != 1 or samples.dtype != np.float32 or not np.isfinite(samples).all() or not len(samples):
        raise IntegrityError("the worker answered no sound")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(_pcm(samples).tobytes())
    return file.getvalue(), len(samples) / rate, rate


def _pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    pcm: NDArray[np.int16] = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return pcm


def _keep(
    request: SpeakRequest,
    material: Material,
    content: bytes,
    before: dict[str, int],
    rooms: Rooms,
    *,
    seconds: float,
    torch: str,
) -> Digest:
    """Write the file and its event; what was purged meanwhile is neither kept nor written."""
    from blake3 import blake3

    digest = Digest("blake3", blake3(content).hexdigest())
    with rooms.registry.write() as uow:
        voice = uow.voices.get(request.name)
        check_use(voice, "speak", uow=uow, now=rooms.clock())
        check_generation(before, uow=uow)
        subject = voice.subject_uids[0] if voice.subject_uids else None
        uow.voices.used(voice.uid, at=rooms.clock())
        uow.trail.append(
            "speak",
            voice_uid=voice.uid,
            subject_uid=subject,
            ids={"version": material.version.uid},
            details={
                "text": request.text,
                "audio": str(digest),
                "seconds": f"{seconds:.3f}",
                "seed": request.seed,
                "torch": torch,
            },
        )
        write_result(request.out, content, force=request.force)
        uow.commit()
    return digest
