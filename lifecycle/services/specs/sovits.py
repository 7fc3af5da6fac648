"""What the two halves of a GPT-SoVITS voice say of its input and output, told by their tensors' shapes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lifecycle.domain.voices import Role
from lifecycle.formats import Inspection
from lifecycle.services.specs.sheet import CONFIGURATION, WEIGHTS, Need, Sheet, count_of, part, whole

Shapes = Mapping[str, Sequence[int]]
_RATES = {"v1": 32_000, "v2": 32_000, "v2Pro": 32_000, "v2ProPlus": 32_000, "v3": 24_000, "v4": 48_000}
#: BLAKE3 of each symbol table, one symbol a line; its length is the number of rows of the SoVITS half.
SYMBOLS = {
    322: ("v1", "blake3:40404ba6e3c22aece322791982c86e5690c48b81aaa53fe3fe9c406d5b617cea"),
    732: ("v2", "blake3:2f5e76043337a6310d28bfcfb6a85328348b67bcd3ebe7ef0d94d2622250e657"),
}
_FIRST = ["!", ",", "-", ".", "?", "AA", "AA0", "AA1"]
_LANGUAGES = {"v1": ["zh", "ja", "en"], "v2": ["zh", "ja", "en", "ko", "yue"]}
_HUBERT, _ROBERTA = "chinese-hubert-base", "chinese-roberta-wwm-ext-large"
_UPSTREAM = "said by GPT-SoVITS"


def add_gpt(sheet: Sheet, item: Inspection, shapes: Shapes) -> None:
    """Add what the half that writes semantic tokens says."""
    config = _config(item)
    model = part(config, "model")
    table = "model.ar_text_embedding.word_embeddings.weight"
    names = list(shapes)
    sheet.both("dimensions", "gpt_hidden", _at(shapes, table, 1), model.get("hidden_dim"))
    sheet.both("dimensions", "gpt_layers", count_of(names, "model.h.layers."), model.get("n_layer"))
    heads = whole(model.get("head"))
    sheet.say("dimensions", "gpt_heads", heads, CONFIGURATION)
    hidden = _at(shapes, table, 1)
    if heads is not None and hidden is not None and hidden % heads:
        sheet.clash("gpt_heads", f"{CONFIGURATION} {heads}, which do not divide a width of {hidden}")
    sheet.both("dimensions", "gpt_phone_rows", _at(shapes, table, 0), model.get("phoneme_vocab_size"))
    rows = _at(shapes, "model.ar_predict_layer.weight", 0)
    sheet.both("dimensions", "semantic_tokens", rows, model.get("vocab_size"))
    sheet.both("dimensions", "text_features", _at(shapes, "model.bert_proj.weight", 1), None)


def add_sovits(sheet: Sheet, item: Inspection, shapes: Shapes) -> None:
    """Add what the half that makes sound says."""
    config = _config(item)
    model, data = part(config, "model"), part(config, "data")
    version = item.facts.get("version")
    known = str(version) if version in _RATES else None
    sheet.say(
        "output", "sample_rate_hz", _RATES.get(str(version)), f"said by the version {version}, {WEIGHTS}"
    )
    if known is not None and known not in {"v3", "v4"}:
        sheet.say("output", "sample_rate_hz", whole(data.get("sampling_rate")), CONFIGURATION)
    sheet.say("frames", "hop", whole(data.get("hop_length")), CONFIGURATION)
    sheet.say("frames", "window", whole(data.get("win_length")), CONFIGURATION)
    bins = _at(shapes, "ref_enc.spectral.0.fc.weight", 1)
    fft = 2 * (bins - 1) if bins is not None and known == "v1" else None
    sheet.both("frames", "n_fft", fft, data.get("filter_length"))
    sheet.say("frames", "reference_bins", bins, WEIGHTS)
    _rates(sheet, shapes, model, data)
    rows = _at(shapes, "enc_p.text_embedding.weight", 0)
    sheet.both(
        "dimensions", "hidden", _at(shapes, "enc_p.text_embedding.weight", 1), model.get("hidden_channels")
    )
    layers = count_of(list(shapes), "enc_p.encoder_text.attn_layers.")
    sheet.both("dimensions", "text_layers", layers, model.get("n_layers"))
    sheet.both("dimensions", "heads", _heads(shapes), model.get("n_heads"))
    sheet.both("dimensions", "speaker", _at(shapes, "dec.cond.weight", 1), model.get("gin_channels"))
    first = _at(shapes, "dec.conv_pre.weight", 0)
    sheet.both("dimensions", "decoder", first, model.get("upsample_initial_channel") if first else None)
    codebook = "quantizer.vq.layers.0._codebook.embed"
    sheet.say("dimensions", "codebook", _at(shapes, codebook, 0), WEIGHTS)
    sheet.say("dimensions", "code", _at(shapes, codebook, 1), WEIGHTS)
    sheet.say("dimensions", "speaker_vector", _at(shapes, "sv_emb.weight", 1), WEIGHTS)
    sheet.say("tokens", "count", rows, WEIGHTS)
    told = model.get("version")
    if known is not None and told in _RATES and told != known:
        sheet.clash("version", f"{WEIGHTS} it is {known}, {CONFIGURATION} {told}")
    sheet.say("front_end", "version", known, "told by the tensors")


def add_pair(sheet: Sheet, weights: Sequence[Inspection]) -> None:
    """Add what the two halves say together: they must count the same phones."""
    halves = {str(item.facts.get("half")): item for item in weights if item.kind.startswith("gpt-sovits")}
    if not halves:
        return
    gpt, sovits = halves.get("gpt"), halves.get("sovits")
    phones = sheet.find("tokens", "count")
    if gpt is not None:
        rows = gpt.facts.get("phone_rows")
        table = {512: 322, 732: 732}.get(rows) if isinstance(rows, int) else None
        if phones is None:
            sheet.say("tokens", "count", table, f"said by the version of {rows} rows, {WEIGHTS}")
        elif sovits is not None and table is not None and phones.value != table:
            message = f"the SoVITS half knows {phones.value}, the GPT half was made for {table}"
            sheet.clash("phones", f"{message}: they do not belong together")
    phones = sheet.find("tokens", "count")
    version, digest = SYMBOLS.get(phones.value if phones and isinstance(phones.value, int) else 0, ("", ""))
    if version:
        sheet.say("tokens", "digest", digest, f"{_UPSTREAM}, symbols {version}")
        sheet.say("tokens", "first", _FIRST, f"{_UPSTREAM}, symbols {version}")
        sheet.say("input", "languages", _LANGUAGES[version], f"{_UPSTREAM}, symbols {version}")
    sheet.say("input", "kind", "text and a reference clip with its transcript", _UPSTREAM)
    sheet.say("front_end", "name", "text to phones of GPT-SoVITS", _UPSTREAM)


def needs_of_pair(weights: Sequence[tuple[str, Mapping[str, object]]], kept: Collection[str]) -> list[Need]:
    """Return what a GPT-SoVITS voice speaks with; base models are only there where they were kept with it."""
    halves = {str(facts.get("half")) for _, facts in weights}
    versions = {str(facts.get("version")) for kind, facts in weights if facts.get("half") == "sovits"}
    needs = [
        Need("GPT half", "gpt" in halves, "text to semantic tokens"),
        Need("SoVITS half", "sovits" in halves, "semantic tokens to sound"),
        Need("reference clip", Role.REFERENCE in kept, "whose voice and which manner"),
        Need(_HUBERT, _HUBERT in kept, "semantic tokens of the reference clip"),
        Need(_ROBERTA, _ROBERTA in kept, "features of Chinese text; zeros for other languages"),
        Need("front end and dictionaries", Role.FRONTEND in kept, "text to phones"),
    ]
    if versions & {"v2Pro", "v2ProPlus"}:
        needs.append(Need("ERes2NetV2", "ERes2NetV2" in kept, "speaker vector of the reference clip"))
    if versions & {"v3", "v4"}:
        lora = any(facts.get("lora") is True for _, facts in weights)
        release = "v4" if "v4" in versions else "v3"
        base, vocoder = f"s2G{release}.pth", "BigVGAN" if release == "v3" else "vocoder.pth"
        needs += [Need(base, base in kept, "what a LoRA file was trained upon")] if lora else []
        needs.append(Need(vocoder, vocoder in kept, "frames to sound"))
    return needs


def _rates(sheet: Sheet, shapes: Shapes, model: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """The decoder's steps multiply to the hop, and there is one layer for each."""
    rates, hop = model.get("upsample_rates"), whole(data.get("hop_length"))
    steps = count_of(list(shapes), "dec.ups.")
    if not isinstance(rates, list | tuple) or not 0 < len(rates) <= 16 or not all(map(whole, rates)):
        return
    if steps is not None and steps != len(rates):
        sheet.clash("upsampling", f"{WEIGHTS} there are {steps} steps, {CONFIGURATION} {len(rates)}")
    if steps is not None and hop is not None and math.prod(rates) != hop:
        sheet.clash("hop", f"{CONFIGURATION} it is {hop}, but its steps multiply to {math.prod(rates)}")


def _heads(shapes: Shapes) -> int | None:
    width = _at(shapes, "enc_p.text_embedding.weight", 1)
    each = _at(shapes, "enc_p.encoder_text.attn_layers.0.emb_rel_k", 2)
    return width // each if width and each and width % each == 0 else None


def _config(item: Inspection) -> Mapping[str, Any]:
    config = item.facts.get("config")
    return config if isinstance(config, Mapping) else {}


def _at(shapes: Shapes, name: str, axis: int) -> int | None:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else None
