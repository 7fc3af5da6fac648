"""The demo: vlm's own commands, run one after the other on real speech, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import VlmError
from lifecycle.runtimes.environments import Runtimes
from lifecycle.runtimes.indexes import package_settings
from lifecycle.runtimes.judge import Judge, ensure_judge
from lifecycle.runtimes.store import engine_folder
from lifecycle.runtimes.uv import make_uv
from lifecycle.settings import Settings
from lifecycle.verification.words import word_error_rate

# What the demo does, in its order; `vlm demo --dry-run` says it.
PLAN = (
    "fetch a recording and a recogniser (moonshine-voice 0.1.0, 56 MB)",
    "make a registry of its own",
    "make the runtime of the default torch",
    "judge the recording, fit a voice to it (2 minutes), and let it speak",
    "register two more voices from files, one with a consent that has ended",
    "verify all voices on the default torch and on another, which is made too",
    "flip one bit of a stored file, and audit",
    "retire a voice with its recordings, and check the receipt",
)
SENTENCE = "The ship was torn apart on the sharp reef, but everyone reached the shore before the storm."
FLIPPED_AT = -100
_TAKE_S = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it went.

    Attributes:
        command: What was run, as it can be typed; empty where the demo itself acted.
        output: Its standard output.
        line: The one line that says what came out.
    """

    name: str
    command: str
    exit_code: int
    seconds: float
    line: str
    output: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did and left behind."""

    folder: Path
    steps: tuple[Step, ...]
    word_error_rate: float | None
    receipt: Path | None

    @property
    def seconds(self) -> float:
        """Wall time of all steps."""
        return sum(step.seconds for step in self.steps)

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {
            "folder": str(self.folder),
            "seconds": round(self.seconds, 1),
            "word_error_rate": self.word_error_rate,
            "receipt": None if self.receipt is None else str(self.receipt),
            "steps": [asdict(step) for step in self.steps],
            "dry_run": False,
        }


class DemoFailed(VlmError):
    """A step of the demo did not come out as it must."""

    code = "demo_failed"


class Demo:
    """One run of the demo.

    Args:
        folder: Where everything lies: registry, keys, recordings, results. Deleting it forgets the demo.
        torch: The other torch that the voices are verified on.
        on_begin: Called with a step's name before it runs.
        on_end: Called with each finished step.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        torch: str,
        on_begin: Callable[[str], None],
        on_end: Callable[[Step], None],
    ) -> None:
        self.settings = settings
        self.folder = folder.absolute()
        self.torch = torch
        self.on_begin = on_begin
        self.on_end = on_end
        self.steps: list[Step] = []

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command of the demo."""
        return {
            **os.environ,
            "VLM_HOME": str(self.folder / "home"),
            "VLM_KEYS": str(self.folder / "keys"),
            "VLM_RUNTIMES": str(self.settings.runtimes),
        }

    def run(self, *, now: datetime, judged: bool = True) -> DemoResult:
        """Run the whole demo; voices and runtimes of an earlier run are used again.

        Args:
            now: The time of day; the planted consent ended the day before.
            judged: Let a recogniser hear what the voice says, and use its recording.

        Raises:
            DemoFailed: A step did not come out as it must.
            Unavailable: The recogniser's package cannot be had.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        judge = self._recording()
        self._vlm("set up", ["init"])
        default = self.settings.default_torch
        self._vlm("runtime", ["runtime", "add", default, "--yes"])
        self._vlm("prepare", ["prepare", "recordings/reader"])
        self._train()
        rate = self._speak(judge if judged else None)
        names = self._register(now)
        self._plant(undo=True)
        self._vlm("verify", ["verify", "--torch", default, "--torch", self.torch, "--yes"], codes={0, 12, 13})
        self._plant(undo=False)
        self._vlm("audit", ["audit"], codes={11})
        receipt = self._retire(names)
        self._vlm("receipt", ["certificate", "verify", str(receipt.relative_to(self.folder))])
        self._vlm("audit", ["audit"], codes={11})
        return DemoResult(self.folder, tuple(self.steps), rate, receipt)

    def _recording(self) -> Judge:
        self.on_begin("recording")
        begun = time.monotonic()
        uv = make_uv(
            self.settings.runtimes, package_settings(os.environ), os.environ, offline=self.settings.offline
        )
        judge = ensure_judge(self.settings.runtimes, uv)
        for voice, take_s in (("reader", None), ("radio", _TAKE_S)):
            target = self.folder / "recordings" / voice / "take-1.wav"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy_wav(judge.recording, target, seconds=take_s)
        self._end(
            "recording", "", 0, begun, "44 s of a man reading English, from the package moonshine-voice 0.1.0"
        )
        return judge

    def _train(self) -> None:
        if "reader" in self._voices():
            self._end("train", "", 0, time.monotonic(), "reader was made by an earlier run")
            return
        self._vlm("train", ["train", "reader", "--audio", "recordings/reader", "--own-voice"])

    def _speak(self, judge: Judge | None) -> float | None:
        self._vlm("speak", ["speak", "reader", "--text", SENTENCE, "-o", "reader.wav", "--force"])
        if judge is None:
            return None
        self.on_begin("listen")
        begun = time.monotonic()
        heard = judge.transcribe(self.folder / "reader.wav")[0]
        rate = word_error_rate(SENTENCE, heard)
        self._end("listen", "", 0, begun, f'a recogniser heard "{heard}": word error rate {rate:.0%}')
        return rate

    def _register(self, now: datetime) -> str:
        voices = self._voices()
        name = next(n for n in ("radio", *(f"radio-{i}" for i in range(2, 10_000))) if n not in voices)
        arrived = self._arrived()
        consent = arrived / "consent.txt"
        consent.write_text("I agree that my recordings are used for this voice.\n", encoding="utf-8")
        until = (now - timedelta(days=1)).date().isoformat()
        weights, speaker = (f"arrived/{file.name}" for file in sorted(arrived.glob("base*.safetensors")))
        person = ["--subject", "10042", "--consent", "arrived/consent.txt", "--consent-until", until]
        files = ["--weights", weights, "--embedding", speaker, "--audio", "recordings/radio"]
        self._vlm("register", ["register", name, *files, *person, "--owner", "video"])
        if "old-radio" not in voices:
            weights, speaker = (f"arrived/{file.name}" for file in sorted(arrived.glob("debug*.safetensors")))
            self._vlm("register", ["register", "old-radio", "--weights", weights, "--embedding", speaker])
        return name

    def _arrived(self) -> Path:
        """Put the files of two voices into a folder, as a colleague would send them."""
        arrived = self.folder / "arrived"
        arrived.mkdir(exist_ok=True)
        for source in (engine_folder() / "assets" / "base-en").glob("*.safetensors"):
            shutil.copyfile(source, arrived / source.name)
        if not list(arrived.glob("debug*.safetensors")):
            self._make_debug_voice(arrived)
        return arrived

    def _make_debug_voice(self, folder: Path) -> None:
        runtimes = Runtimes(self.settings)
        try:
            worker = runtimes.worker(runtimes.get(self.settings.default_torch))
            made = worker.call("debug_voice", {"out": worker.out(), "seed": 0}).values
            for inside in (str(made["weights"]), str(made["speaker"])):
                (folder / Path(inside).name).write_bytes(worker.take(inside, max_bytes=1 << 20))
        finally:
            runtimes.close()

    def _plant(self, *, undo: bool) -> None:
        """Flip one bit of a stored file, as a failing disk would; `undo` flips it back if it is flipped."""
        marker = self.folder / "flipped"
        if undo != marker.exists():
            return
        shown = json.loads(self._call(["show", "old-radio", "--json"]).stdout)
        digest = next(a["digest"] for a in shown["artifacts"] if a["role"] == "weights")
        path = _blob(self.folder / "home" / "blobs", Digest.parse(digest))
        data = bytearray(path.read_bytes())
        data[FLIPPED_AT] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
        if undo:
            marker.unlink()
        else:
            marker.touch()
            self._end("plant", "", 0, time.monotonic(), "flipped one bit of old-radio's stored weights")

    def _retire(self, name: str) -> Path:
        step = self._vlm("retire", ["retire", name, "--purge-audio", "--basis", "expiry", "--yes"])
        named = re.search(r"certificates/\S+\.json", step.output)
        receipts = sorted(
            (self.folder / "home" / "certificates").glob("*.json"), key=lambda p: p.stat().st_mtime
        )
        if named is None or not receipts:
            raise DemoFailed(
                "retire named no receipt", hint=f"look into {self.folder / 'home' / 'certificates'}"
            )
        return receipts[-1]

    def _voices(self) -> set[str]:
        listed = json.loads(self._call(["list", "--all", "--json"]).stdout)
        return {voice["name"] for voice in listed["voices"]}

    def _vlm(
        self, name: str, arguments: Sequence[str], *, codes: frozenset[int] | set[int] = frozenset({0})
    ) -> Step:
        self.on_begin(name)
        begun = time.monotonic()
        done = self._call(arguments, show=True)
        command = "vlm " + " ".join(_quoted(argument) for argument in arguments)
        if done.returncode not in codes:
            raise DemoFailed(
                f'the step "{name}" ended with exit code {done.returncode}: {command}',
                hint=f"VLM_HOME={self.folder / 'home'} VLM_KEYS={self.folder / 'keys'} {command}",
            )
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        return self._end(name, command, done.returncode, begun, _telling(name, lines), done.stdout)

    def _call(self, arguments: Sequence[str], *, show: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lifecycle", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.DEVNULL,
            text=True,
            check=False,
        )

    def _end(
        self, name: str, command: str, exit_code: int, begun: float, line: str, output: str = ""
    ) -> Step:
        step = Step(name, command, exit_code, round(time.monotonic() - begun, 1), line, output)
        self.steps.append(step)
        self.on_end(step)
        return step


def _telling(name: str, lines: Sequence[str]) -> str:
    """Choose the line of a command's output that says what came out."""
    wanted = {
        "train": "similarity", "register": "registered ", "retire": "retired ", "runtime": "torch ",
        "verify": "voice", "audit": "voices:", "receipt": "",
    }  # fmt: skip
    word = wanted.get(name)
    found = [line for line in lines if word and word in line]
    return (found[-1] if found else lines[0] if lines else "done").strip()


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument


def _copy_wav(source: Path, target: Path, *, seconds: int | None) -> None:
    with wave.open(str(source)) as reader, wave.open(str(target), "wb") as writer:
        writer.setparams(reader.getparams())
        n_frames = reader.getnframes() if seconds is None else seconds * reader.getframerate()
        writer.writeframes(reader.readframes(n_frames))


def _blob(root: Path, digest: Digest) -> Path:
    found = [path for path in root.rglob(f"*{digest.hex[2:]}") if path.is_file()]
    if not found:
        raise DemoFailed("a stored file of old-radio was not found", hint="vlm doctor")
    return found[0]


def tour(result: DemoResult, *, version: str) -> str:
    """Return the demo's transcript as Markdown."""
    lines = [
        "# A tour, as the demo ran it",
        "",
        f"Written by `vlm demo --tour FILE`, vlm {version}. Nothing below is edited.",
        "",
    ]
    for step in result.steps:
        lines += [f"## {step.name}", ""]
        if not step.command:
            lines += [step.line, "", f"({step.seconds} s)", ""]
            continue
        ending = f"    -> {step.exit_code}" if step.exit_code else ""
        output = step.output.replace(str(result.folder), "DEMO").rstrip()
        lines += ["```", f"$ {step.command}{ending}", output, "```", "", f"({step.seconds} s)", ""]
    return "\n".join(lines)
