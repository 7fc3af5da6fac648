"""`vlm list`, `vlm show`: what there is; nothing personal but what the caller could open anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lifecycle.domain.voices import DataClass, Role, State, Voice
from lifecycle.render.output import columns, duration, megabytes

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.voices import Artifact
    from lifecycle.registry.unit_of_work import UnitOfWork

_SHORT = 12


@dataclass(frozen=True, slots=True)
class ListedVoice:
    """One line of the list; `name` is None for a tombstone."""

    name: str | None
    state: str
    version: int
    mute: bool
    held: bool
    owner: str | None
    subjects: tuple[str, ...]
    recordings: int
    size_bytes: int
    policy: str
    registered_at: datetime

    def to_json(self) -> dict[str, object]:
        """Return the line for programs."""
        return {
            "name": self.name,
            "state": self.state,
            "version": self.version,
            "mute": self.mute,
            "held": self.held,
            "owner": self.owner,
            "subjects": list(self.subjects),
            "recordings": self.recordings,
            "size": self.size_bytes,
            "policy": self.policy,
            "registered_at": _time(self.registered_at),
        }


@dataclass(frozen=True, slots=True)
class Shelf:
    """All voices."""

    voices: tuple[ListedVoice, ...]

    def to_json(self) -> Mapping[str, object]:
        """Return the list for programs."""
        return {"voices": [voice.to_json() for voice in self.voices]}

    def lines(self) -> list[str]:
        """Return the list for people."""
        if not self.voices:
            return ["no voices yet", "next: vlm register NAME --weights FILE"]
        rows = [["name", "state", "version", "owner", "recordings", "size", ""]]
        for voice in self.voices:
            marks = [word for word, is_so in (("mute", voice.mute), ("held", voice.held)) if is_so]
            rows.append(
                [
                    voice.name or "(erased)",
                    voice.state,
                    str(voice.version or "-"),
                    voice.owner or "-",
                    str(voice.recordings or "-"),
                    megabytes(voice.size_bytes),
                    ", ".join(marks),
                ]
            )
        return columns(rows)


def list_voices(*, rooms: Rooms, everything: bool = False) -> Shelf:
    """Return the voices by name; `everything` adds the tombstones of erased ones."""
    states = None if everything else (State.ACTIVE, State.DEPRECATED, State.RETIRED)
    with rooms.registry.read() as uow:
        held = uow.voices.holdings()
        voices = uow.voices.all(states=states)
        return Shelf(tuple(_listed(voice, held.get(voice.uid, []), uow) for voice in voices))


def _listed(voice: Voice, holdings: Sequence[tuple[Role, str, int]], uow: UnitOfWork) -> ListedVoice:
    versions = [version.number for version in uow.voices.versions(voice.uid) if version.withdrawn_at is None]
    return ListedVoice(
        name=voice.name or None,
        state=voice.state.value,
        version=max(versions, default=0),
        mute=voice.mute,
        held=bool(uow.subjects.holds_over(voice.uid)),
        owner=voice.owner,
        subjects=_pseudonyms(voice, uow),
        recordings=sum(1 for role, _, _ in holdings if role is Role.AUDIO),
        size_bytes=sum({digest: size for _, digest, size in holdings}.values()),
        policy=voice.policy,
        registered_at=voice.created_at,
    )


def _pseudonyms(voice: Voice, uow: UnitOfWork) -> tuple[str, ...]:
    people = [uow.subjects.by_uid(uid) for uid in voice.subject_uids]
    return tuple(person.pseudonym for person in people if person is not None)


@dataclass(frozen=True, slots=True)
class ShownVoice:
    """Everything that may be said about one voice."""

    voice: Voice
    subjects: tuple[str, ...]
    versions: tuple[Mapping[str, object], ...]
    artifacts: tuple[Mapping[str, object], ...]
    consents: tuple[Mapping[str, object], ...]
    holds: int
    purge_open: bool
    seconds: float
    verdicts: tuple[Mapping[str, object], ...]
    missing: tuple[str, ...]

    def to_json(self) -> Mapping[str, object]:
        """Return the voice for programs."""
        voice = self.voice
        return {
            "name": voice.name,
            "state": voice.state.value,
            "mute": voice.mute,
            "own_voice": voice.own_voice,
            "owner": voice.owner,
            "contact": voice.contact,
            "policy": voice.policy,
            "upstream": voice.upstream,
            "registered_at": _time(voice.created_at),
            "changed_at": _time(voice.changed_at),
            "subjects": list(self.subjects),
            "consents": [dict(consent) for consent in self.consents],
            "holds": self.holds,
            "purge_open": self.purge_open,
            "recordings_seconds": round(self.seconds, 3),
            "versions": [dict(version) for version in self.versions],
            "artifacts": [dict(artifact) for artifact in self.artifacts],
            "verdicts": [dict(verdict) for verdict in self.verdicts],
            "missing": list(self.missing),
        }

    def lines(self, *, verbose: bool = False) -> list[str]:
        """Return the voice for people."""
        voice = self.voice
        marks = [word for word, so in (("mute", voice.mute), ("held", bool(self.holds))) if so]
        current = self.versions[-1]["number"] if self.versions else 0
        lines = [", ".join([f"{voice.name} is {voice.state}, version {current}", *marks]), ""]
        owner = f"{voice.owner or '-'}{f' ({voice.contact})' if voice.contact else ''}"
        whose = "your own voice" if voice.own_voice else ", ".join(self.subjects) or "-"
        rows = [["owner", owner], ["subject", whose]]
        rows += [["consent", _consent_line(consent)] for consent in self.consents]
        rows += [["policy", voice.policy], ["registered", _time(voice.created_at)[:16].replace("T", " ")]]
        rows += [["upstream", voice.upstream]] if voice.upstream else []
        rows += [["recordings", duration(self.seconds)]] if self.seconds else []
        lines += columns(rows)
        lines += ["", *columns([self._file(artifact, verbose=verbose) for artifact in self.artifacts])]
        if self.verdicts:
            lines += ["", *columns([_verdict_line(row) for row in self.verdicts])]
        if self.missing and voice.state in {State.ACTIVE, State.DEPRECATED}:
            lines += ["", f"not kept with it: {', '.join(self.missing)}    vlm spec {voice.name} --md"]
        if self.purge_open:
            lines += ["", "a purge of it was begun and is not finished: vlm doctor"]
        return lines

    @staticmethod
    def _file(artifact: Mapping[str, object], *, verbose: bool) -> list[str]:
        digest = str(artifact["digest"])
        size = artifact["size"]
        row = [
            f"v{artifact['version']}" if artifact["version"] else "",
            str(artifact["role"]),
            str(artifact["kind"]),
            megabytes(size) if isinstance(size, int) else "",
            "sealed" if artifact["sealed"] else "",
        ]
        return [*row, digest if verbose else ""]


def show_voice(name: str, *, rooms: Rooms) -> ShownVoice:
    """Return everything that may be said about a voice.

    Raises:
        NotFound: There is no such voice; the hint proposes the nearest name.
    """
    with rooms.registry.read() as uow:
        voice = uow.voices.get(name)
        versions = uow.voices.versions(voice.uid)
        numbers = {version.uid: version.number for version in versions}
        artifacts = uow.voices.artifacts(voice.uid)
        consents = [c for uid in voice.subject_uids for c in uow.subjects.consents(uid, voice_uid=voice.uid)]
        now = rooms.clock()
        return ShownVoice(
            voice=voice,
            subjects=_pseudonyms(voice, uow),
            versions=tuple(
                {
                    "number": version.number,
                    "identity": str(version.identity),
                    "created_at": _time(version.created_at),
                    "withdrawn": version.withdrawn_at is not None,
                }
                for version in versions
            ),
            artifacts=tuple(_artifact(artifact, numbers) for artifact in artifacts),
            consents=tuple(
                {
                    "scope": consent.scope,
                    "received_at": _time(consent.received_at),
                    "valid_until": None if consent.valid_until is None else _time(consent.valid_until),
                    "holds": consent.holds_at(now),
                    "withdrawn": consent.withdrawn_at is not None,
                }
                for consent in consents
            ),
            holds=len(uow.subjects.holds_over(voice.uid)),
            purge_open=uow.purges.open_of(voice.uid) is not None,
            seconds=sum(_seconds(a) for a in artifacts if a.role is Role.AUDIO),
            verdicts=_verdicts(versions[-1].uid if versions else "", uow),
            missing=tuple(_missing(artifacts, versions[-1].uid if versions else "")),
        )


def _missing(artifacts: Sequence[Artifact], version_uid: str) -> list[str]:
    from lifecycle.services.spec import missing_of

    return missing_of([a for a in artifacts if a.version_uid in {None, version_uid}])


def _verdicts(version_uid: str, uow: UnitOfWork) -> tuple[Mapping[str, object], ...]:
    rows = uow.verdicts.latest(version_uid) if version_uid else ()
    return tuple(
        {
            "torch": row.torch,
            "device": row.device,
            "code": row.code,
            "verdict": row.verdict.value,
            "reason": row.reason,
            "at": _time(row.at),
        }
        for row in rows
    )


def _artifact(artifact: Artifact, numbers: Mapping[str, int]) -> Mapping[str, object]:
    return {
        "id": artifact.uid[:_SHORT],
        "version": None if artifact.version_uid is None else numbers.get(artifact.version_uid),
        "role": artifact.role.value,
        "class": artifact.data_class.value,
        "kind": artifact.kind,
        "digest": str(artifact.digest),
        "size": artifact.size_bytes,
        "sealed": artifact.key_id is not None,
        "added_at": _time(artifact.added_at),
        "facts": {} if artifact.data_class is DataClass.EVIDENCE else dict(artifact.facts),
    }


def _seconds(artifact: Artifact) -> float:
    seconds = artifact.facts.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _consent_line(consent: Mapping[str, object]) -> str:
    until = consent["valid_until"]
    end = f"until {str(until)[:10]}" if until else "until withdrawn"
    if consent["withdrawn"]:
        return f"withdrawn (was given {str(consent['received_at'])[:10]})"
    return end if consent["holds"] else f"ended, it was valid {end}"


def _verdict_line(row: Mapping[str, object]) -> list[str]:
    return [
        f"torch {row['torch']}",
        str(row["device"]),
        f"{row['code']}: {row['verdict']}",
        str(row["reason"]),
    ]


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
