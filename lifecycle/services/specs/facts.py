"""What a voice's files say of its input and output: shapes of tensors first, then what stands in configurations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from blake3 import blake3

from lifecycle.domain.voices import Role
from lifecycle.formats import Inspection, shown
from lifecycle.formats.other_voices import RVC, SETTINGS, SO_VITS_SVC
from lifecycle.services.specs.sheet import CONFIGURATION, WEIGHTS, Need, Sheet, count_of, part, whole
from lifecycle.services.specs.sovits import add_gpt, add_pair, add_sovits, needs_of_pair

_FIRST = 12
_CONVERTERS = frozenset({RVC, SO_VITS_SVC})
_MAX_TOKENS = 5000
Shapes = Mapping[str, Sequence[int]]


def sheet_of(weights: Sequence[Inspection], speaker: Shapes | None, kept: Collection[str] = ()) -> Sheet:
    """Return everything that a voice's files say.

    Args:
        weights: Each file of its weights, read without loading it.
        speaker: Shapes of its speaker file, where it has one.
        kept: Roles of what is kept with the voice, and names of base models among it.
    """
    sheet = Sheet()
    sheet.say("output", "kind", "waveform", "said by vlm")
    sheet.say("output", "channels", 1, "said by vlm")
    sheet.say("output", "latency", "n/a", "depends on the machine, not on the voice")
    for item in weights:
        shapes = {info.name: info.shape for info in item.tensors}
        if item.kind == "vlm-voice":
            _ours(sheet, config_of(item), shapes)
        elif item.kind.startswith("gpt-sovits"):
            half = _inner(shapes)
            (add_gpt if item.facts.get("half") == "gpt" else add_sovits)(sheet, item, half)
        else:
            _others(sheet, item)
    add_pair(sheet, weights)
    if speaker is not None:
        sheet.say("dimensions", "embedding", _at(speaker, "embedding", 0), "from the speaker file")
        mel = _at(speaker, "mel_stats", 1)
        bands = sheet.find("frames", "mel_bands")
        if bands is not None:
            sheet.say("frames", "mel_bands", mel, "from the speaker file")
    sheet.unknown("output", "sample_rate_hz")
    sheet.unknown("frames", "hop", "window", "n_fft", "mel_bands")
    sheet.unknown("input", "kind", "languages")
    sheet.unknown("front_end", "name", "version", "normalisation")
    sheet.unknown("tokens", "count")
    rate, hop = sheet.find("output", "sample_rate_hz"), sheet.find("frames", "hop")
    if rate is not None and hop is not None and isinstance(rate.value, int) and isinstance(hop.value, int):
        sheet.say("frames", "frames_per_second", round(rate.value / hop.value, 3), "from rate and hop")
    sheet.needs = needs_of([(item.kind, item.facts) for item in weights], kept)
    return sheet


def needs_of(weights: Sequence[tuple[str, Mapping[str, object]]], kept: Collection[str]) -> list[Need]:
    """Return the parts that a voice speaks with, and which of them are kept with it.

    Args:
        weights: Kind and facts of each file of its weights.
        kept: Roles of everything that is kept, and names of base models among it.
    """
    kinds = {kind for kind, _ in weights}
    if "vlm-voice" in kinds:
        return [
            Need("speaker file", Role.EMBEDDING in kept, "whose voice it is"),
            Need("front end", present=True, purpose="letters to phones, inside the voice itself"),
        ]
    if any(kind.startswith("gpt-sovits") for kind in kinds):
        return needs_of_pair(weights, kept)
    if kinds & _CONVERTERS:
        return _needs_of_converter(kinds, kept)
    if not weights:
        return []
    needs = [Need("front end", Role.FRONTEND in kept, "text to what the weights take")]
    if not kinds <= {"torchscript", "onnx", "pt2"}:
        needs.append(Need("code", Role.CODE in kept, "the network that the weights belong to"))
    return needs


def _needs_of_converter(kinds: Collection[str], kept: Collection[str]) -> list[Need]:
    needs = [
        Need("content encoder", "content encoder" in kept, "speech to features of what is said"),
        Need("pitch tracker", "pitch tracker" in kept, "speech to its melody"),
        Need("code", Role.CODE in kept, "the network that the weights belong to"),
    ]
    if SO_VITS_SVC in kinds:
        needs.insert(0, Need("settings", SETTINGS in kinds, "sizes of the network and names of its speakers"))
    return needs


def config_of(item: Inspection) -> Mapping[str, Any]:
    """Return the configuration that stands in a file; empty where there is none."""
    config = item.facts.get("config")
    return config if isinstance(config, Mapping) else {}


def token_digest(tokens: Sequence[str]) -> str:
    """Return BLAKE3 of tokens in their order, one a line."""
    return f"blake3:{blake3(chr(10).join(tokens).encode('utf-8', 'surrogatepass')).hexdigest()}"


def tokens_of(config: Mapping[str, Any]) -> list[str] | None:
    """Return the phones that a configuration lists, in the order of their numbers."""
    phones = config.get("phones")
    fits = isinstance(phones, list | tuple) and 0 < len(phones) <= _MAX_TOKENS
    if not fits or not all(isinstance(phone, str) for phone in phones):  # type: ignore[union-attr]
        return None
    return list(phones)  # type: ignore[arg-type]


def _ours(sheet: Sheet, config: Mapping[str, Any], shapes: Shapes) -> None:
    names = list(shapes)
    acoustic, vocoder = part(config, "acoustic"), part(config, "vocoder")
    _common(sheet, config)
    sheet.both("frames", "n_fft", _fft(_at(shapes, "vocoder.head.weight", 0)), config.get("n_fft"))
    sheet.both("frames", "mel_bands", _at(shapes, "base.mel_stats", 1), config.get("n_mels"))
    for name, prefix, told in (
        ("acoustic", "acoustic.decoder", acoustic),
        ("vocoder", "vocoder.blocks", vocoder),
    ):
        sheet.both(
            "dimensions", f"{name}_width", _at(shapes, f"{prefix}.0.contract.weight", 0), told.get("width")
        )
        sheet.both(
            "dimensions", f"{name}_hidden", _at(shapes, f"{prefix}.0.expand.weight", 0), told.get("hidden")
        )
        sheet.both("dimensions", f"{name}_layers", count_of(names, f"{prefix}."), told.get("layers"))
    encoders = count_of(names, "acoustic.encoder.")
    sheet.both("dimensions", "acoustic_encoder_layers", encoders, acoustic.get("encoder_layers"))
    sheet.say("input", "kind", "text", "said by vlm-voice/1")
    built_in = "g2p.w3" in shapes
    sheet.say("front_end", "name", "letters to phones, inside the voice" if built_in else None, WEIGHTS)
    sheet.say("front_end", "version", "vlm-voice/1", "from the file")
    statistics = "base.mel_stats" in shapes
    sheet.say(
        "front_end",
        "normalisation",
        "log-mel by statistics inside the voice" if statistics else None,
        WEIGHTS,
    )
    tokens = tokens_of(config)
    rows = _at(shapes, "acoustic.phone.weight", 0)
    # The last row is no phone: it fills up the shorter of several sentences.
    sheet.say("tokens", "count", None if rows is None else rows - 1, WEIGHTS)
    chunks = config.get("chunks")
    sheet.both(
        "front_end",
        "letter_chunks",
        _at(shapes, "g2p.w3", 1),
        len(chunks) if isinstance(chunks, list | tuple) else None,
    )
    _tokens(sheet, tokens)


def _others(sheet: Sheet, item: Inspection) -> None:
    config = config_of(item)
    _common(sheet, config)
    if item.kind in _CONVERTERS:
        shapes = _inner({info.name: info.shape for info in item.tensors})
        sheet.say("input", "kind", "speech of somebody else", f"said by {item.kind}")
        features = _at(shapes, "enc_p.emb_phone.weight", 1) or _at(shapes, "pre.weight", 1)
        sheet.say("dimensions", "content_features", features, WEIGHTS)
        sheet.say("dimensions", "speaker", _at(shapes, "emb_g.weight", 1), WEIGHTS)
        sheet.say("front_end", "version", item.facts.get("version"), "told by the tensors")
    sheet.say("output", "sample_rate_hz", rate_in(item.facts.get("sample_rate")), "from the file")
    _tokens(sheet, tokens_of(config))


def _common(sheet: Sheet, config: Mapping[str, Any]) -> None:
    """What both our configurations and many others name by these words."""
    rate = rate_in(config.get("rate")) or rate_in(part(config, "data").get("sampling_rate"))
    sheet.say("output", "sample_rate_hz", rate or rate_in(config.get("sampling_rate")), CONFIGURATION)
    for name, key in (("hop", "hop"), ("window", "win")):
        sheet.say("frames", name, whole(config.get(key)), CONFIGURATION)
    for name, key in (("lowest_hz", "fmin"), ("highest_hz", "fmax")):
        value = config.get(key)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
        sheet.say("frames", name, value if fits else None, CONFIGURATION)
    languages = config.get("languages")
    if isinstance(languages, list | tuple) and all(isinstance(word, str) for word in languages):
        sheet.say("input", "languages", [shown(word, 20) for word in languages[:50]], CONFIGURATION)


def _tokens(sheet: Sheet, tokens: list[str] | None) -> None:
    if tokens is None:
        return
    sheet.say("tokens", "count", len(tokens), CONFIGURATION)
    sheet.say("tokens", "digest", token_digest(tokens), CONFIGURATION)
    sheet.say("tokens", "first", [shown(token, 40) for token in tokens[:_FIRST]], CONFIGURATION)


def rate_in(value: object) -> int | None:
    """Return a sample rate in Hz that can be one, else None."""
    rate = whole(value)
    return rate if rate is not None and 1000 <= rate <= 768_000 else None


def _fft(rows: int | None) -> int | None:
    """The source-filter vocoder gives three values for each bin of its spectrum."""
    return 2 * (rows // 3 - 1) if rows is not None and rows % 3 == 0 and rows >= 9 else None


def _at(shapes: Shapes, name: str, axis: int) -> int | None:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else None


def _inner(shapes: Shapes) -> dict[str, Sequence[int]]:
    """Drop the name of the table that a checkpoint keeps its tensors in."""
    return {
        name.removeprefix(f"{holder}."): shape
        for holder in ("weight", "model", "state_dict")
        for name, shape in shapes.items()
        if name.startswith(f"{holder}.")
    }
