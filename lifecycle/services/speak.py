"""`vlm speak`: a voice of ours says a text; every use passes the guard before and after."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import Mute, Refused, UsageError
from lifecycle.services.guard import check_generation, check_use, generations
from lifecycle.services.studio import default_runtime, engine_errors
from lifecycle.services.trial import Material, content_of, hand_in, material_of
from lifecycle.vault.files import write_durably
from lifecycle.verification.plan import Way

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

_TIMEOUT_S = 3600.0
_MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Control:
    """How the text is said.

    Attributes:
        speed: 1 is the voice's own; 2 is twice as fast.
        pitch_semitones: 12 is an octave up.
        pause: Factor on pauses.
        seed: Of the noise; the same seed gives the same samples.
    """

    speed: float = 1.0
    pitch_semitones: float = 0.0
    pause: float = 1.0
    seed: int = 0
    language: str = "en"


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """What is to be said, by whom, and where it goes."""

    name: str
    text: str
    out: Path
    control: Control = field(default_factory=Control)
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What was written."""

    out: Path
    seconds_of_audio: float
    seconds: float
    rate_hz: int
    phones: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {**asdict(self), "out": str(self.out), "phones": list(self.phones)}


def speak(request: SpeakRequest, *, rooms: Rooms) -> Said:
    """Say a text and write it as 16-bit WAV; the file appears whole or not at all.

    Raises:
        NotFound: There is no such voice.
        UsageError: The text is empty or too long, or the file exists.
        Refused, Mute: The voice may not or cannot speak now.
        Unavailable: The runtime is not installed.
    """
    _check(request)
    begun = rooms.clock()
    with rooms.registry.read() as uow:
        voice = uow.voices.get(request.name)
        check_use(voice, "speak", uow=uow, now=begun)
        before = generations(voice, uow=uow)
        material = material_of(voice, uow)
    if material.subject.way is not Way.SPEAK:
        raise Refused(
            f'"{request.name}" is of a kind that nothing here can speak yet', hint=f"vlm show {request.name}"
        )
    if material.subject.speaker is None:
        raise Mute(
            f'"{request.name}" has no speaker file, so it is mute',
            hint=f"vlm register {request.name} --embedding FILE",
        )
    values, content = _spoken(request, material, rooms)
    with rooms.registry.write() as uow:
        voice = uow.voices.get(request.name)
        check_use(voice, "speak", uow=uow, now=rooms.clock())
        check_generation(before, uow=uow)
        uow.trail.append("speak", voice_uid=voice.uid, ids={"version": material.version.uid})
        uow.commit()
    write_durably(request.out, content)
    request.out.chmod(0o644)
    return Said(
        out=request.out,
        seconds_of_audio=round(float(values["seconds"]), 3),
        seconds=round((rooms.clock() - begun).total_seconds(), 3),
        rate_hz=int(values["rate"]),
        phones=tuple(str(phone) for phone in values["phones"]),
    )


def _check(request: SpeakRequest) -> None:
    if not request.text.strip():
        raise UsageError(
            "there is nothing to say: the text is empty", hint="vlm speak NAME --text TEXT -o FILE"
        )
    if len(request.text) > _MOST_CHARACTERS:
        raise UsageError(
            f"the text has {len(request.text)} characters; at most {_MOST_CHARACTERS} are said at once"
        )
    if request.out.exists() and not request.overwrite:
        raise UsageError(
            f'"{request.out}" exists already; nothing was said', hint="name another file, or add --force"
        )
    if not request.out.parent.is_dir():
        raise UsageError(f'the folder "{request.out.parent}" does not exist', hint="make it first")


def _spoken(request: SpeakRequest, material: Material, rooms: Rooms) -> tuple[Mapping[str, Any], bytes]:
    runtime = default_runtime(rooms.runtimes, rooms.settings.default_torch)
    worker = rooms.runtimes.worker(runtime)
    step, shown = rooms.progress.step("speak", 1.0), 0.0

    def tell(values: Mapping[str, Any]) -> None:
        nonlocal shown
        share = float(values.get("share") or 0.0)
        step.advance(max(share - shown, 0.0))
        shown = max(share, shown)

    assert material.subject.speaker is not None
    worker.clear()
    try:
        params = {
            "weights": hand_in(worker, material.subject.weights[0], rooms, "voice.safetensors"),
            "speaker": worker.put_bytes(content_of(material.subject.speaker, rooms), "speaker.safetensors"),
            "text": request.text,
            "options": asdict(request.control),
        }
        with engine_errors(f'"{request.name}" cannot say this'):
            reply = worker.call("speak", params, timeout_s=_TIMEOUT_S, on_event=tell)
    finally:
        worker.clear()
    step.done()
    return reply.values, _wav(reply.arrays["samples"], int(reply.values["rate"]))


def _wav(samples: Any, rate_hz: int) -> bytes:
    """Return float samples (N,) in [-1, 1] as a 16-bit mono WAV file."""
    import numpy as np

    whole = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(whole.tobytes())
    return buffer.getvalue()
