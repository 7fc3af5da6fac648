"""How news leave the machine: by addresses that apprise understands, or by a command of the user's.

Addresses hold secrets: nothing but their scheme is ever shown, and what a library says about them is not passed on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from lifecycle.domain.errors import Unavailable, UsageError
from lifecycle.services.audits.news import News
from lifecycle.settings import scheme_of

COMMAND_SECONDS = 60
MAX_TOLD = 300
MAX_ADDRESSES = 64 * 1024
INSTALL = 'pip install "voice-lifecycle[notify]"'


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt; `target` shows no secret, `error` is None where it arrived."""

    target: str
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return self.error is None

    def to_json(self) -> dict[str, object]:
        """Return the attempt for programs."""
        return {"target": self.target, "ok": self.ok, "error": self.error}


class Notifier(Protocol):
    """One way to tell somebody; it never raises."""

    def send(self, news: News) -> Delivery:
        """Tell the news."""


def addresses(given: Sequence[str], configured: Sequence[str], *, stdin: IO[str] | None = None) -> list[str]:
    """Return every address: those of the command line, else those of the settings.

    Args:
        given: Addresses; `-` reads standard input, `@FILE` a file, one address a line, `#` begins a remark.

    Raises:
        UsageError: A file could not be read.
    """
    found: list[str] = []
    for one in given or configured:
        if one == "-":
            found += _lines((stdin or sys.stdin).read(MAX_ADDRESSES))
        elif one.startswith("@"):
            found += _lines(_read(Path(one[1:]).expanduser()))
        else:
            found.append(one)
    return list(dict.fromkeys(found))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_ADDRESSES)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f'the addresses in "{path}" could not be read: {why}') from None


def notifiers(urls: Iterable[str], command: str | None, *, offline: bool = False) -> list[Notifier]:
    """Make everything ready to notify, before the audit begins.

    Raises:
        Unavailable: apprise is not installed, the command's program is not there, or vlm is offline.
        UsageError: An address or the command is wrong.
    """
    urls = list(urls)
    if urls and offline:
        raise Unavailable(
            "the setting offline is on, so no address can be notified",
            hint="use a command instead: vlm audit --scheduled --notify-command CMD",
        )
    ready: list[Notifier] = [_address(number, url) for number, url in enumerate(urls, 1)]
    return ready if command is None else [*ready, _command(command)]


def _address(number: int, url: str) -> Notifier:
    try:
        import apprise
    except ImportError:
        raise Unavailable(
            "notifying an address needs apprise, which is not installed", hint=INSTALL
        ) from None
    # Its own remarks may hold an address, and without a handler Python prints them.
    logger = logging.getLogger("apprise")
    logger.handlers[:], logger.propagate = [logging.NullHandler()], False
    ready = apprise.Apprise()
    if "://" not in url or not ready.add(url):
        raise UsageError(
            f"notification address {number} ({scheme_of(url)}) is none that apprise understands",
            hint="see docs/howto/notify.md",
        )
    return AppriseNotifier(ready, scheme_of(url))


def _command(line: str) -> Notifier:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"--notify-command cannot be split into words: {str(error).lower()}") from None
    if not words:
        raise UsageError("--notify-command is empty", hint="vlm audit --help")
    program = shutil.which(words[0])
    if program is None:
        raise Unavailable(f'the notification command "{words[0]}" is not there or may not be run')
    return CommandNotifier((program, *words[1:]))


@dataclass(frozen=True)
class AppriseNotifier:
    """One address, by apprise."""

    ready: Any
    target: str

    def send(self, news: News) -> Delivery:
        """Send a message of plain text."""
        import apprise

        kind = apprise.NotifyType.FAILURE if "critical" in news.title() else apprise.NotifyType.WARNING
        said = _Heard()
        logger = logging.getLogger("apprise")
        logger.addHandler(said)
        try:
            # Two libraries below may print; standard output belongs to the result.
            with contextlib.redirect_stdout(sys.stderr):
                sent = bool(
                    self.ready.notify(
                        title=news.title(), body=news.text(), notify_type=kind, body_format="text"
                    )
                )
        except Exception as error:  # noqa: BLE001 - a plugin of others may raise anything; the audit stands
            return Delivery(self.target, f"it failed with {type(error).__name__}")
        finally:
            logger.removeHandler(said)
        return Delivery(self.target, None if sent else said.reason)


class _Heard(logging.Handler):
    """Keeps of what apprise says only a status or the kind of failure: the rest may hold secrets."""

    reason = "it was not taken"

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        status = re.search(r"error\s*=\s*(\d{3})\b", text)
        if status:
            self.reason = f"it answered with status {status.group(1)}"
        elif (
            re.search(r"connection error|timed? ?out", text, re.IGNORECASE)
            and self.reason == "it was not taken"
        ):
            self.reason = "it could not be reached"


@dataclass(frozen=True)
class CommandNotifier:
    """A program of the user's that reads the news as JSON on its standard input."""

    words: tuple[str, ...]

    @property
    def target(self) -> str:
        """The program's name; its arguments may hold secrets."""
        return f"command {Path(self.words[0]).name}"

    def send(self, news: News) -> Delivery:
        """Run the program, without a shell, for at most `COMMAND_SECONDS`."""
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(news.to_json(), ensure_ascii=True).encode())
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self.words,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                return Delivery(self.target, f"it could not be started: {error.strerror}")
        said = _Said(process.stderr)
        try:
            code = process.wait(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            return Delivery(self.target, f"it did not end within {COMMAND_SECONDS} s and was stopped")
        finally:
            _end(process)
        words = said.words()
        if code == 0:
            return Delivery(self.target)
        return Delivery(self.target, f"it ended with {code}" + (f": {words}" if words else ""))


class _Said(threading.Thread):
    """Reads what a program says, keeps its beginning and throws the rest away."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        self._stream, self._kept = stream, b""
        self.start()

    def run(self) -> None:
        """Read to the end."""
        if self._stream is not None:
            self._kept = self._stream.read(4 * MAX_TOLD)
            while self._stream.read(1 << 16):
                pass

    def words(self) -> str:
        """Return the beginning on one line."""
        self.join(timeout=1.0)
        return " ".join(self._kept.decode("utf-8", "replace").split())[:MAX_TOLD]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program with everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def notify_all(ready: Iterable[Notifier], news: News) -> tuple[Delivery, ...]:
    """Tell the news by every way; one that fails stops no other."""
    return tuple(notifier.send(news) for notifier in ready)
