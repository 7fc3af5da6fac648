"""What depends on a person: their voices, files, exports, live uses; and what is to be done, in order."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lifecycle.domain.voices import DataClass, Role, State, Voice

if TYPE_CHECKING:
    from lifecycle.domain.subjects import Subject
    from lifecycle.registry.unit_of_work import UnitOfWork

PERSONAL = frozenset({DataClass.SOURCE, DataClass.TEMPLATE})
ON_RELEASE = "until the hold is released"


@dataclass(frozen=True, slots=True)
class Dependent:
    """One voice of a person.

    Attributes:
        name: Empty where it was erased.
        files: How many stored files there are of each class.
        exports: How many exports left it.
        uses: Places where something live depends on it.
        held_by: What to lift for it to go: the voice's name, or the person's pseudonym; empty where no hold stands.
    """

    name: str
    state: State
    files: Mapping[str, int]
    exports: int
    uses: tuple[str, ...]
    held_by: str

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "name": self.name or None,
            "state": self.state.value,
            "files": dict(self.files),
            "exports": self.exports,
            "uses": list(self.uses),
            "held": bool(self.held_by),
        }

    def row(self) -> list[str]:
        """Return it as a line of a table."""
        files = ", ".join(f"{number} {word}" for word, number in self.files.items()) or "no files"
        uses = f"used by {', '.join(self.uses)}" if self.uses else ""
        held = "held" if self.held_by else ""
        return [
            "  " + (self.name or "(erased)"),
            self.state.value,
            files,
            "; ".join(filter(None, (uses, held))),
        ]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, as a command.

    Attributes:
        waits_for: What must happen first; empty where nothing must.
    """

    command: str
    why: str
    waits_for: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {"command": self.command, "why": self.why, "waits_for": self.waits_for or None}


@dataclass(frozen=True, slots=True)
class Dependents:
    """Everything that depends on a person.

    Attributes:
        backups: How many backups were made since the person came; they hold sealed copies until they are replaced.
    """

    voices: tuple[Dependent, ...]
    backups: int
    newest_backup: datetime | None

    @property
    def held(self) -> tuple[Dependent, ...]:
        """Voices that a hold keeps."""
        return tuple(voice for voice in self.voices if voice.held_by)

    def steps(self, reference: str | None) -> list[Step]:
        """Return what is to be done about it, in order.

        Args:
            reference: Of the request, as it is handed on to the purge.
        """
        asked = f" --request {shlex.quote(reference)}" if reference else ""
        basis = f"--basis withdrawal{asked}"
        steps = [
            Step(_command("use", "remove", voice.name, "--where", place), "something live depends on it")
            for voice in self.voices
            for place in voice.uses
        ]
        for voice in self.voices:
            waits = f"vlm unhold {voice.held_by}" if voice.held_by else ""
            if voice.state is State.ERASED or not voice.name:
                continue
            personal = any(voice.files.get(each.value) for each in PERSONAL)
            if personal or voice.state is not State.RETIRED:
                command = f"vlm retire {voice.name} --purge-audio {basis}"
                steps.append(Step(command, "recordings and what was made from them", waits))
            steps.append(Step(f"vlm erase {voice.name} {basis}", "the model and the name", waits))
        return steps


def dependents_of(
    subject: Subject, *, voice: Voice | None, uow: UnitOfWork, now: datetime, erased: bool = False
) -> Dependents:
    """Gather what depends on a person, in one voice or in all of theirs.

    Args:
        erased: Count erased voices too.
    """
    uids = [voice.uid] if voice is not None else uow.subjects.voices_of(subject.uid)
    mine = [found for uid in uids if (found := uow.voices.by_uid(uid)) is not None]
    number, newest = uow.cases.backups_since(subject.created_at)
    return Dependents(
        tuple(
            _dependent(each, subject, uow=uow, now=now)
            for each in mine
            if erased or each.state is not State.ERASED
        ),
        number,
        newest,
    )


def _dependent(voice: Voice, subject: Subject, *, uow: UnitOfWork, now: datetime) -> Dependent:
    artifacts = uow.voices.artifacts(voice.uid)
    found = Counter(artifact.data_class for artifact in artifacts)
    holds = uow.subjects.holds_over(voice.uid)
    on_voice = any(hold.voice_uid is not None for hold in holds)
    return Dependent(
        name=voice.name,
        state=voice.state,
        files={each.value: found[each] for each in DataClass if found[each]},
        exports=sum(artifact.role is Role.EXPORT for artifact in artifacts),
        uses=tuple(claim.place for claim in uow.uses.counting(voice.uid, now=now)),
        held_by="" if not holds else voice.name if on_voice else subject.pseudonym,
    )


def _command(*words: str) -> str:
    return " ".join(("vlm", *(shlex.quote(word) for word in words)))


def told(steps: Sequence[Step]) -> list[str]:
    """Return steps for people, numbered."""
    from lifecycle.render.output import columns

    rows = [
        [f"  {number}.", step.command, f"{step.why}, after: {step.waits_for}" if step.waits_for else step.why]
        for number, step in enumerate(steps, 1)
    ]
    return columns(rows)
