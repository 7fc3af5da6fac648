"""What goes into a voice and what comes out, as YAML that is made at registration and read by `vlm spec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lifecycle.domain.errors import UnreadableFile
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import Artifact, Role
from lifecycle.formats import Inspection, inspect, shown
from lifecycle.formats.model import plural
from lifecycle.services.specs.facts import config_of, needs_of, sheet_of, tokens_of
from lifecycle.services.specs.page import page_of
from lifecycle.services.specs.sheet import WEIGHTS, Sheet
from lifecycle.vault.files import write_durably

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

FORMAT = "vlm-io-spec/1"
KIND = "io-spec"
MAX_BYTES = 2 << 20
_MAX_NODES = 100_000
GIVEN = "said by the I/O specification"


@dataclass(frozen=True, slots=True)
class Spec:
    """The specification of one voice.

    Attributes:
        text, spec: The I/O specification as it is stored, as text and as data.
        sheet: What the voice's files say today, read again.
        given: Whether somebody wrote the stored one; else it was made from the files.
    """

    voice: str
    text: str
    spec: Mapping[str, Any]
    sheet: Sheet
    given: bool

    @property
    def verdict(self) -> Verdict:
        """`differs` where two contradict each other, `not_checked` where no weights say anything."""
        if self.sheet.clashes:
            return Verdict.DIFFERS
        seen = any(line.said.endswith(WEIGHTS) for line in self.sheet.lines)
        return Verdict.WORKS if seen else Verdict.NOT_CHECKED

    def to_json(self) -> Mapping[str, object]:
        """Return the specification for programs."""
        return {
            "voice": self.voice,
            "spec": dict(self.spec),
            "given": self.given,
            "verdict": self.verdict.value,
            "facts": [
                {"section": line.section, "name": line.name, "value": line.value, "said": line.said}
                for line in self.sheet.lines
            ],
            "needs": [
                {"part": need.part, "present": need.present, "purpose": need.purpose}
                for need in self.sheet.needs
            ],
            "contradictions": [
                {"name": clash.name, "message": clash.message} for clash in self.sheet.clashes
            ],
        }

    def markdown(self) -> list[str]:
        """Return it as a page in Markdown."""
        return page_of(self.voice, self.sheet, given=self.text if self.given else None)

    def checked(self) -> list[str]:
        """Return what a check found, for people."""
        sure = sum(line.said.endswith(WEIGHTS) for line in self.sheet.lines)
        told = {
            Verdict.WORKS: f"works: {sure} lines are shown by the weights, and nothing contradicts them",
            Verdict.NOT_CHECKED: "not_checked: the weights say nothing that could be compared",
        }
        lines = [told.get(self.verdict, f"differs: {plural(len(self.sheet.clashes), 'contradiction')}")]
        lines += [f"  {clash.message}" for clash in self.sheet.clashes]
        lines += [f"missing: {need.part}, {need.purpose}" for need in self.sheet.needs if not need.present]
        return lines


def make_spec(weights: Sequence[Inspection], embedding: Inspection | None) -> bytes:
    """Write the specification of a voice from what its files say of themselves.

    Returns:
        YAML; what no file says is left out, never guessed, and `said` tells who says the rest.
    """
    speaker = None if embedding is None else {info.name: info.shape for info in embedding.tensors}
    return _written(weights, sheet_of(weights, speaker))


def _written(weights: Sequence[Inspection], sheet: Sheet) -> bytes:
    spec: dict[str, Any] = {"format": FORMAT, "made_from": [item.kind for item in weights]}
    said: dict[str, list[str]] = {}
    for line in sheet.lines:
        if line.value is not None:
            spec.setdefault(line.section, {})[line.name] = line.value
            said.setdefault(line.said, []).append(f"{line.section}.{line.name}")
    tokens = next((known for item in weights if (known := tokens_of(config_of(item)))), None)
    if tokens:
        spec["token_map"] = [shown(token, 40) for token in tokens]
    spec["said"] = said
    text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text.encode("utf-8")


def read_spec(content: bytes, name: str) -> Mapping[str, Any]:
    """Read a specification strictly bounded, as data.

    Raises:
        UnreadableFile: It is not a table in YAML, too large, or refers to itself.
    """
    quoted = f'"{shown(name)}"'
    if len(content) > MAX_BYTES:
        raise UnreadableFile(f"{quoted} is larger than an I/O specification may be; nothing was stored")
    try:
        text = content.decode("utf-8")
        # Aliases can make a small file huge, and a specification needs none.
        for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            if isinstance(event, yaml.AliasEvent) or count > _MAX_NODES:
                raise UnreadableFile(f"{quoted} uses aliases or is too large; nothing was stored")
        spec = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError):
        raise UnreadableFile(
            f"{quoted} is no I/O specification: it is not YAML; nothing was stored"
        ) from None
    if not isinstance(spec, dict) or not spec:
        raise UnreadableFile(f"{quoted} is no I/O specification: a table is expected; nothing was stored")
    return spec


def spec_of(name: str, *, rooms: Rooms) -> Spec:
    """Return the specification of a voice's current version, with what its files say today.

    Raises:
        NotFound: There is no such voice.
        IntegrityError: A stored file is not what it was.
    """
    with rooms.registry.read() as uow:
        voice = uow.voices.get(name)
        version = uow.voices.current(voice.uid)
        artifacts = [a for a in uow.voices.artifacts(voice.uid) if a.version_uid in {None, version.uid}]
    stored = [artifact for artifact in artifacts if artifact.role is Role.IO_SPEC]
    weights = [_looked_at(artifact, rooms) for artifact in artifacts if artifact.role is Role.WEIGHTS]
    speakers = [artifact for artifact in artifacts if artifact.role is Role.EMBEDDING]
    sheet = sheet_of(weights, shapes_in(speakers[-1].facts) if speakers else None, kept_of(artifacts))
    if not stored:
        text = _written(weights, sheet).decode("utf-8")
        return Spec(name, text, yaml.safe_load(text), sheet, given=False)
    content = rooms.vault.blobs.read_bytes(stored[-1].digest, limit=MAX_BYTES)
    spec = read_spec(content, f"specification of {name}")
    given = stored[-1].facts.get("given") is True
    if given:
        _compare(sheet, spec)
    return Spec(name, content.decode("utf-8", "replace"), spec, sheet, given=given)


def missing_of(artifacts: Sequence[Artifact]) -> list[str]:
    """Return the parts that a voice speaks with and that are not kept with it, told by its rows alone."""
    weights = [(a.kind, a.facts) for a in artifacts if a.role is Role.WEIGHTS]
    return [need.part for need in needs_of(weights, kept_of(artifacts)) if not need.present]


def kept_of(artifacts: Sequence[Artifact]) -> set[str]:
    """Return the roles of what is kept, and the names of base models among it."""
    parts = {str(artifact.facts["part"]) for artifact in artifacts if "part" in artifact.facts}
    return {artifact.role.value for artifact in artifacts} | parts


def shapes_in(facts: Mapping[str, object]) -> dict[str, list[int]]:
    """Return the shapes that a row keeps of a file's tensors, written as "F32 2x40"."""
    told = facts.get("tensors")
    pairs = told.items() if isinstance(told, Mapping) else ()
    sizes = {str(name): str(text).rpartition(" ")[2].split("x") for name, text in pairs}
    return {name: [int(n) for n in shape] for name, shape in sizes.items() if all(n.isdigit() for n in shape)}


def _looked_at(artifact: Artifact, rooms: Rooms) -> Inspection:
    with rooms.vault.blobs.reader(artifact.digest) as file:
        return inspect(file, name=artifact.kind, size=artifact.size_bytes)


def _compare(sheet: Sheet, spec: Mapping[str, Any]) -> None:
    """Hold what somebody wrote against what the files say; words of their own are left alone."""
    for section, values in spec.items():
        for name, value in values.items() if isinstance(values, Mapping) else ():
            line = sheet.find(str(section), str(name))
            if line is not None and line.value is not None and type(value) is type(line.value):
                sheet.say(str(section), str(name), value, GIVEN)
    tokens, count = spec.get("token_map"), sheet.find("tokens", "count")
    if isinstance(tokens, list) and count is not None and count.value is not None:
        sheet.say("tokens", "count", len(tokens), GIVEN)


def write_spec(path: Path, lines: Sequence[str]) -> None:
    """Write a specification to a file of the user's, whole or not at all.

    Raises:
        Unavailable: The folder cannot be written.
    """
    write_durably(path, ("\n".join(lines) + "\n").encode("utf-8"), mode=0o666)
