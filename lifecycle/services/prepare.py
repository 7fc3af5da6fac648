"""`vlm prepare`: what recordings are worth, before a voice is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import UnreadableFile
from lifecycle.formats import shown
from lifecycle.render.output import columns, duration
from lifecycle.services.inspect import inspect_file
from lifecycle.services.making import ask, job_worker, write_result
from lifecycle.services.registration.recordings import find_recordings, require_recording

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.runtimes.worker import Worker

_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """The judgement of a folder of recordings, or of one.

    Attributes:
        report: Over everything together, as the engine gave it.
        files: Each file with its own report.
    """

    path: Path
    report: Mapping[str, Any]
    files: tuple[Mapping[str, Any], ...]
    skipped: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether no voice should be made of it."""
        return self.report.get("verdict") == "refused"

    @property
    def advice(self) -> list[str]:
        """What to do better, the worst first."""
        return [str(line) for line in self.report.get("advice", [])]

    @property
    def sentence(self) -> str:
        """Why it is refused, in one sentence."""
        why = self.advice[0] if self.advice else "no voice can be made of it"
        return f'"{shown(str(self.path))}" is refused: {why}'

    def to_json(self) -> dict[str, object]:
        """Return the judgement for programs."""
        body: dict[str, object] = {
            "path": str(self.path),
            **self.report,
            "files": [dict(file) for file in self.files],
            "skipped": list(self.skipped),
        }
        if self.refused:
            body["error"] = {"code": UnreadableFile.code, "message": self.sentence, "hint": None}
        return body

    def lines(self) -> list[str]:
        """Return the judgement for people, the answer first."""
        told, count = self.report, len(self.files)
        first = f"{told.get('verdict')}: {duration(_number(told, 'speech_s'))} of speech in {count} file"
        rows = [
            ["length", duration(_number(told, "duration_s"))],
            ["speech", duration(_number(told, "speech_s"))],
            ["speakers", str(told.get("speakers"))],
            ["noise", _decibel(told.get("snr_db"), "signal over noise")],
            ["clipped", f"{100 * _number(told, 'clipping'):.2f} %"],
            [
                "bandwidth",
                f"{_number(told, 'bandwidth_hz') / 1000:.1f} kHz of {_number(told, 'rate_hz') / 2000:g} kHz",
            ],
            ["loudness", _decibel(told.get("lufs"), "LUFS").replace(" dB", "")],
        ]
        lines = [
            first + ("s" if count != 1 else ""),
            *columns([["  " + name, value] for name, value in rows]),
        ]
        return lines + [f"  {line}" for line in self.advice]


def _number(report: Mapping[str, Any], name: str) -> float:
    value = report.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _decibel(value: object, what: str) -> str:
    return f"{value:.1f} dB {what}" if isinstance(value, int | float) else "none"


def prepare(path: Path, *, rooms: Rooms, out: Path | None = None, force: bool = False) -> Prepared:
    """Judge a recording or a folder of them; nothing is stored or changed.

    Args:
        out: Write the judgement there, as JSON.

    Raises:
        NotFound, UnreadableFile: There is no recording at the path, or one cannot be read.
        Unavailable: The default runtime is not installed.
    """
    files, skipped = recordings_of([path])
    with job_worker("prepare", rooms=rooms) as (worker, _folder):
        report, told = judged(worker, files, rooms=rooms)
    result = Prepared(path, report, tuple(told), tuple(skipped))
    if out is not None:
        write_result(out, (json.dumps(result.to_json(), indent=2) + "\n").encode(), force=force)
    return result


def recordings_of(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the recordings at paths and below folders, told by content, and what was skipped.

    Raises:
        NotFound, UnreadableFile: There is none, or one is damaged.
    """
    files: list[Path] = []
    skipped: list[str] = []
    for path in paths:
        found = find_recordings(path)
        skipped += found.skipped
        for file in found.files:
            report = inspect_file(file)
            if report.inspection.kind != "audio" and not found.alone:
                skipped.append(f"{shown(file.name)} (no recording)")
                continue
            require_recording(report.inspection, file.name)
            files.append(file)
    if not files:
        raise UnreadableFile(f'"{shown(str(paths[0]))}" holds no recording (WAV, FLAC, MP3, Ogg or Opus)')
    return files, skipped


def judged(
    worker: Worker, files: Sequence[Path], *, rooms: Rooms
) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Let a worker judge recordings; return the report over all of them and each file's own."""
    step = rooms.progress.step("preparing", 1.0)
    inside = hand_in(worker, files)
    seen = 0.0

    def on_event(values: Mapping[str, Any]) -> None:
        nonlocal seen
        share = values.get("share")
        if isinstance(share, int | float):
            step.advance(float(share) - seen)
            seen = float(share)

    reply = ask(worker, "prepare", {"paths": inside}, timeout_s=_TIMEOUT_S, on_event=on_event)
    report = reply.values.get("whole")
    told = reply.values.get("files")
    if not isinstance(report, Mapping) or not isinstance(told, list) or len(told) != len(files):
        raise UnreadableFile("the worker's report on the recordings cannot be read")
    step.done(f"{len(files)} file{'s' if len(files) != 1 else ''}")
    named = zip(told, files, strict=True)
    return report, [{**entry, "name": shown(file.name), "path": str(file)} for entry, file in named]


def hand_in(worker: Worker, files: Sequence[Path]) -> list[str]:
    """Give recordings to a worker under numbers, so that no name of theirs enters it; return their paths there."""
    return [worker.put(file, f"{number:05d}") for number, file in enumerate(files)]
