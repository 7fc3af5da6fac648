"""What a nightly schedule of this installation is, before anything is done with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lifecycle.bootstrap import installation_of
from lifecycle.domain.errors import UsageError
from lifecycle.domain.voices import checked_name
from lifecycle.services.schedules.texts import KINDS, Job, texts
from lifecycle.vault.files import write_durably

if TYPE_CHECKING:
    from lifecycle.settings import Settings

_CARRIED = {
    "runtimes": "VLM_RUNTIMES",
    "default_torch": "VLM_DEFAULT_TORCH",
    "default_policy": "VLM_DEFAULT_POLICY",
}
_SECRET = {"database_url": "VLM_DATABASE_URL", "notify": "VLM_NOTIFY"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options ask for."""

    kind: str
    at: str = "03:00"
    out: Path | None = None
    notify_command: str | None = None
    user: str | None = None
    image: str | None = None
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The texts of a schedule.

    Attributes:
        files: Name -> text.
        remarks: What to know before it is used.
    """

    kind: str
    job: Job
    files: Mapping[str, str]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the texts for programs."""
        return {
            "as": self.kind,
            "at": f"{self.job.hour:02d}:{self.job.minute:02d}",
            "files": [{"name": name, "text": text} for name, text in self.files.items()],
            "remarks": list(self.remarks),
        }

    def lines(self) -> list[str]:
        """Return the texts for people, each with its name where there are several."""
        several = len(self.files) > 1
        return [
            line
            for name, text in self.files.items()
            for line in [*([f"# ---- {name}"] if several else []), *text.rstrip("\n").split("\n")]
        ]


def plan(wish: Wish, settings: Settings) -> Schedule:
    """Return the texts for this installation.

    Raises:
        NotFound: There is no registry.
        UsageError: The time or the scheduler is none.
    """
    if wish.kind not in KINDS:
        raise UsageError(f'"{wish.kind}" is no scheduler that is known', hint=f"one of: {', '.join(KINDS)}")
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", wish.at)
    if found is None:
        raise UsageError(f'"{wish.at}" is no time of day such as 03:00', hint="vlm schedule show --help")
    if wish.user is not None and not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", wish.user):
        raise UsageError(f'"{wish.user}" is no name of an account')
    environment = {
        v: str(getattr(settings, k)) for k, v in _CARRIED.items() if settings.sources[k] == "environment"
    }
    if settings.user_config.exists():
        environment["VLM_CONFIG"] = str(settings.user_config.absolute())
    job = Job(
        program=program(),
        installation=installation_of(settings.home),
        home=PurePosixPath(settings.home),
        keys=PurePosixPath(settings.keys),
        out=PurePosixPath((wish.out or settings.home / "audit").expanduser().absolute()),
        hour=int(found.group(1)),
        minute=int(found.group(2)),
        environment=environment,
        env_file=str(settings.user_config.absolute().with_name("vlm.env")).replace("%", "%%"),
        user=wish.user,
        arguments=(
            *(() if wish.policy is None else ("--apply", checked_name(wish.policy))),
            *(() if wish.notify_command is None else ("--notify-command", wish.notify_command)),
        ),
        image=wish.image or "vlm:latest",
    )
    return Schedule(wish.kind, job, texts(wish.kind, job), _remarks(wish, settings))


def program() -> tuple[str, ...]:
    """Return the words that start this vlm from anywhere."""
    beside = Path(sys.executable).with_name("vlm")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "lifecycle")


def _remarks(wish: Wish, settings: Settings) -> tuple[str, ...]:
    remarks = []
    for key, variable in _SECRET.items():
        if settings.sources.get(key) == "environment" and wish.kind not in {"kubernetes", "github"}:
            remarks.append(
                f"{variable} is set in this shell only and is secret, so it is not written here: put it into "
                f'"{settings.user_config}" as {key}'
            )
    if wish.kind == "kubernetes":
        remarks.append(
            "the registry, the keys and the reports are three claims: vlm-registry, vlm-keys, vlm-reports"
        )
        if wish.image is None:
            remarks.append("name the image with --image")
    if wish.kind in {"kubernetes", "github"}:
        remarks.append("the time is in UTC")
    if wish.kind == "cron":
        remarks.append("cron does not make up for a night on which the machine was off")
    return tuple(remarks)


def write(schedule: Schedule, folder: Path) -> tuple[Path, ...]:
    """Write the texts into a folder, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schedule.files.items():
        write_durably(folder / name, text.encode(), mode=0o644)
    return tuple(folder / name for name in schedule.files)
