"""Voices, their versions and their artifacts, as values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UsageError


class State(StrEnum):
    """Where a voice is in its life."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"
    ERASED = "erased"


class Role(StrEnum):
    """What an artifact is to its voice."""

    WEIGHTS = "weights"
    CONFIG = "config"
    EMBEDDING = "embedding"
    REFERENCE = "reference"
    LOCKFILE = "lockfile"
    IMAGE = "image"
    IO_SPEC = "io-spec"
    AUDIO = "audio"
    FEATURES = "features"
    CONSENT = "consent"
    BASE = "base"
    FRONTEND = "frontend"
    CODE = "code"
    EXPORT = "export"
    GOLDEN = "golden"
    CARD = "card"


class DataClass(StrEnum):
    """What happens to a thing when a person leaves; see docs/explanation/classes.md."""

    SOURCE = "source"
    TEMPLATE = "template"
    LABEL = "label"
    EVIDENCE = "evidence"
    MODEL = "model"

    @property
    def sealed(self) -> bool:
        """Whether things of this class are encrypted on disk."""
        return self is not DataClass.MODEL


CLASS_OF_ROLE: Mapping[Role, DataClass] = {
    Role.WEIGHTS: DataClass.MODEL,
    Role.CONFIG: DataClass.MODEL,
    Role.EMBEDDING: DataClass.TEMPLATE,
    Role.REFERENCE: DataClass.SOURCE,
    Role.LOCKFILE: DataClass.MODEL,
    Role.IMAGE: DataClass.MODEL,
    Role.IO_SPEC: DataClass.MODEL,
    Role.AUDIO: DataClass.SOURCE,
    Role.FEATURES: DataClass.SOURCE,
    Role.CONSENT: DataClass.EVIDENCE,
    Role.BASE: DataClass.MODEL,
    Role.FRONTEND: DataClass.MODEL,
    Role.CODE: DataClass.MODEL,
    Role.EXPORT: DataClass.MODEL,
    Role.GOLDEN: DataClass.TEMPLATE,
    Role.CARD: DataClass.MODEL,
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """One content-addressed file with a role.

    Attributes:
        uid: 32 hexadecimal digits, random.
        digest: BLAKE3 of the bytes on disk (of the ciphertext, where sealed).
        size_bytes: Bytes on disk.
        key_id: The data key that seals it, or None for plain bytes.
        kind: What `inspect` called it, such as "gpt-sovits-gpt".
        facts: JSON-able facts that identify nobody (tensor count, sample rate, seconds).
        label: Sealed original name and path, or None.
        fingerprint: Keyed digest of the content, for personal data; None for plain bytes.
        recorded_at: When a recording was made, where somebody said so; never a file's own time.
        present: False once it was destroyed.
    """

    uid: str
    version_uid: str | None
    role: Role
    data_class: DataClass
    digest: Digest
    size_bytes: int
    key_id: str | None
    kind: str
    facts: Mapping[str, object]
    label: bytes | None
    fingerprint: str | None
    added_at: datetime
    present: bool = True
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One set of weights and configuration; `identity` is what makes it this version."""

    uid: str
    number: int
    identity: Digest
    created_at: datetime
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """What a name stands for.

    Attributes:
        name: Empty once the voice was erased.
        mute: What it is conditioned on was purged, so it cannot speak.
        own_voice: Whoever registered it said that the voice is their own, so no consent is asked for.
        subject_uids: The people it belongs to.
        rights: What it may be used for, in the words of whoever answers for it.
        last_used_at: When it last spoke, was trained further or exported; None if it never was.
        retired_at: When it was last retired.
        contract_ends_at: When the contract with its person ends, where there is one.
    """

    uid: str
    name: str
    state: State
    owner: str | None
    contact: str | None
    policy: str
    upstream: str | None
    created_at: datetime
    changed_at: datetime
    mute: bool = False
    own_voice: bool = False
    subject_uids: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    rights: str | None = None
    last_used_at: datetime | None = None
    retired_at: datetime | None = None
    contract_ends_at: datetime | None = None


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def checked_name(name: str) -> str:
    """Return a voice name that is safe in paths, URLs and terminals.

    Raises:
        UsageError: Anything but 1 to 64 ASCII letters, digits, dots, dashes and underscores, ends alphanumeric.
    """
    if _NAME.fullmatch(name) is None or ".." in name:
        shown = "".join(c if unicodedata.category(c)[0] not in "CZ" else "?" for c in name[:64])
        raise UsageError(
            f'"{shown}" is not a voice name: 1 to 64 letters, digits, ".", "-" and "_", alphanumeric at both ends',
            hint="choose a name such as: kol-lin",
        )
    return name
