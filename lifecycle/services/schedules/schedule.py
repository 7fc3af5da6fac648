"""`vlm schedule`: the nightly audit in the hands of a scheduler that is there already."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lifecycle.domain.errors import Refused, Unavailable
from lifecycle.services.schedules.plan import Schedule, Wish, plan, write
from lifecycle.services.schedules.texts import LABEL, UNIT, Job, cron_marks
from lifecycle.vault.files import make_private, write_durably

if TYPE_CHECKING:
    from lifecycle.settings import Settings

__all__ = ["Installed", "Schedule", "Wish", "install", "plan", "remove", "with_block", "write"]

#: Where `install` and `remove` act; the others are for somebody else's hands.
ACTS = ("systemd", "cron", "launchd")
_PROGRAM_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Installed:
    """What `install` or `remove` did.

    Attributes:
        places: The files or tables that hold it.
        changed: Whether anything is other than before.
        then: What is left for the user, as sentences or commands.
    """

    kind: str
    verb: str
    places: tuple[str, ...]
    changed: bool
    then: tuple[str, ...] = ()
    dry_run: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "as": self.kind,
            "installed": self.verb == "install",
            "places": list(self.places),
            "changed": self.changed,
            "then": list(self.then),
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        done = {"install": "installed in {0}", "remove": "removed from {0}"}[self.verb]
        would = {"install": "would install in {0}", "remove": "would remove from {0}"}[self.verb]
        said = "nothing to change in {0}" if not self.changed else would if self.dry_run else done
        return [*(said.replace("{0}", place) for place in self.places), *self.then]


class Scheduler(Protocol):
    """Something on this machine that can run the audit."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Hand it over."""

    def remove(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Take it back."""


def install(wish: Wish, settings: Settings, *, dry_run: bool = False) -> Installed:
    """Hand the audit to a scheduler of this user; a second time changes nothing.

    Raises:
        Refused: Somebody else's hands are needed, or another registry's schedule stands there.
        Unavailable: The scheduler does not answer here; nothing was changed.
    """
    schedule = plan(wish, settings)
    act = _acting(schedule, verb="install")
    done = act.install(schedule, dry_run=dry_run)
    if not dry_run:
        make_private(Path(schedule.job.out).parent)
        Path(schedule.job.out).mkdir(mode=0o755, exist_ok=True)
    return done


def remove(wish: Wish, settings: Settings, *, dry_run: bool = False) -> Installed:
    """Take the audit back from a scheduler; what others wrote there stays byte by byte.

    Raises:
        Refused: Somebody else's hands are needed, or another registry's schedule stands there.
        Unavailable: The scheduler does not answer here; nothing was changed.
    """
    schedule = plan(wish, settings)
    return _acting(schedule, verb="remove").remove(schedule, dry_run=dry_run)


def _acting(schedule: Schedule, *, verb: str) -> Scheduler:
    kind = schedule.kind
    if kind not in ACTS:
        raise Refused(
            f"{kind} is not on this machine, so there is nothing to {verb} here",
            hint=f"print it with: vlm schedule show --as {kind}",
        )
    if schedule.job.user is not None:
        raise Refused(
            f"a unit of the system is yours to {verb}",
            hint=f"write it with: vlm schedule show --as systemd --user {schedule.job.user} --to DIR",
        )
    schedulers: dict[str, Scheduler] = {"systemd": Systemd(), "cron": Cron(), "launchd": Launchd()}
    return schedulers[kind]


class Systemd:
    """Units of the user's own service manager."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Write the units, and start the timer."""
        self._reach()
        places = self._places(schedule)
        changed = any(_read(path) != schedule.files[path.name] for path in places) or not self._enabled()
        if changed and not dry_run:
            make_private(places[0].parent)
            for path in places:
                write_durably(path, schedule.files[path.name].encode(), mode=0o644)
            self._call("daemon-reload")
            self._call("enable", "--now", f"{UNIT}.timer")
        linger = "so that it runs while nobody is logged in: loginctl enable-linger"
        look = f"look at it with: systemctl --user list-timers {UNIT}.timer"
        return Installed("systemd", "install", tuple(map(str, places)), changed, (linger, look), dry_run)

    def remove(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Stop the timer, and remove the units."""
        self._reach()
        places = self._places(schedule)
        changed = any(path.exists() for path in places)
        if changed and not dry_run:
            self._call("disable", "--now", f"{UNIT}.timer")
            for path in places:
                path.unlink(missing_ok=True)
            self._call("daemon-reload")
        return Installed("systemd", "remove", tuple(map(str, places)), changed, (), dry_run)

    def _places(self, schedule: Schedule) -> list[Path]:
        from platformdirs import user_config_path

        folder = user_config_path("systemd") / "user"
        places = [folder / name for name in schedule.files]
        for path in places:
            first = (_read(path) or f"# {schedule.job.mark}").partition("\n")[0]
            if first != f"# {schedule.job.mark}":
                raise Refused(
                    f'"{path}" is of another registry or was written by somebody else, so it was left as it is',
                    hint="write yours elsewhere with: vlm schedule show --as systemd --to DIR",
                )
        return places

    def _enabled(self) -> bool:
        return _run(["systemctl", "--user", "is-enabled", "--quiet", f"{UNIT}.timer"]).returncode == 0

    def _reach(self) -> None:
        if (
            shutil.which("systemctl") is None
            or _run(["systemctl", "--user", "show", "-p", "Version"]).returncode
        ):
            raise Unavailable(
                "no systemd of this user answers here, so nothing was changed",
                hint="write the units with: vlm schedule show --as systemd --to DIR    or use: --as cron",
            )

    def _call(self, *words: str) -> None:
        done = _run(["systemctl", "--user", *words])
        if done.returncode:
            why = " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
            raise Unavailable(
                f"systemctl --user {words[0]} failed: {why}", hint=f"systemctl --user {shlex.join(words)}"
            )


class Cron:
    """The user's crontab: a block of ours, and every other line as it was."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Put our block in, where it was, else at the end."""
        before = self._table()
        after = with_block(before, schedule.files["crontab"].encode(), schedule.job)
        self._put(before, after, dry_run=dry_run)
        then = ("cron does not make up for a night on which the machine was off",)
        return Installed("cron", "install", ("your crontab",), before != after, then, dry_run)

    def remove(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Take our block out."""
        before = self._table()
        after = with_block(before, b"", schedule.job)
        self._put(before, after, dry_run=dry_run)
        return Installed("cron", "remove", ("your crontab",), before != after, (), dry_run)

    def _table(self) -> bytes:
        if shutil.which("crontab") is None:
            raise Unavailable(
                "there is no crontab on this machine",
                hint="apt-get install cron    or: vlm schedule show --as systemd",
            )
        done = _run(["crontab", "-l"])
        if done.returncode and b"no crontab" not in done.stderr:
            why = " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
            raise Unavailable(f"your crontab could not be read: {why}")
        return b"" if done.returncode else done.stdout

    def _put(self, before: bytes, after: bytes, *, dry_run: bool) -> None:
        if before == after or dry_run:
            return
        done = _run(["crontab", "-"], given=after) if after else _run(["crontab", "-r"])
        if done.returncode:
            why = " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
            raise Unavailable(f"your crontab could not be written, it is as it was: {why}")


def with_block(table: bytes, block: bytes, job: Job) -> bytes:
    """Return a crontab with our block replaced, or put at its end; every other byte stays.

    Raises:
        Refused: Our first line stands there without our last one.
    """
    begin, end = (mark.encode() for mark in cron_marks(job))
    lines = table.split(b"\n")
    if begin not in lines:
        gap = b"" if not table or table.endswith(b"\n") or not block else b"\n"
        return table + gap + block
    first = lines.index(begin)
    if end not in lines[first:]:
        raise Refused(
            f'your crontab has the line "{begin.decode()}" and not its end, so it was left as it is',
            hint="crontab -e",
        )
    last = lines.index(end, first)
    kept = b"\n".join(lines[:first]) + (b"\n" if first else b"")
    return kept + block + b"\n".join(lines[last + 1 :])


class Launchd:
    """A launch agent of the user, on macOS."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Write the property list."""
        path = self._path("install")
        text = schedule.files[path.name]
        changed = _read(path) != text
        if changed and not dry_run:
            make_private(path.parent)
            write_durably(path, text.encode(), mode=0o644)
        return Installed(
            "launchd",
            "install",
            (str(path),),
            changed,
            (f"launchctl bootstrap gui/$(id -u) {path}",),
            dry_run,
        )

    def remove(self, schedule: Schedule, *, dry_run: bool) -> Installed:
        """Remove the property list."""
        path = self._path("remove").with_name(next(iter(schedule.files)))
        changed = path.exists()
        if changed and not dry_run:
            path.unlink()
        return Installed(
            "launchd", "remove", (str(path),), changed, (f"launchctl bootout gui/$(id -u)/{LABEL}",), dry_run
        )

    def _path(self, verb: str) -> Path:
        if sys.platform != "darwin":
            raise Refused(
                f"launchd is on macOS only, so there is nothing to {verb} here",
                hint="print it with: vlm schedule show --as launchd",
            )
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _run(words: list[str], *, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            words,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=_PROGRAM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{words[0]} did not answer within {_PROGRAM_SECONDS} s") from None
