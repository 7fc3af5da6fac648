"""Figures of a voice: how fast it speaks, and how much it resembles the person it was made from."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import BadText, Mute
from engine.evaluation.similarity import Resemblance, resemblance
from engine.models.speaker import SpeakerEncoder
from engine.synthesis.session import Session, SpeakOptions


@dataclass(frozen=True)
class Latency:
    """Times on this machine, now; recorded, never compared between machines.

    Attributes:
        load_s: From files to a session.
        first_s: From the first text to its samples, with everything cold.
        median_s: The same over the texts that follow, or the first if it is the only one.
        slowest_s: The slowest of all.
        audio_s: Length of what was spoken.
        real_time_factor: Seconds of work per second of speech, without loading and the first text.
        texts: How many were spoken.
    """

    load_s: float
    first_s: float
    median_s: float
    slowest_s: float
    audio_s: float
    real_time_factor: float
    texts: int

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON, in milliseconds' precision."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(self).items()
        }


def measure_latency(
    load: Callable[[], Session], texts: Sequence[str], *, clock: Callable[[], float] = time.perf_counter
) -> Latency:
    """Load a voice and let it speak each text once.

    Args:
        load: Gives the session; it is timed, too.
        texts: At least one.
        clock: Seconds that only go up.

    Raises:
        BadText: No text.
        Mute: The voice has no speaker file.
    """
    if not texts:
        raise BadText("there is nothing to speak, so there is no latency")
    started = clock()
    session = load()
    load_s = clock() - started
    times: list[float] = []
    lengths: list[float] = []
    for text in texts:
        started = clock()
        spoken = session.speak(text, options=SpeakOptions())
        times.append(clock() - started)
        lengths.append(len(spoken.samples) / spoken.rate)
    warm, spoken_s = (times[1:], lengths[1:]) if len(times) > 1 else (times, lengths)
    return Latency(
        load_s=load_s,
        first_s=times[0],
        median_s=statistics.median(warm),
        slowest_s=max(times),
        audio_s=sum(lengths),
        real_time_factor=sum(warm) / max(sum(spoken_s), 1e-9),
        texts=len(texts),
    )


def measure_resemblance(session: Session, texts: Sequence[str], encoder: SpeakerEncoder) -> Resemblance:
    """Compare what a voice speaks with the embedding of its person.

    Args:
        session: A voice whose embedding was made by `encoder`.
        texts: Spoken one after the other; together they should last six seconds or more.
        encoder: As in `SpeakerEncoder.pretrained`.

    Raises:
        BadText: No text.
        Mute: The voice has no speaker file.
        BadAudio: What it speaks holds no speech.
    """
    if session.embedding is None:
        raise Mute("the voice has no speaker file, so there is nobody to compare it with")
    if not texts:
        raise BadText("there is nothing to speak, so there is nothing to compare")
    spoken = np.concatenate([session.speak(text).samples for text in texts])
    return resemblance(encoder.embed(spoken, session.rate), session.embedding)
