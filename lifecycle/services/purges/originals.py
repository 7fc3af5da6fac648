"""Where recordings came from: the files at the recorded paths, compared by content before anything is said of them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import VlmError
from lifecycle.domain.voices import Artifact, Voice
from lifecycle.erasure.graph import PERSONAL

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

State = Literal["same", "other", "unreadable"]
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Original:
    """A file that lies where a recording came from.

    Attributes:
        state: "same" content, "other" content (not ours to touch), or "unreadable".
    """

    artifact_uid: str
    path: str
    state: State

    def to_json(self) -> Mapping[str, object]:
        """Return it for programs."""
        return {"path": self.path, "state": self.state}


def find_originals(voice: Voice, artifacts: Sequence[Artifact], *, rooms: Rooms) -> list[Original]:
    """Return what lies at the recorded paths of a voice's personal things; paths with nothing are left out."""
    found = []
    for artifact in artifacts:
        if artifact.data_class not in PERSONAL or artifact.label is None:
            continue
        path = _path_of(artifact.label, rooms=rooms)
        if path is None or not os.path.lexists(path):
            continue
        found.append(Original(artifact.uid, str(path), _compare(voice, artifact, path, rooms=rooms)))
    return found


def _path_of(label: bytes, *, rooms: Rooms) -> Path | None:
    """Return the recorded path, or None where the label holds none or can no longer be opened."""
    try:
        text = rooms.vault.keys.open_text(label)
    except VlmError:
        return None
    try:
        told = json.loads(text)
    except ValueError:
        told = {"path": text}
    path = told.get("path") if isinstance(told, dict) else None
    return Path(path) if isinstance(path, str) and Path(path).is_absolute() else None


def _compare(voice: Voice, artifact: Artifact, path: Path, *, rooms: Rooms) -> State:
    if artifact.fingerprint is None:
        return "unreadable"
    try:
        content = _digest(path)
    except OSError:
        return "unreadable"
    if content is None:
        return "other"
    whose = (*voice.subject_uids, None)
    same = any(_fingerprint(subject, content, rooms=rooms) == artifact.fingerprint for subject in whose)
    return "same" if same else "other"


def _fingerprint(subject_uid: str | None, content: Digest, *, rooms: Rooms) -> str | None:
    try:
        return rooms.vault.keys.fingerprint(subject_uid, content)
    except VlmError:
        return None


def _digest(path: Path) -> Digest | None:
    """Return BLAKE3 of a regular file, None for anything else; links are not followed."""
    from blake3 import blake3

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        hasher = blake3()
        while piece := file.read(_PIECE_BYTES):
            hasher.update(piece)
    return Digest("blake3", hasher.hexdigest())


def remove_original(voice: Voice, artifact: Artifact, path: Path, *, rooms: Rooms) -> str:
    """Remove an original if its content is still the recording's; "gone" is fine, anything else is left.

    Returns:
        "removed", "gone", "changed" or why it could not be removed.
    """
    if not os.path.lexists(path):
        return "gone"
    state = _compare(voice, artifact, path, rooms=rooms)
    if state != "same":
        return "changed" if state == "other" else "unreadable"
    try:
        path.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        return f"not removed: {error.strerror}"
    return "removed"
