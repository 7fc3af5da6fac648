"""A speech recogniser in an environment of its own: hears what a voice says, and brings a recording.

The package is moonshine-voice 0.1.0 (MIT code and English models), the last release whose wheel carries the
recogniser. It is installed from wheels whose hashes stand in `judge.lock`, and never imported by vlm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lifecycle.domain.errors import Unavailable
from lifecycle.runtimes.uv import Uv, UvFailed

LOCK = Path(__file__).with_name("judge.lock")
RECORDING = "assets/two_cities.wav"
_TIMEOUT_S = 300

_TRANSCRIBE = """
import array, sys, wave
from moonshine_voice import ModelArch, Transcriber
from moonshine_voice.utils import get_model_path
transcriber = Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY)
for path in sys.argv[1:]:
    with wave.open(path) as file:
        rate, samples = file.getframerate(), array.array("h", file.readframes(file.getnframes()))
    heard = transcriber.transcribe_without_streaming([sample / 32768 for sample in samples], rate)
    print(" ".join(line.text.strip() for line in heard.lines).replace(chr(10), " "))
"""


@dataclass(frozen=True, slots=True)
class Judge:
    """The installed recogniser."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.folder / "bin" / "python"

    @property
    def recording(self) -> Path:
        """44 s of read English that comes with the package.

        Raises:
            Unavailable: The package is not as it was installed.
        """
        found = sorted(self.folder.glob(f"lib/python3*/site-packages/moonshine_voice/{RECORDING}"))
        if not found:
            raise Unavailable("the recording of moonshine-voice 0.1.0 is missing", hint="vlm demo")
        return found[0]

    def transcribe(self, *recordings: Path) -> list[str]:
        """Return what is heard in each 16-bit mono WAV file.

        Raises:
            Unavailable: The recogniser failed.
        """
        done = subprocess.run(
            [str(self.python), "-I", "-c", _TRANSCRIBE, *map(str, recordings)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env={
                "PATH": os.environ.get("PATH", "/usr/bin"),
                "OMP_NUM_THREADS": "2",
                "HOME": str(self.folder),
            },
        )
        lines = done.stdout.splitlines()
        if done.returncode != 0 or len(lines) < len(recordings):
            raise Unavailable(f"the recogniser failed: {done.stderr.strip()[-200:]}", hint="vlm doctor")
        return lines[-len(recordings) :]


def judge_at(root: Path) -> Judge:
    """Return where the recogniser of this lock lies below VLM_RUNTIMES; it may not be there yet."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return Judge(root / ".judge" / digest)


def ensure_judge(root: Path, uv: Uv) -> Judge:
    """Install the recogniser once; a crash leaves nothing that looks finished.

    Args:
        root: VLM_RUNTIMES.

    Raises:
        Unavailable: No wheel for this machine, no network, or no room.
    """
    judge = judge_at(root)
    if (judge.folder / "ready").exists():
        return judge
    shutil.rmtree(judge.folder, ignore_errors=True)
    judge.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        uv.run(["venv", "--quiet", "--python", sys.executable, str(judge.folder)])
        uv.run(
            [
                "pip",
                "install",
                "--quiet",
                "--python",
                str(judge.python),
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--compile-bytecode",
                "-r",
                str(LOCK),
            ]
        )
    except UvFailed as failure:
        shutil.rmtree(judge.folder, ignore_errors=True)
        raise Unavailable(
            f"the recogniser (moonshine-voice 0.1.0) could not be installed: {failure.reason}",
            hint="it needs glibc 2.34 or macOS 15 and a package index; go on without it: vlm demo --no-judge",
        ) from None
    (judge.folder / "ready").touch()
    return judge
