"""Record what a voice gives today, so that later runs have something to be compared with."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import Mute, Refused, Unavailable
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, Role
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.worker import WorkerCrashed, WorkerFailure
from lifecycle.services.guard import check_generation, check_use, generations
from lifecycle.services.trial import Material, content_of, damage_of, material_of, speak
from lifecycle.verification.golden import SEED, SENTENCES, Golden, Made
from lifecycle.verification.plan import Way

KIND = "vlm-golden"
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """A golden that was made, or would be."""

    voice: str
    torch: str
    build: str
    sentences: int
    size_bytes: int
    created: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {
            "voice": self.voice,
            "torch": self.torch,
            "build": self.build,
            "sentences": self.sentences,
            "size_bytes": self.size_bytes,
            "created": self.created,
        }


def record(name: str, *, torch: str | None = None, rooms: Rooms, dry_run: bool = False) -> Recorded:
    """Let a voice speak the fixed sentences and keep every step, sealed with the key of its speaker file.

    Args:
        name: The voice.
        torch: Which installed torch; the default one where nobody says.

    Raises:
        NotFound: There is no such voice.
        Mute: Its conditioning was purged.
        Refused: Nothing here can speak it, or what it speaks is no speech.
        Unavailable: The runtime is not installed; nothing is ever downloaded for a golden.
        IntegrityError: A stored file is not what it was.
    """
    with rooms.registry.read() as uow:
        voice = uow.voices.get(name)
        check_use(voice, "golden", uow=uow, now=rooms.clock())
        material, before = material_of(voice, uow), generations(voice, uow=uow)
    _must_speak(material)
    spec = torch or rooms.settings.default_torch
    runtime = rooms.runtimes.find(spec)
    if runtime is None:
        raise Unavailable(f"no runtime with torch {spec} is installed", hint=f"vlm runtime add {spec}")
    if dry_run:
        return Recorded(name, runtime.torch, runtime.build, len(SENTENCES["en"]), 0, created=False)
    damage = damage_of(material, rooms)
    if damage is not None:
        raise Refused(f'"{name}": {damage}; no golden was recorded', hint=f"vlm verify {name}")
    golden = _spoken(material, runtime, rooms)
    try:
        content = golden.to_bytes()
    except ValueError as error:
        raise Refused(f'"{name}" speaks no speech, so no golden was recorded: {error}') from None
    artifact = _keep(material, content, golden, before=before, rooms=rooms)
    return Recorded(
        name, runtime.torch, runtime.build, len(golden.sentences), artifact.size_bytes, created=True
    )


def record_if_possible(name: str, *, rooms: Rooms) -> Recorded | None:
    """Record a golden where the voice can be spoken and may be, and the default runtime is here; else None."""
    with rooms.registry.read() as uow:
        voice = uow.voices.get(name)
        material = material_of(voice, uow)
    here = (
        rooms.runtimes.find(rooms.settings.default_torch) is not None and rooms.runtimes.sandbox is not None
    )
    if material.subject.way is not Way.SPEAK or material.subject.speaker is None or not here:
        return None
    try:
        return record(name, rooms=rooms)
    except Refused as error:
        rooms.progress.step("golden").done(f"pending: {error.message}")
        return None


def described(name: str, *, rooms: Rooms) -> Mapping[str, object] | None:
    """Return what may be shown of a voice's newest golden, or None where it is pending.

    Raises:
        NotFound: There is no such voice.
    """
    with rooms.registry.read() as uow:
        material = material_of(uow.voices.get(name), uow)
    golden = material.subject.golden
    if golden is None:
        return None
    return {
        **golden.facts,
        "recorded_at": golden.added_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "size_bytes": golden.size_bytes,
    }


def golden_of(material: Material, rooms: Rooms) -> Golden | None:
    """Open a voice's newest golden; None where it is pending.

    Raises:
        IntegrityError: It is damaged.
    """
    if material.subject.golden is None:
        return None
    return Golden.from_bytes(content_of(material.subject.golden, rooms))


def _must_speak(material: Material) -> None:
    name = material.voice.name
    if material.subject.way is not Way.SPEAK:
        raise Refused(
            f'nothing here can speak "{name}", so there is nothing to record', hint=f"vlm verify {name}"
        )
    if material.voice.mute or material.subject.speaker is None:
        raise Mute(f'"{name}" has no speaker file, so it is mute', hint=f"vlm show {name}")


def _spoken(material: Material, runtime: Runtime, rooms: Rooms) -> Golden:
    name, texts = material.voice.name, SENTENCES["en"]
    step = rooms.progress.step("golden", len(texts), "sentences")
    try:
        worker = rooms.runtimes.worker(runtime)
        spoken, embedding = speak(worker, material, rooms, texts=texts, device="cpu", timeout_s=_TIMEOUT_S)
    except (WorkerCrashed, WorkerFailure, ValueError) as error:
        raise Refused(
            f'"{name}" does not speak on torch {runtime.torch}: {error}', hint=f"vlm verify {name}"
        ) from None
    step.done(f"{len(texts)} sentences      torch {runtime.torch} ({runtime.build})")
    hello = worker.hello
    made = Made(
        engine_hash=hello.engine_hash,
        torch=runtime.torch,
        build=runtime.build,
        python=runtime.python,
        lock_hash=runtime.lock_hash,
        cpu=f"{platform.machine()} {hello.cpu_capability}",
        threads=hello.threads,
        seed=SEED,
        identity=str(material.version.identity),
    )
    return Golden(made, embedding, spoken)


def _keep(
    material: Material, content: bytes, golden: Golden, *, before: dict[str, int], rooms: Rooms
) -> Artifact:
    """Seal the golden and write its row; if the voice was purged meanwhile, nothing of it stays."""
    speaker = material.subject.speaker
    assert speaker is not None
    assert speaker.key_id is not None
    key = rooms.vault.keys.data_key(speaker.key_id)
    stored = rooms.vault.blobs.put(io.BytesIO(content), key=key)
    artifact = Artifact(
        uid=rooms.new_uid(),
        version_uid=material.version.uid,
        role=Role.GOLDEN,
        data_class=CLASS_OF_ROLE[Role.GOLDEN],
        digest=stored.digest,
        size_bytes=stored.size,
        key_id=speaker.key_id,
        kind=KIND,
        facts=golden.summary(),
        label=None,
        fingerprint=None,
        added_at=rooms.clock(),
    )
    try:
        with rooms.registry.write() as uow:
            voice = uow.voices.get(material.voice.name)
            check_use(voice, "golden", uow=uow, now=rooms.clock())
            check_generation(before, uow=uow)
            _must_speak(material_of(voice, uow))
            uow.voices.add_artifact(voice.uid, artifact)
            uow.trail.append(
                "golden",
                voice_uid=voice.uid,
                ids={"version": material.version.uid, "artifact": artifact.uid},
                details={
                    "torch": golden.made.torch,
                    "build": golden.made.build,
                    "engine": golden.made.engine_hash,
                },
            )
            uow.commit()
    except BaseException:
        rooms.vault.blobs.remove(stored.digest)
        raise
    return artifact
