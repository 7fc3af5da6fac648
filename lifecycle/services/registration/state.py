"""What a registration knows when it begins, and what came in; small rules about files that need no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UnreadableFile
from lifecycle.domain.voices import Artifact, Role, Version, Voice
from lifecycle.formats import Inspection, shown
from lifecycle.registry.queries.voices import RecordingSet
from lifecycle.render.output import megabytes
from lifecycle.services.inspect import opened, require_safe
from lifecycle.services.people.subjects import Person
from lifecycle.services.registration.arrivals import Arrived
from lifecycle.services.registration.request import RegisterRequest

if TYPE_CHECKING:
    from lifecycle.domain.policies import Policy
    from lifecycle.vault.seal import DataKey

# What a file says of itself may name people and paths; only these facts enter a plain row.
_FACTS = frozenset({
    "n_tensors", "dtype", "opcodes", "protocol", "half", "version", "layers", "phone_rows", "pairs_with", "stage",
    "head", "head_version", "lora", "lora_rank", "complete", "sample_rate", "format", "codec", "channels", "seconds",
    "samples", "bits", "torch", "epoch", "step", "iteration", "global_step", "lightning", "packages", "pinned",
    "hashed", "producer", "opset", "ir_version",
})  # fmt: skip
_MAX_TENSORS = 4000
# Things of the voice as a whole; all others belong to one version.
WHOLE = frozenset({Role.AUDIO, Role.CONSENT, Role.REFERENCE})


@dataclass(slots=True)
class Begun:
    """What was known when the registration began.

    Attributes:
        now: The time that every row of it carries.
        generations: Of the voice's people, to be compared at the commit.
        version_uid: The version that things without one of their own are added to.
        has_consent: Whether the person consented to this voice before, in whatever state that is.
        keys: The data key of each class, opened or made when the first file needs it.
        held: By role and fingerprint, what the voice holds already.
    """

    request: RegisterRequest
    policy: Policy
    now: datetime
    voice: Voice | None
    versions: list[Version]
    artifacts: list[Artifact]
    sets: list[RecordingSet]
    person: Person | None
    generations: dict[str, int]
    voice_uid: str
    version_uid: str = ""
    new_version: bool = False
    has_consent: bool = False
    held: Mapping[tuple[Role, str], Artifact] = field(default_factory=dict)
    keys: dict[str, DataKey] = field(default_factory=dict)

    @property
    def subject_uid(self) -> str | None:
        """The person whose things arrive."""
        return None if self.person is None else self.person.subject.uid

    @property
    def current(self) -> Version | None:
        """The newest version that is not withdrawn."""
        live = [version for version in self.versions if version.withdrawn_at is None]
        return live[-1] if live else None

    @property
    def number(self) -> int:
        """The number of the version that the things belong to."""
        known = [version.number for version in self.versions if version.uid == self.version_uid]
        return known[0] if known else max((version.number for version in self.versions), default=0) + 1

    def adopt(self, version_uid: str) -> None:
        """Let what comes belong to this version."""
        self.version_uid = version_uid


@dataclass(slots=True)
class Intake:
    """What came in.

    Attributes:
        new: Artifacts that the voice does not have yet.
        known: How many files it had already.
        sets: New recording sets.
        consents: For each new consent its id and the artifact of its document.
        originals: Where recordings came from, for `--move` and for what is said at the end.
    """

    new: list[Artifact] = field(default_factory=list)
    summaries: dict[str, str] = field(default_factory=dict)
    known: int = 0
    sets: list[RecordingSet] = field(default_factory=list)
    consents: list[tuple[str, str]] = field(default_factory=list)
    originals: list[Arrived] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    weights: list[Arrived] = field(default_factory=list)
    embedding: Arrived | None = None
    lock: Inspection | None = None
    seconds: float | None = None

    @property
    def identity(self) -> Digest | None:
        """What makes a version: the contents of its weights, whatever they are called and in whichever order."""
        if not self.weights:
            return None
        parts = sorted({str(arrived.content) for arrived in self.weights})
        return Digest("blake3", blake3("\n".join(parts).encode("ascii")).hexdigest())

    def follow(self, version_uid: str, held: Sequence[Artifact]) -> None:
        """Let what came and is not of the voice as a whole belong to a version, but for what that one has."""
        there = {(a.role, a.digest) for a in held if a.version_uid == version_uid}
        moved = [a if a.role in WHOLE else replace(a, version_uid=version_uid) for a in self.new]
        self.new = [a for a in moved if a.role in WHOLE or (a.role, a.digest) not in there]


def facts_of(inspection: Inspection) -> dict[str, object]:
    """Return what may stand in a plain row: sizes, kinds, tensor names and shapes, never free text."""
    facts: dict[str, object] = {
        name: value for name, value in inspection.facts.items() if name in _FACTS and value is not None
    }
    if inspection.tensors:
        facts["tensors"] = {
            tensor.name: f"{tensor.dtype} {'x'.join(str(n) for n in tensor.shape) or 'scalar'}"
            for tensor in inspection.tensors[:_MAX_TENSORS]
        }
    return facts


def require_fitting(found: Inspection, name: str, *, role: Role, refuse: frozenset[str], only: str) -> None:
    """Accept a file that is safe and of a kind that its option takes.

    Raises:
        UnsafeArtifact, UnreadableFile: It is not; nothing is stored.
    """
    require_safe(found, name)
    if found.kind in refuse or (only and found.kind != only):
        what = found.summary.partition("     ")[0] or found.kind
        raise UnreadableFile(
            f'"{shown(name)}" is not what --{role.value} takes: {what}; nothing was stored',
            hint=f"see what it is: vlm inspect {shown(name)}",
        )


def small_file(path: Path, limit: int) -> bytes:
    """Read a whole small file.

    Raises:
        NotFound, UnreadableFile: It is not there, no regular file, or larger than `limit` bytes.
    """
    with opened(path) as (file, size):
        content = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(content) > limit:
        raise UnreadableFile(f'"{shown(path.name)}" is larger than {megabytes(limit)}; nothing was stored')
    return content


def size_of(path: Path) -> int:
    """Return a file's size for a progress bar; 0 where it cannot be told."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
