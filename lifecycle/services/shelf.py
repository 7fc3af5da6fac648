"""`vlm show`: everything about one voice; nothing personal but what the caller could open anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lifecycle.domain.voices import DataClass, Role, State, Voice
from lifecycle.render.output import ago, columns, duration, megabytes
from lifecycle.services.shelf_list import ListedVoice, Shelf, list_voices
from lifecycle.services.use import Claims

__all__ = ["ListedVoice", "Shelf", "ShownVoice", "list_voices", "show_voice"]

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.voices import Artifact
    from lifecycle.registry.unit_of_work import UnitOfWork

_SHORT = 12


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
    uses: Claims

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
            "rights": voice.rights,
            "last_used_at": _maybe(voice.last_used_at),
            "retired_at": _maybe(voice.retired_at),
            "contract_ends_at": _maybe(voice.contract_ends_at),
            **self.uses.to_json(),
        }

    def lines(self, *, verbose: bool = False) -> list[str]:
        """Return the voice for people."""
        voice = self.voice
        told = (("mute", voice.mute), ("held", bool(self.holds)), ("in use", bool(self.uses.places())))
        marks = [word for word, so in told if so]
        current = self.versions[-1]["number"] if self.versions else 0
        lines = [", ".join([f"{voice.name} is {voice.state}, version {current}", *marks]), ""]
        owner = f"{voice.owner or '-'}{f' ({voice.contact})' if voice.contact else ''}"
        whose = "your own voice" if voice.own_voice else ", ".join(self.subjects) or "-"
        rows = [["owner", owner], ["subject", whose]]
        rows += [["consent", _consent_line(consent)] for consent in self.consents]
        rows += [["policy", voice.policy], ["registered", _time(voice.created_at)[:16].replace("T", " ")]]
        rows += [["upstream", voice.upstream]] if voice.upstream else []
        rows += [["rights", voice.rights]] if voice.rights else []
        ends = _maybe(voice.contract_ends_at)
        rows += [["contract", f"until {ends[:10]}"]] if ends else []
        last = voice.last_used_at
        rows += [["last used", ago(self.uses.now - last)]] if last else []
        rows += [["in use at", line] for line in self.uses.places()]
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
            uses=Claims([(name, claim) for claim in uow.uses.of_voice(voice.uid)], now, name),
        )


def _missing(artifacts: Sequence[Artifact], version_uid: str) -> list[str]:
    from lifecycle.services.specs.spec import missing_of

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


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else _time(moment)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
