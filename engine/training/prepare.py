"""Judge recordings before a voice is made of them: is there enough speech, of one person, clean enough?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.audio.io import read_audio
from engine.audio.loudness import lufs
from engine.audio.quality import bandwidth_hz, clipped_share, snr_db
from engine.audio.slice import speech_segments
from engine.errors import BadAudio, Cancelled
from engine.evaluation.similarity import TWO_SPEAKERS_BELOW
from engine.models.speaker import SpeakerEncoder

RECOMMENDED_S, LEAST_S = 60.0, 10.0  # of speech
ENGINE_RATE_HZ = 24_000
LOW_SNR_DB, HOPELESS_SNR_DB = 20.0, 6.0
CLIPPED, RUINED = 1e-4, 1e-2  # shares of samples in flat tops
QUIET_LUFS = -40.0
OFFSET = 0.01  # of full scale
_COUNT_WINDOW_S, _COUNT_STEP_S = 3.0, 1.5  # people are told apart in windows of this length

Verdict = Literal["good", "usable", "refused"]


@dataclass(frozen=True)
class Report:
    """What a recording, or a folder of them, is worth.

    Attributes:
        duration_s: Length.
        speech_s: Of it, speech.
        speakers: 0 without speech, 1, or 2 where more than one person is suspected.
        snr_db: Speech over the noise in the pauses, None without speech.
        clipping: Share of samples in flat tops.
        bandwidth_hz: Up to where there is sound.
        rate_hz: What the file declares.
        lufs: Gated loudness, None for silence.
        dc: Mean of the samples.
        verdict: "good", "usable" with advice, or "refused".
        advice: One sentence per fault, the worst first.
    """

    duration_s: float
    speech_s: float
    speakers: int
    snr_db: float | None
    clipping: float
    bandwidth_hz: float
    rate_hz: int
    lufs: float | None
    dc: float
    verdict: Verdict
    advice: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON, rounded to what the measures are worth."""
        fields = dataclasses.asdict(self)
        digits = {"duration_s": 2, "speech_s": 2, "snr_db": 1, "clipping": 6, "lufs": 1, "dc": 5}
        for name, places in digits.items():
            if fields[name] is not None:
                fields[name] = round(fields[name], places)
        return fields

    @property
    def summary(self) -> str:
        """One line for people."""
        people = {0: "no speaker", 1: "1 speaker"}.get(self.speakers, "more than one speaker")
        noise = "no SNR" if self.snr_db is None else f"SNR {self.snr_db:.0f} dB"
        clip = "no clipping" if self.clipping < CLIPPED else f"{100 * self.clipping:.2g} % clipped"
        loud = "silent" if self.lufs is None else f"{self.lufs:.1f} LUFS"
        band = f"bandwidth {_khz(self.bandwidth_hz)} (file says {_khz(self.rate_hz)})"
        speech = f"speech {self.speech_s:.1f} s of {self.duration_s:.1f} s"
        return " · ".join((speech, people, noise, clip, band, loud))


@dataclass(frozen=True)
class FileReport:
    """One file of a folder: its report, or why it could not be read."""

    name: str
    report: Report | None
    error: str | None


@dataclass(frozen=True)
class PreparedSet:
    """A set of recordings: each file, and all of them together."""

    files: list[FileReport]
    whole: Report

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON."""
        files = [
            {"name": f.name, "report": f.report.to_dict() if f.report else None, "error": f.error}
            for f in self.files
        ]
        return {"files": files, "whole": self.whole.to_dict()}


@dataclass(frozen=True)
class _Measured:
    """Figures of one recording; `windows` are its embeddings (W, 256)."""

    duration_s: float
    speech_s: float
    snr_db: float | None
    clipping: float
    bandwidth_hz: float
    rate_hz: int
    lufs: float
    dc: float
    windows: NDArray[np.float32]


def judge(
    samples: NDArray[np.float32],
    rate: int,
    *,
    declared_rate: int | None = None,
    encoder: SpeakerEncoder | None = None,
) -> Report:
    """Judge one recording.

    Args:
        samples: (N,) mono in [-1, 1], N > 0, finite.
        rate: Rate of `samples` in Hz.
        declared_rate: What the file said, where it was resampled since.
        encoder: Counts the speakers; the one that comes with the engine by default.

    Raises:
        BadAudio: Empty, of another rank, or not finite.
    """
    return _report([_measure(samples, rate, declared_rate or rate, encoder or _default_encoder())])


def prepare(
    paths: Iterable[Path],
    *,
    encoder: SpeakerEncoder | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> PreparedSet:
    """Judge recordings one by one and as a whole; one that cannot be read is named, not fatal.

    Args:
        paths: Files, and folders that are searched without following links; hidden files are left out.
        encoder: As in `judge`.
        progress: Called with the share done, 0 to 1.
        cancelled: Asked before each file.

    Raises:
        BadAudio: No file at all, or none that could be read.
        Cancelled: `cancelled` said so.
    """
    files = _files(paths)
    if not files:
        raise BadAudio("there are no recordings in what was given")
    encoder = encoder or _default_encoder()
    reports: list[FileReport] = []
    measured: list[_Measured] = []
    for i, path in enumerate(files):
        if cancelled():
            raise Cancelled("preparing was cancelled")
        try:
            samples, rate = read_audio(path)
            figures = _measure(samples, rate, rate, encoder)
        except BadAudio as error:
            reports.append(FileReport(path.name, None, str(error)))
        else:
            measured.append(figures)
            reports.append(FileReport(path.name, _report([figures]), None))
        if progress:
            progress((i + 1) / len(files))
    if not measured:
        raise BadAudio(f"none of {len(files)} files is a readable recording: {reports[0].error}")
    return PreparedSet(reports, _report(measured))


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
            found += sorted(
                p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)
            )
        else:
            found.append(path)
    return found


@lru_cache(maxsize=1)
def _default_encoder() -> SpeakerEncoder:
    return SpeakerEncoder.pretrained()


def _measure(samples: NDArray[np.float32], rate: int, declared: int, encoder: SpeakerEncoder) -> _Measured:
    x = np.asarray(samples, dtype=np.float32)
    if x.ndim != 1 or len(x) == 0:
        raise BadAudio(f"a recording is one row of samples, not shape {x.shape}")
    if not bool(np.isfinite(x).all()):
        raise BadAudio("the recording holds values that are not finite")
    segments = speech_segments(x, rate)
    speech_s = sum(end - start for start, end in segments)
    windows = np.zeros((0, 256), dtype=np.float32)
    if segments:
        windows = encoder.embed_windows(x, rate, window_s=_COUNT_WINDOW_S, step_s=_COUNT_STEP_S)
    return _Measured(
        duration_s=len(x) / rate,
        speech_s=speech_s,
        snr_db=snr_db(x, rate, segments),
        clipping=clipped_share(x),
        bandwidth_hz=bandwidth_hz(x, rate),
        rate_hz=declared,
        lufs=lufs(x, rate),
        dc=float(x.mean(dtype=np.float64)),
        windows=windows,
    )


def _report(parts: list[_Measured]) -> Report:
    """Pool recordings: lengths add up, levels are weighted by speech, band and offset are those of the worst."""
    duration_s = sum(part.duration_s for part in parts)
    speaking = [part for part in parts if part.speech_s > 0]
    speech_s = sum(part.speech_s for part in speaking)
    long = [part for part in speaking if part.speech_s >= 3.0]  # a word or two do not show the band
    worst = (
        min(long, key=lambda part: part.bandwidth_hz) if long else max(parts, key=lambda part: part.speech_s)
    )
    loud = [part for part in speaking if math.isfinite(part.lufs)]
    report = Report(
        duration_s=duration_s,
        speech_s=speech_s,
        speakers=count_speakers(np.concatenate([part.windows for part in parts])),
        snr_db=_weighted([(part.snr_db or 0.0, part.speech_s) for part in speaking]),
        clipping=sum(part.clipping * part.duration_s for part in parts) / duration_s,
        bandwidth_hz=worst.bandwidth_hz,
        rate_hz=worst.rate_hz,
        lufs=_weighted([(part.lufs, part.speech_s) for part in loud]),
        dc=max((part.dc for part in parts), key=abs),
        verdict="refused",
        advice=[],
    )
    verdict, advice = _verdict(report)
    return dataclasses.replace(report, verdict=verdict, advice=advice)


def _weighted(pairs: list[tuple[float, float]]) -> float | None:
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total > 0 else None


def count_speakers(windows: NDArray[np.float32]) -> int:
    """0, 1, or 2 for "more than one": two groups of windows whose centres are as far apart as strangers.

    Args:
        windows: (W, D) unit vectors. Fewer than four, or a group with less than an eighth of them, say nothing.
    """
    if len(windows) < 4:
        return min(1, len(windows))
    apart, smaller = two_groups(windows)
    return 2 if apart < TWO_SPEAKERS_BELOW and smaller >= max(2, len(windows) / 8) else 1


def two_groups(windows: NDArray[np.float32]) -> tuple[float, int]:
    """Part unit vectors (W, D) into two groups, W >= 2: the cosine of their centres, and the smaller one's size.

    Source: spherical k-means, Dhillon and Modha 2001, started from the two that are farthest apart.
    """
    cosine = windows @ windows.T
    first, second = np.unravel_index(int(np.argmin(cosine)), cosine.shape)
    centres = windows[[int(first), int(second)]]
    belongs = np.zeros(len(windows), dtype=np.int64)
    for _ in range(20):
        belongs = np.argmax(windows @ centres.T, axis=1)
        sums = np.stack([windows[belongs == k].sum(axis=0) for k in (0, 1)])
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-8)
    smaller = min(int((belongs == 0).sum()), int((belongs == 1).sum()))
    return float(centres[0] @ centres[1]), smaller


def _verdict(report: Report) -> tuple[Verdict, list[str]]:
    refusals, faults = _refusals(report), _faults(report)
    if refusals:
        return "refused", refusals + faults
    return ("usable" if faults else "good"), faults


def _refusals(report: Report) -> list[str]:
    if report.speech_s == 0:
        return ["no speech was found: the recording is silent or holds only noise"]
    found = []
    if report.speech_s < LEAST_S:
        found.append(f"{report.speech_s:.1f} s of speech are too little; at least {LEAST_S:.0f} s are needed")
    if report.clipping >= RUINED:
        found.append(
            f"{100 * report.clipping:.1f} % of the samples are clipped; record again at a lower level"
        )
    if report.snr_db is not None and report.snr_db < HOPELESS_SNR_DB:
        found.append(
            f"speech is only {report.snr_db:.0f} dB louder than the noise; record in a quieter place"
        )
    return found


def _faults(report: Report) -> list[str]:
    found = []
    if report.speakers > 1:
        found.append("more than one person seems to speak; keep only the recordings of one")
    if LEAST_S <= report.speech_s < RECOMMENDED_S:
        more = RECOMMENDED_S - report.speech_s
        found.append(f"record {math.ceil(more)} s more; {RECOMMENDED_S:.0f} s of speech are recommended")
    if CLIPPED <= report.clipping < RUINED:
        found.append(f"{100 * report.clipping:.2g} % of the samples are clipped; record at a lower level")
    if report.snr_db is not None and HOPELESS_SNR_DB <= report.snr_db < LOW_SNR_DB:
        found.append(
            f"the noise lies {report.snr_db:.0f} dB below the speech; {LOW_SNR_DB:.0f} dB or more are better"
        )
    found += _band_faults(report)
    if report.lufs is not None and report.lufs < QUIET_LUFS:
        found.append(
            f"the recording is quiet ({report.lufs:.0f} LUFS); its noise grows when it is made louder"
        )
    if abs(report.dc) > OFFSET:
        found.append(f"the recording has an offset of {report.dc:.3f} (DC), a fault of the sound device")
    return found


def _band_faults(report: Report) -> list[str]:
    if report.speech_s == 0:
        return []
    held, declared = report.bandwidth_hz, report.rate_hz
    if held < 0.85 * min(declared, ENGINE_RATE_HZ) / 2:
        nothing = f"there is nothing above {_khz(held)} although the file says {_khz(declared)}"
        return [f"{nothing}: it was made from a narrower recording; the original, or a new one, is better"]
    if declared < ENGINE_RATE_HZ:
        return [f"the file holds {_khz(declared)}; {_khz(ENGINE_RATE_HZ)} or more are better"]
    return []


def _khz(hz: float) -> str:
    """Kilohertz in steps of a half below 10, else whole."""
    value = hz / 1000
    return f"{round(2 * value) / 2:g} kHz" if value < 10 else f"{value:.3g} kHz"
