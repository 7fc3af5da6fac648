"""Everything a registration reads: files into the store, each with the artifact that will name it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UnreadableFile, UsageError
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, DataClass, Role
from lifecycle.formats import shown
from lifecycle.registry.queries.voices import RecordingSet
from lifecycle.render.output import duration, megabytes
from lifecycle.services.people.papers import refuse_withdrawn
from lifecycle.services.registration.arrivals import Arrivals, Arrived, NotWanted
from lifecycle.services.registration.recordings import find_recordings, recording_or_skip, require_recording
from lifecycle.services.registration.request import Reference
from lifecycle.services.registration.state import (
    WHOLE,
    Begun,
    Intake,
    facts_of,
    require_fitting,
    size_of,
    small_file,
)
from lifecycle.services.specs.spec import KIND as SPEC_KIND
from lifecycle.services.specs.spec import MAX_BYTES as MAX_SPEC_BYTES
from lifecycle.services.specs.spec import make_spec, read_spec

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.vault.seal import DataKey

MAX_CONSENT_BYTES = 64 << 20
NO_WEIGHTS = frozenset({"audio", "lockfile", "vlm-speaker", "numpy", "faiss-index"})
# Files without which weights cannot be read; they come with --weights and become the voice's configuration.
SETTINGS = frozenset({"so-vits-svc-config"})
# What a day of recording is said of.
RECORDED = frozenset({Role.AUDIO, Role.REFERENCE, Role.FEATURES})
NO_FEATURES = frozenset(
    {"audio", "lockfile", "vlm-voice", "vlm-speaker", "gpt-sovits-gpt", "gpt-sovits-sovits"}
)
NO_EMBEDDING = frozenset({"audio", "lockfile", "vlm-voice"})


class Reader:
    """Takes the files of one registration in, one after the other."""

    def __init__(self, begun: Begun, coming: Arrivals, rooms: Rooms) -> None:
        self._begun = begun
        self._coming = coming
        self._rooms = rooms
        self.intake = Intake()
        self.new_uid = rooms.new_uid

    def read_all(self) -> Intake:
        """Read every file of the request.

        Raises:
            NotFound, UnreadableFile, UnsafeArtifact, Unavailable: As the files and the disk are.
        """
        request = self._begun.request
        for path in request.weights:
            self.intake.weights.append(self._plain(path, Role.WEIGHTS, refuse=NO_WEIGHTS))
        self._require_weights()
        if request.lockfile is not None:
            self.intake.lock = self._plain(request.lockfile, Role.LOCKFILE, only="lockfile").inspection
        if request.embedding is not None:
            self.intake.embedding = self._sealed(request.embedding, Role.EMBEDDING, refuse=NO_EMBEDDING)
        for reference in request.references:
            self._reference(reference)
        for path in request.features:
            self._sealed(path, Role.FEATURES, refuse=NO_FEATURES)
        for path in request.audio:
            self._recordings(path)
        for path in request.consents:
            self._consent(path)
        if request.image is not None:
            self._words(
                Role.IMAGE, "oci-reference", request.image.encode(), {"pinned": "@sha256:" in request.image}
            )
        return self.intake

    def begin_version(self) -> None:
        """Let what came belong to the new version, the files of its weights that an older one has too."""
        here = {(a.role, a.digest) for a in self.intake.new}
        for arrived in self.intake.weights:
            place = (role_of(arrived, Role.WEIGHTS), arrived.digest)
            if place not in here:
                self._add(arrived, place[0], {})
                here.add(place)
        self.intake.follow(self._begun.version_uid, ())

    def specification(self) -> None:
        """Store the I/O specification: the one that was given, else one made from what the files say."""
        path = self._begun.request.io_spec
        if path is not None:
            content = small_file(path, MAX_SPEC_BYTES)
            read_spec(content, path.name)
            self._words(Role.IO_SPEC, SPEC_KIND, content, {"given": True}, path=path)
        elif self.intake.weights:
            told = [arrived.inspection for arrived in self.intake.weights]
            embedding = self.intake.embedding
            content = make_spec(told, None if embedding is None else embedding.inspection)
            self._words(Role.IO_SPEC, SPEC_KIND, content, {"given": False})

    def _plain(
        self, path: Path, role: Role, *, refuse: frozenset[str] = frozenset(), only: str = ""
    ) -> Arrived:
        step = self._rooms.progress.step("reading", size_of(path), "bytes")
        arrived = self._coming.take(
            path,
            look=lambda found, name: require_fitting(found, name, role=role, refuse=refuse, only=only),
            find=lambda content: self._held_plain(content, role) or self._held_plain(content, Role.CONFIG),
            seen=step.advance,
        )
        step.done(_told(path, arrived))
        self._note(arrived, role_of(arrived, role))
        return arrived

    def _require_weights(self) -> None:
        """Refuse settings alone: they are part of what a voice is, but no voice."""
        if self.intake.weights and all(role_of(a, Role.WEIGHTS) is Role.CONFIG for a in self.intake.weights):
            name = shown(self.intake.weights[0].path.name)
            raise UnreadableFile(f'"{name}" is settings without weights; nothing was stored')

    def _sealed(self, path: Path, role: Role, *, refuse: frozenset[str]) -> Arrived:
        step = self._rooms.progress.step("sealing", size_of(path), "bytes")
        arrived = self._coming.take(
            path,
            key=self._key(CLASS_OF_ROLE[role]),
            look=lambda found, name: require_fitting(found, name, role=role, refuse=refuse, only=""),
            find=lambda content: self._held_sealed(content, role),
            seen=step.advance,
        )
        step.done(_told(path, arrived))
        self._note(arrived, role)
        return arrived

    def _reference(self, reference: Reference) -> None:
        step = self._rooms.progress.step("sealing", size_of(reference.path), "bytes")
        arrived = self._coming.take(
            reference.path,
            key=self._key(DataClass.SOURCE),
            look=require_recording,
            find=lambda content: self._held_sealed(content, Role.REFERENCE),
            seen=step.advance,
        )
        step.done(_told(reference.path, arrived))
        facts = {"style": reference.style, "language": reference.language}
        self._note(arrived, Role.REFERENCE, more=facts)
        self.intake.originals.append(arrived)
        if reference.text:
            told = json.dumps({"of": str(arrived.content), "text": reference.text, **facts}, sort_keys=True)
            self._words(Role.REFERENCE, "transcript", told.encode(), facts, sealed=True)

    def _recordings(self, path: Path) -> None:
        found = find_recordings(path)
        step = self._rooms.progress.step("sealing", sum(size_of(file) for file in found.files), "bytes")
        before, seconds, rates = len(self.intake.originals), 0.0, set()
        self.intake.skipped += found.skipped
        for file in found.files:
            try:
                arrived = self._coming.take(
                    file,
                    key=self._key(DataClass.SOURCE),
                    look=require_recording if found.alone else recording_or_skip,
                    find=lambda content: self._held_sealed(content, Role.AUDIO),
                    seen=step.advance,
                )
            except NotWanted as other:
                self.intake.skipped.append(f"{shown(str(other))} (no recording)")
                continue
            length, rate = (
                arrived.inspection.facts.get("seconds"),
                arrived.inspection.facts.get("sample_rate"),
            )
            seconds += float(length) if isinstance(length, int | float) else 0.0
            rates.add(rate)
            self._note(arrived, Role.AUDIO)
            self.intake.originals.append(arrived)
        count = len(self.intake.originals) - before
        if count == 0:
            raise UnreadableFile(
                f'"{shown(str(path))}" holds no recording (WAV, FLAC, MP3, Ogg or Opus); nothing was stored',
                hint=f"vlm register {self._begun.request.name} --audio FOLDER",
            )
        self.intake.seconds = (self.intake.seconds or 0.0) + seconds
        kilohertz = "/".join(f"{rate / 1000:g}" for rate in sorted(r for r in rates if isinstance(r, int)))
        person = self._begun.person
        whose = f"encrypted for subject {person.subject.pseudonym}" if person is not None else "encrypted"
        files = f"{count} file{'s' if count != 1 else ''}"
        step.done(f"{shown(str(path))}    {files}    {duration(seconds)}, {kilohertz} kHz    {whose}")

    def _consent(self, path: Path) -> None:
        """Seal a consent document; its key has an end of its own, given by the policy."""
        request, whose = self._begun.request, self._begun.subject_uid
        if whose is None:
            raise UsageError(
                "--consent belongs to a person: say whose with --subject",
                hint=f"vlm register {request.name} --help",
            )
        content = small_file(path, MAX_CONSENT_BYTES)
        if not content:
            raise UnreadableFile(f'"{shown(path.name)}" is empty, so it is no consent; nothing was stored')
        self._refuse_withdrawn(content, path.name)
        # The same paper for another term or scope is another agreement, so they are part of what is recognised.
        tagged = blake3(content).hexdigest() + str(request.consent_until) + request.consent_terms
        print_ = self._fingerprint(Digest("blake3", blake3(tagged.encode()).hexdigest()))
        if (Role.CONSENT, print_) in self._begun.held:
            self.intake.known += 1
            return
        end = request.consent_end
        keep = self._begun.policy.keep_evidence
        key = self._key(DataClass.EVIDENCE, until=None if end is None or keep is None else keep.after(end))
        stored = self._coming.take_bytes(content, key=key)
        artifact = self._artifact(Role.CONSENT, "document", {}, path=path)
        artifact = replace(
            artifact, digest=stored.digest, size_bytes=stored.size, key_id=key.id, fingerprint=print_
        )
        self.intake.new.append(artifact)
        self.intake.consents.append((self.new_uid(), artifact.uid))

    def _refuse_withdrawn(self, content: bytes, name: str) -> None:
        person, voice = self._begun.person, self._begun.voice
        if person is not None and not person.new:
            with self._rooms.registry.read() as uow:
                uid = None if voice is None else voice.uid
                refuse_withdrawn(person.subject, content, name, voice_uid=uid, uow=uow, rooms=self._rooms)

    def _words(
        self,
        role: Role,
        kind: str,
        content: bytes,
        facts: Mapping[str, object],
        *,
        sealed: bool = False,
        path: Path | None = None,
    ) -> None:
        """Store something small that was made or given as text."""
        digest = Digest("blake3", blake3(content).hexdigest())
        held = self._held_sealed(digest, role) if sealed else self._held_plain(digest, role)
        if held is not None:
            self.intake.known += 1
            return
        key = self._key(CLASS_OF_ROLE[role]) if sealed else None
        stored = self._coming.take_bytes(content, key=key)
        artifact = replace(
            self._artifact(role, kind, facts, path=path),
            digest=stored.digest,
            size_bytes=stored.size,
            key_id=None if key is None else key.id,
            fingerprint=self._fingerprint(digest) if sealed else None,
        )
        self.intake.new.append(artifact)

    def _note(self, arrived: Arrived, role: Role, *, more: Mapping[str, object] | None = None) -> None:
        """Make the artifact of a file, unless the voice has it, or it came twice in this registration."""
        twice = any(a.role is role and a.fingerprint == self._print_of(arrived) for a in self.intake.new)
        if arrived.known is not None or (twice and arrived.key_id is not None):
            self.intake.known += 1
            return
        self._add(arrived, role, more or {})

    def _add(self, arrived: Arrived, role: Role, more: Mapping[str, object]) -> None:
        facts = {**facts_of(arrived.inspection), **more}
        artifact = replace(
            self._artifact(role, arrived.inspection.kind, facts, path=arrived.path),
            digest=arrived.digest,
            size_bytes=arrived.size_bytes,
            key_id=arrived.key_id,
            fingerprint=self._print_of(arrived),
        )
        self.intake.new.append(artifact)
        self.intake.summaries[artifact.uid] = arrived.inspection.summary

    def _artifact(self, role: Role, kind: str, facts: Mapping[str, object], *, path: Path | None) -> Artifact:
        label = None
        if path is not None:
            told = json.dumps({"name": path.name, "path": str(path.absolute())})
            label = self._rooms.vault.keys.seal_text(self._begun.subject_uid, told)
        return Artifact(
            uid=self._rooms.new_uid(),
            version_uid=None if role in WHOLE else self._begun.version_uid,
            role=role,
            data_class=CLASS_OF_ROLE[role],
            digest=Digest("blake3", "0" * 64),
            size_bytes=0,
            key_id=None,
            kind=kind,
            facts=dict(facts),
            label=label,
            fingerprint=None,
            added_at=self._begun.now,
            recorded_at=self._begun.request.recorded_at if role in RECORDED else None,
        )

    def _print_of(self, arrived: Arrived) -> str | None:
        return self._fingerprint(arrived.content) if arrived.key_id is not None else None

    def _fingerprint(self, content: Digest) -> str:
        return self._rooms.vault.keys.fingerprint(self._begun.subject_uid, content)

    def _held_sealed(self, content: Digest, role: Role) -> Artifact | None:
        fingerprint = self._fingerprint(content)
        came = next((a for a in self.intake.new if a.role is role and a.fingerprint == fingerprint), None)
        return self._begun.held.get((role, fingerprint), came)

    def _held_plain(self, content: Digest, role: Role) -> Artifact | None:
        mine = [a for a in self._begun.artifacts if a.version_uid == self._begun.version_uid]
        return next((a for a in mine if a.role is role and a.digest == content), None)

    def _key(self, data_class: DataClass, *, until: datetime | None = None) -> DataKey:
        """Open the key of this voice's things of a class, or make it when the first of them arrives."""
        place = f"{data_class} {until}"
        if place in self._begun.keys:
            return self._begun.keys[place]
        keys, whose = self._rooms.vault.keys, self._begun.subject_uid
        live = [s for s in self._begun.sets if s.destroyed_at is None and s.subject_uid == whose]
        same = [s for s in live if s.data_class is data_class and data_class is not DataClass.EVIDENCE]
        if same:
            key = keys.data_key(same[-1].key_id)
        else:
            key = keys.create_data_key(subject_uid=whose, purpose=data_class.value, until=until)
            made = RecordingSet(
                self._rooms.new_uid(), self._begun.voice_uid, whose, data_class, key.id, self._begun.now
            )
            self.intake.sets.append(made)
        self._begun.keys[place] = key
        return key


def role_of(arrived: Arrived, role: Role) -> Role:
    """Return the role of a file of a voice's weights: settings that came along are its configuration."""
    return Role.CONFIG if role is Role.WEIGHTS and arrived.inspection.kind in SETTINGS else role


def _told(path: Path, arrived: Arrived) -> str:
    kept = "    (there already)" if arrived.known is not None else ""
    return f"{shown(path.name)}    {megabytes(arrived.content_bytes)}    {arrived.inspection.summary}{kept}"
