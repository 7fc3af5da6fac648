"""`vlm prepare`: judge recordings before a voice is made of them; nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import UnreadableFile
from lifecycle.services.recordings import find_recordings
from lifecycle.services.studio import default_runtime, engine_errors

if TYPE_CHECKING:
    from lifecycle.domain.progress import Progress
    from lifecycle.runtimes.environments import Runtimes

_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """What recordings are worth.

    Attributes:
        files: Per file `{name, report, error}`.
        whole: The report over all of them together; its fields are those of the engine's `Report`.
        skipped: What was not looked at, with the reason.
    """

    files: Sequence[Mapping[str, Any]]
    whole: Mapping[str, Any]
    skipped: Sequence[str]

    @property
    def verdict(self) -> str:
        """good, usable or refused."""
        return str(self.whole["verdict"])

    @property
    def exit_code(self) -> int:
        """6 where nothing can be made of the recordings."""
        return UnreadableFile.exit_code if self.verdict == "refused" else 0

    def to_json(self) -> dict[str, object]:
        """Return the reports for programs."""
        return {
            "verdict": self.verdict,
            "whole": dict(self.whole),
            "files": [dict(file) for file in self.files],
            "skipped": list(self.skipped),
        }

    def lines(self) -> list[str]:
        """Return the report for people, the answer first."""
        word = {"good": "good enough to train on", "usable": "good enough to train on; it could be better"}
        unread = [f"not read: {file['name']}: {file['error']}" for file in self.files if file.get("error")]
        return [
            word.get(self.verdict, "nothing can be made of it"),
            _measures(self.whole),
            *(f"  {sentence}" for sentence in self.whole["advice"]),
            *unread,
            *(f"skipped: {each}" for each in self.skipped),
        ]


def _measures(whole: Mapping[str, Any]) -> str:
    people = {0: "no speaker", 1: "1 speaker"}.get(int(whole["speakers"]), "more than one speaker")
    noise = "no SNR" if whole["snr_db"] is None else f"SNR {whole['snr_db']:.0f} dB"
    clip = "no clipping" if whole["clipping"] < 1e-4 else f"{whole['clipping']:.2%} clipped"
    loud = "silent" if whole["lufs"] is None else f"{whole['lufs']:.1f} LUFS"
    band = f"bandwidth {whole['bandwidth_hz'] / 1000:.0f} kHz (file says {whole['rate_hz'] / 2000:.0f} kHz)"
    speech = f"speech {whole['speech_s']:.1f} s of {whole['duration_s']:.1f} s"
    return " · ".join((speech, people, noise, clip, band, loud))


def prepare(paths: Sequence[Path], *, runtimes: Runtimes, torch: str, progress: Progress) -> Prepared:
    """Judge recordings in the default runtime.

    Args:
        paths: Recordings, or folders of them.
        torch: Which runtime to use.

    Raises:
        NotFound: A path does not exist.
        UnreadableFile: There is no recording to judge.
        Unavailable: The runtime is not installed.
    """
    runtime = default_runtime(runtimes, torch)
    found = [find_recordings(path) for path in paths]
    files = [file for each in found for file in each.files]
    if not files:
        raise UnreadableFile(f'there is no recording in "{paths[0]}"')
    step = progress.step("prepare", 1.0)
    shown = 0.0

    def tell(values: Mapping[str, Any]) -> None:
        nonlocal shown
        share = float(values.get("share") or 0.0)
        step.advance(max(share - shown, 0.0), f"{len(files)} recordings")
        shown = max(share, shown)

    worker = runtimes.worker(runtime)
    given = {worker.put(file, f"{i:06d}"): file for i, file in enumerate(files)}
    try:
        with engine_errors("the recordings cannot be judged"):
            values = worker.call(
                "prepare", {"paths": list(given)}, timeout_s=_TIMEOUT_S, on_event=tell
            ).values
    finally:
        worker.clear()
    step.done()
    names = {Path(inside).name: file.name for inside, file in given.items()}
    reports = [{**file, "name": names.get(str(file["name"]), str(file["name"]))} for file in values["files"]]
    return Prepared(reports, values["whole"], [each for one in found for each in one.skipped])
