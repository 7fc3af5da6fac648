"""What a registration asks for, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path

from lifecycle.domain.errors import UsageError
from lifecycle.domain.subjects import ALL, checked_scope, checked_term
from lifecycle.domain.voices import checked_name
from lifecycle.render.output import megabytes


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference clip: the voice is conditioned on it.

    Attributes:
        style: A word such as "calm".
        text: What is said in it; a personal thing like the clip itself.
        language: Such as "en".
    """

    path: Path
    style: str = "default"
    text: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class RegisterRequest:
    """What the user asked for; see `vlm register --help`.

    Attributes:
        subject: Id or pseudonym of the person whose voice it is.
        features: Features made from recordings, such as an RVC index; personal things like the recordings.
        consent_until: The last day on which the consents hold, in UTC; None: until withdrawn.
        consent_from: The first day on which they hold; None: from now on.
        consent_scope: What they agree to, in words of `lifecycle.domain.subjects.SCOPES`; None: everything.
        own_voice: The voice is the caller's own, so no consent is asked for.
        move: Remove the original recordings once their sealed copies were read back.
        rights: What the voice may be used for, in words.
        contract_ends: The last day of the contract with its person.
        recorded_on: The day of the recordings; without it nobody knows, since times of files are not believed.
    """

    name: str
    weights: tuple[Path, ...] = ()
    embedding: Path | None = None
    references: tuple[Reference, ...] = ()
    lockfile: Path | None = None
    image: str | None = None
    io_spec: Path | None = None
    audio: tuple[Path, ...] = ()
    move: bool = False
    subject: str | None = None
    consents: tuple[Path, ...] = ()
    consent_until: date | None = None
    own_voice: bool = False
    owner: str | None = None
    contact: str | None = None
    upstream: str | None = None
    policy: str | None = None
    features: tuple[Path, ...] = ()
    rights: str | None = None
    contract_ends: date | None = None
    recorded_on: date | None = None
    consent_from: date | None = None
    consent_scope: str | None = None

    @property
    def brings_things(self) -> bool:
        """Whether it brings anything but consents and words about the voice."""
        files = (self.embedding, self.lockfile, self.image, self.io_spec)
        return bool(self.weights or self.references or self.audio or self.features or any(files))

    @property
    def consent_start(self) -> datetime | None:
        """The moment from which on the consents hold."""
        return None if self.consent_from is None else datetime.combine(self.consent_from, time.min, UTC)

    @property
    def consent_words(self) -> str:
        """What the consents agree to, as it is stored.

        Raises:
            UsageError: There is no such scope.
        """
        return ALL if self.consent_scope is None else checked_scope(self.consent_scope)

    @property
    def consent_terms(self) -> str:
        """What tells two agreements on one paper apart, but for the end; empty where nothing was said."""
        told = (self.consent_from, self.consent_scope and self.consent_words)
        return "" if told == (None, None) else f" {told[0]} {told[1]}"

    @property
    def consent_end(self) -> datetime | None:
        """The moment at which the consents end."""
        return _end_of(self.consent_until)

    @property
    def contract_end(self) -> datetime | None:
        """The moment that stands for the contract's last day."""
        return _noon_of(self.contract_ends)

    @property
    def recorded_at(self) -> datetime | None:
        """The moment that stands for the day of the recordings."""
        return _noon_of(self.recorded_on)

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageError: With the option that is missing or too much.
        """
        checked_name(self.name)
        again = f"vlm register {self.name} --help"
        if self.own_voice and (self.subject or self.consents):
            raise UsageError(
                "--own-voice and --subject exclude each other: a voice is yours or another's", hint=again
            )
        if self.consent_until and not self.consents:
            raise UsageError("--consent-until belongs to a --consent FILE", hint=again)
        _check_terms(self, again)
        if self.move and not self.audio and not self.references:
            raise UsageError(
                "--move says what happens to the files of --audio and --ref, and there are none", hint=again
            )
        if self.recorded_on and not (self.audio or self.references or self.features):
            raise UsageError("--recorded-on belongs to --audio, --ref or --features", hint=again)
        for name in ("owner", "contact", "rights", "upstream", "image"):
            value = getattr(self, name)
            if value is not None and (len(value) > 500 or not value.strip() or not value.isprintable()):
                raise UsageError(f"--{name} is empty, too long, or cannot be printed", hint=again)


def _end_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time.max, UTC)


def _noon_of(day: date | None) -> datetime | None:
    # Noon is the same day in every zone from UTC-12 to UTC+11; further east it is the next, so nothing goes early.
    return None if day is None else datetime.combine(day, time(12), UTC)


def _check_terms(request: RegisterRequest, again: str) -> None:
    if (request.consent_from or request.consent_scope) and not request.consents:
        raise UsageError("--consent-from and --consent-scope belong to a --consent FILE", hint=again)
    try:
        _ = request.consent_words
        # A consent that ended may come in with a voice of long ago; one that never held may not.
        checked_term(request.consent_from, request.consent_until, today=date.min)
    except UsageError as error:
        raise UsageError(error.message, hint=again) from None


@dataclass(frozen=True, slots=True)
class Stored:
    """One artifact that a registration brought."""

    role: str
    kind: str
    digest: str
    size_bytes: int
    sealed: bool
    summary: str

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "role": self.role,
            "kind": self.kind,
            "digest": self.digest or None,
            "size": self.size_bytes,
            "sealed": self.sealed,
            "summary": self.summary,
        }


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration did.

    Attributes:
        created: "voice", "version", "additions", or "nothing" where all of it was there already.
        originals_left: How many original recordings still lie where they came from, unencrypted.
        golden: "recorded", "pending" (a runtime is missing), or "none" (nothing here can speak it).
    """

    voice: str
    version: int
    created: str
    dry_run: bool = False
    subject: str | None = None
    artifacts: tuple[Stored, ...] = ()
    stored_bytes: int = 0
    skipped: tuple[str, ...] = ()
    recordings: int = 0
    seconds: float | None = None
    originals_left: int = 0
    originals_removed: int = 0
    golden: str = "none"
    notes: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    next: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "voice": self.voice,
            "version": self.version,
            "created": self.created,
            "already_registered": self.created == "nothing",
            "dry_run": self.dry_run,
            "subject": self.subject,
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "stored_bytes": self.stored_bytes,
            "recordings": self.recordings,
            "seconds": self.seconds,
            "skipped": list(self.skipped),
            "originals_left": self.originals_left,
            "originals_removed": self.originals_removed,
            "golden": self.golden,
            "notes": [" ".join(note).strip() for note in self.notes],
            "warnings": list(self.warnings),
            "next": self.next,
        }

    def lines(self) -> list[str]:
        """Return the result for people, the answer first."""
        from lifecycle.render.output import columns

        lines = [self._answer(), ""]
        lines += columns([[what, cure] if cure else [what] for what, cure in self.notes])
        lines += [f"warning: {warning}" for warning in self.warnings]
        if self.next:
            lines.append(f"next: {self.next}")
        return [line for index, line in enumerate(lines) if line or (index == 1 and len(lines) > 2)]

    def _answer(self) -> str:
        if self.dry_run:
            count = len(self.artifacts)
            return f"would register {self.voice}: {count} file{'s' if count != 1 else ''} read, nothing was stored"
        if self.created == "nothing":
            return f"{self.voice} is already registered as version {self.version}; nothing was stored"
        size = f"{megabytes(self.stored_bytes)} stored"
        if self.created == "additions":
            return f"added to {self.voice} version {self.version}    {size}"
        return f"registered {self.voice} version {self.version}    {size}"
