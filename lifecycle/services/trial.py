"""One voice in one worker: hand its files in, let it speak or load, and say what came of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lifecycle.bootstrap import Rooms
from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound, Unavailable
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import Artifact, Version, Voice
from lifecycle.formats import inspect
from lifecycle.formats.hashing import tensor_algorithm
from lifecycle.runtimes.machine import folder_prefix
from lifecycle.runtimes.worker import Worker, WorkerCrashed, WorkerFailure
from lifecycle.verification.answers import embedding_from, spoken_from, tensors_agree
from lifecycle.verification.golden import SEED, Spoken
from lifecycle.verification.plan import Subject, loader_of, subject_of

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork

_MAX_SPEAKER_BYTES = 64 << 20
_STYLE = re.compile(r"\[\d{0,2}m")
_GLOBAL = re.compile(r"Unsupported (?:global: (?:GLOBAL )?|class )([\w.]{1,100})")


@dataclass(frozen=True, slots=True)
class Material:
    """A voice with the files that verification touches."""

    voice: Voice
    version: Version
    subject: Subject


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one trial gave.

    Attributes:
        code: Whose code ran: "engine", "own", "export" or "none".
        ran: Whether anything ran at all.
        next: The first thing to do, where it is known better than from the verdict.
    """

    verdict: Verdict
    reason: str = ""
    code: str = "none"
    ran: bool = False
    detail: Mapping[str, object] = field(default_factory=dict)
    next: str | None = None


def material_of(voice: Voice, uow: UnitOfWork) -> Material:
    """Fetch the current version of a voice and its files."""
    version = uow.voices.current(voice.uid)
    artifacts = uow.voices.artifacts(voice.uid)
    mine = [artifact for artifact in artifacts if artifact.version_uid in {None, version.uid}]
    return Material(voice, version, subject_of(mine))


def damage_of(material: Material, rooms: Rooms, *, looked: dict[Digest, str] | None = None) -> str | None:
    """Hash the files again; say which is not what was stored, or None.

    Args:
        looked: What this command already knows of blobs ("whole", "missing", "changed"); added to.
    """
    seen = {} if looked is None else looked
    for artifact in material.subject.files:
        if artifact.digest not in seen:
            seen[artifact.digest] = _state_of(artifact.digest, rooms)
        if seen[artifact.digest] == "missing":
            return f"its {artifact.role} file is missing from the store"
        if seen[artifact.digest] == "changed":
            return f"its {artifact.role} file changed on disk, so it was not run"
    return None


def _state_of(digest: Digest, rooms: Rooms) -> str:
    if not rooms.vault.blobs.exists(digest):
        return "missing"
    return "whole" if rooms.vault.blobs.verify(digest) else "changed"


def content_of(artifact: Artifact, rooms: Rooms, *, limit: int = _MAX_SPEAKER_BYTES) -> bytes:
    """Return the content of a small file, opened with its key where it is sealed.

    Raises:
        NotFound, IntegrityError: It is gone, damaged, or its key was destroyed.
    """
    key = None if artifact.key_id is None else rooms.vault.keys.data_key(artifact.key_id)
    return rooms.vault.blobs.read_bytes(artifact.digest, key=key, limit=limit)


def hand_in(worker: Worker, artifact: Artifact, rooms: Rooms, name: str) -> str:
    """Give a file of class model to a worker and return its path there; only a link is made where the disk can."""
    folder = rooms.settings.home / "work"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{folder_prefix()}{rooms.new_uid()}"
    try:
        rooms.vault.blobs.materialise(artifact.digest, target)
        return worker.put(target, name)
    finally:
        target.unlink(missing_ok=True)


def speak(
    worker: Worker, material: Material, rooms: Rooms, *, texts: Sequence[str], device: str, timeout_s: float
) -> tuple[tuple[Spoken, ...], NDArray[np.float32]]:
    """Let one of our voices speak sentences step by step.

    Raises:
        WorkerCrashed, WorkerFailure: As the worker's call.
        ValueError: The answer has not the shape that it must have.
    """
    subject = material.subject
    worker.clear()
    weights = hand_in(worker, subject.weights[0], rooms, "voice.safetensors")
    speaker = None
    if subject.speaker is not None:
        speaker = worker.put_bytes(content_of(subject.speaker, rooms), "speaker.safetensors")
    try:
        reply = worker.call(
            "stages",
            {"weights": weights, "speaker": speaker, "texts": list(texts), "seed": SEED, "device": device},
            timeout_s=timeout_s,
        )
    finally:
        with contextlib.suppress(OSError):
            worker.clear()
    arrays = reply.arrays
    return spoken_from(reply.values, arrays, texts=texts, language="en"), embedding_from(arrays)


def load(worker: Worker, material: Material, rooms: Rooms, *, timeout_s: float) -> Outcome:
    """Let torch load a foreign voice's files, and compare every tensor with what was read without torch."""
    told: list[dict[str, object]] = []
    for number, artifact in enumerate(material.subject.weights):
        kind = loader_of(artifact.kind) or ""
        code = "export" if kind in {"torchscript", "onnx"} else "own"
        path = hand_in(worker, artifact, rooms, f"file-{number}")
        try:
            reply = worker.call("try_load", {"path": path, "kind": kind}, timeout_s=timeout_s)
        except WorkerFailure as failure:
            told.append({"kind": artifact.kind, "loads": False, "said": failure.message})
            verdict = Verdict.NOT_CHECKED if failure.code == "unsupported" else Verdict.BROKEN
            ran = failure.code != "unsupported"
            return Outcome(
                verdict, _first_sentence(failure.message), code if ran else "none", ran, {"files": told}
            )
        flaw = None if kind == "onnx" else _compare(artifact, reply.values.get("tensors"), rooms)
        told.append({"kind": artifact.kind, "loads": True, "tensors": len(reply.values.get("tensors") or ())})
        if flaw is not None:
            return Outcome(
                Verdict.BROKEN, f"it loads wrongly: {flaw}", code, ran=True, detail={"files": told}
            )
    return Outcome(
        Verdict.NOT_CHECKED, "it loads; nothing here can run it", "none", ran=True, detail={"files": told}
    )


def facts_of(artifact: Artifact, rooms: Rooms) -> Mapping[str, object]:
    """Read a stored file again without executing it; rows keep only part of what it says.

    Raises:
        NotFound, IntegrityError: It is gone or damaged.
    """
    with rooms.vault.blobs.reader(artifact.digest) as file:
        return inspect(file, name=artifact.role.value, size=artifact.size_bytes).facts


def _compare(artifact: Artifact, loaded: object, rooms: Rooms) -> str | None:
    with rooms.vault.blobs.reader(artifact.digest) as file, tensor_algorithm("sha256"):
        static = inspect(file, name=artifact.role.value, size=artifact.size_bytes, digests=True)
    tensors = [(t.shape, t.dtype, (t.digest or "").removeprefix("sha256:") or None) for t in static.tensors]
    return tensors_agree(tensors, loaded, all_of_them=loader_of(artifact.kind) != "torchscript")


def _first_sentence(message: str) -> str:
    """Cut torch's long explanations to what is wrong."""
    text = _STYLE.sub("", " ".join(message.split()))
    refused = _GLOBAL.search(text)
    if refused is not None:
        return f"torch.load refuses {refused.group(1)}"
    for end in (". This file can", ". In PyTorch", ". Please", ". Could not find"):
        text = text.partition(end)[0]
    return text if len(text) <= 200 else text[:199] + "…"


@contextlib.contextmanager
def failures_as_outcomes(caught: list[Outcome], *, code: str) -> Iterator[None]:
    """Turn what may go wrong in a worker into an outcome: a process that dies is a verdict, not an error of ours."""
    try:
        yield
    except WorkerCrashed as crash:
        caught.append(Outcome(Verdict.CRASHED, crash.sentence, code, ran=True))
    except WorkerFailure as failure:
        where = f" in step {failure.step}" if failure.step else ""
        reason = f"{_first_sentence(failure.message)}{where}"
        if failure.code == "mute":
            caught.append(Outcome(Verdict.NOT_CHECKED, "conditioning was purged"))
        else:
            caught.append(Outcome(Verdict.BROKEN, reason, code, ran=True))
    except ValueError as error:
        caught.append(Outcome(Verdict.CRASHED, f"the worker answered nonsense: {error}", code, ran=True))
    except (IntegrityError, NotFound) as error:
        caught.append(Outcome(Verdict.BROKEN, f"integrity: {error.message}"))
    except Unavailable as error:
        caught.append(Outcome(Verdict.NOT_CHECKED, error.message))
