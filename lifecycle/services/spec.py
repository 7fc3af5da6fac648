"""What goes into a voice and what comes out, as YAML that is made at registration and read by `vlm spec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from lifecycle.domain.errors import NotFound, UnreadableFile
from lifecycle.domain.voices import Role
from lifecycle.formats import Inspection, shown

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

FORMAT = "vlm-io-spec/1"
KIND = "io-spec"
MAX_BYTES = 2 << 20
_MAX_NODES = 100_000
_SIZES = ("rate", "n_fft", "win", "hop", "n_mels", "fmin", "fmax")


@dataclass(frozen=True, slots=True)
class Spec:
    """The specification of one voice."""

    voice: str
    text: str
    spec: Mapping[str, Any]

    def to_json(self) -> Mapping[str, object]:
        """Return the specification for programs."""
        return {"voice": self.voice, "spec": dict(self.spec)}

    def markdown(self) -> list[str]:
        """Return it as a page in Markdown."""
        lines = [f"# What goes into {self.voice}, and what comes out", ""]
        for section, value in self.spec.items():
            if section == "format":
                continue
            lines += [f"## {str(section).replace('_', ' ')}", ""]
            if isinstance(value, Mapping):
                lines += ["| | |", "|---|---|"]
                lines += [f"| {_cell(key)} | {_cell(item)} |" for key, item in value.items()]
            elif isinstance(value, list):
                lines += [f"- {_cell(item)}" for item in value]
            else:
                lines.append(_cell(value))
            lines.append("")
        return lines[:-1]


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def make_spec(weights: Sequence[Inspection], embedding: Inspection | None) -> bytes:
    """Write the specification of a voice from what its files say of themselves.

    Returns:
        YAML; what no file says is left out, never guessed.
    """
    rate = next((found for item in weights if (found := _rate(item)) is not None), None)
    spec: dict[str, object] = {
        "format": FORMAT,
        "made_from": [item.kind for item in weights],
        "input": _input(weights),
        "output": {"kind": "waveform", "channels": 1} | ({"sample_rate_hz": rate} if rate else {}),
    }
    dimensions = _dimensions(weights, embedding)
    if dimensions:
        spec["dimensions"] = dimensions
    tokens = next((known for item in weights if (known := _tokens(item))), None)
    if tokens:
        spec["token_map"] = tokens
    text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text.encode("utf-8")


def _config(item: Inspection) -> Mapping[str, Any]:
    config = item.facts.get("config")
    return config if isinstance(config, Mapping) else {}


def _rate(item: Inspection) -> int | None:
    config = _config(item)
    data = config.get("data")
    nested = data.get("sampling_rate") if isinstance(data, Mapping) else None
    for value in (item.facts.get("sample_rate"), config.get("rate"), nested, config.get("sampling_rate")):
        if isinstance(value, int) and not isinstance(value, bool) and 1000 <= value <= 768_000:
            return value
    return None


def _input(weights: Sequence[Inspection]) -> dict[str, object]:
    told: dict[str, object] = {"kind": "text"}
    for item in weights:
        languages = _config(item).get("languages")
        if isinstance(languages, list | tuple) and all(isinstance(word, str) for word in languages):
            told["languages"] = [shown(word, 20) for word in languages[:50]]
        if item.kind.startswith("gpt-sovits"):
            told |= {"kind": "text and a reference clip", "version": item.facts.get("version") or "unknown"}
    return told


def _dimensions(weights: Sequence[Inspection], embedding: Inspection | None) -> dict[str, object]:
    sizes: dict[str, object] = {}
    for item in weights:
        config = _config(item)
        sizes |= {name: config[name] for name in _SIZES if isinstance(config.get(name), int | float)}
        for name in ("phone_rows", "layers"):
            if isinstance(item.facts.get(name), int):
                sizes[name] = item.facts[name]
    if embedding is not None:
        named = {info.name: list(info.shape) for info in embedding.tensors if info.name == "embedding"}
        if named:
            sizes["embedding"] = named["embedding"]
    return sizes


def _tokens(item: Inspection) -> list[str] | None:
    phones = _config(item).get("phones")
    if (
        isinstance(phones, list | tuple)
        and 0 < len(phones) <= 5000
        and all(isinstance(p, str) for p in phones)
    ):
        return [shown(phone, 40) for phone in phones]
    return None


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
    """Return the specification of a voice's current version.

    Raises:
        NotFound: There is no such voice, or it has no specification.
        IntegrityError: The stored file is not what it was.
    """
    with rooms.registry.read() as uow:
        voice = uow.voices.get(name)
        version = uow.voices.current(voice.uid)
        found = uow.voices.artifacts(voice.uid, role=Role.IO_SPEC, version_uid=version.uid)
    if not found:
        raise NotFound(f'"{name}" has no I/O specification', hint=f"vlm register {name} --io-spec FILE")
    content = rooms.vault.blobs.read_bytes(found[-1].digest, limit=MAX_BYTES)
    return Spec(name, content.decode("utf-8", "replace"), read_spec(content, f"specification of {name}"))
