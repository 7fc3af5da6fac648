"""Which GPT-SoVITS file a checkpoint is, told by the names and shapes of its tensors and by its head bytes.

File size, on which upstream relies, is never used: training checkpoints and float32 files would be mistaken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from lifecycle.formats.model import Finding, plural, shown
from lifecycle.formats.values import fields_of, plain

Shapes = Mapping[str, tuple[int, ...]]

HEAD_VERSIONS: Final = {
    "00": "v1", "01": "v2", "02": "v3", "03": "v3", "04": "v4", "05": "v2Pro", "06": "v2ProPlus",
}  # fmt: skip
_LORA_HEADS: Final = ("03", "04")
_RATES: Final = {"v3": 24_000, "v4": 48_000}
_TENSORS: Final = {"v1": 673, "v2": 673, "v2Pro": 678, "v2ProPlus": 678}
_GPT_TENSORS: Final = 295
_EPOCH = re.compile(r"e(\d{1,6})\b|^(\d{1,6})epoch")
_STEP = re.compile(r"(\d{1,12})iteration")
_PATH = re.compile(r"^(?:[A-Za-z]:[\\/]|/|~)|[\\/].*[\\/]")


@dataclass(frozen=True, slots=True)
class Voice:
    """A recognised file: its kind, one line of description, facts and what a reader should know."""

    kind: str
    what: str
    facts: dict[str, object]
    findings: tuple[Finding, ...]


def recognise(value: object, shapes: Shapes, dtype: str, head: str | None) -> Voice | None:
    """Return what a checkpoint is among GPT-SoVITS's files, or None if it is none of them.

    Args:
        value: The tree of plain values in the file.
        shapes: Path of each tensor in that tree -> shape.
        dtype: The dtype that most tensors have, such as "fp16".
        head: The two altered head bytes, if any.
    """
    top = fields_of(value)
    if top is None:
        return None
    for holder in ("weight", "model", "state_dict"):
        inner = {
            name.removeprefix(f"{holder}."): shape
            for name, shape in shapes.items()
            if name.startswith(f"{holder}.")
        }
        if not inner:
            continue
        found = _gpt(top, inner, holder, dtype) or _sovits(top, inner, holder, dtype, head)
        if found is not None:
            return found
    return None


def _gpt(top: Mapping[object, object], shapes: Shapes, holder: str, dtype: str) -> Voice | None:
    table = shapes.get("model.ar_text_embedding.word_embeddings.weight")
    if table is None or "model.ar_predict_layer.weight" not in shapes:
        return None
    version = {512: "v1", 732: "v2"}.get(table[0])
    layers = {
        name.split(".")[3] for name in shapes if name.startswith("model.h.layers.") and name.count(".") > 3
    }
    facts = _common(top, dtype, len(shapes)) | {"half": "gpt", "version": version, "layers": len(layers)}
    facts["phone_rows"] = table[0]
    if version == "v2":
        facts["pairs_with"] = ["v2", "v2Pro", "v2ProPlus", "v3", "v4"]
    findings = list(_private(top))
    if version is None:
        findings.append(
            Finding("warning", "unknown_version", f"has a phone table of {table[0]} rows, as no version has")
        )
    word = f"GPT-SoVITS GPT half, {version or 'unknown version'}, {dtype}, {plural(len(shapes), 'tensor')}"
    if holder != "weight" or "optimizer_states" in top:
        facts["stage"] = "training"
        return Voice("gpt-sovits-gpt-training", f"{word}, training checkpoint", facts, tuple(findings))
    if len(layers) == 24 and len(shapes) != _GPT_TENSORS:
        findings.append(
            Finding("warning", "incomplete", f"has {len(shapes)} tensors where a GPT half has {_GPT_TENSORS}")
        )
    return Voice("gpt-sovits-gpt", word, facts, tuple(findings))


def _sovits(
    top: Mapping[object, object], shapes: Shapes, holder: str, dtype: str, head: str | None
) -> Voice | None:
    if holder == "model" and any(name.startswith("discriminators.") for name in shapes):
        facts = _common(top, dtype, len(shapes)) | {"stage": "training"}
        word = f"GPT-SoVITS discriminator, {dtype}, {plural(len(shapes), 'tensor')}, cannot speak"
        return Voice("gpt-sovits-discriminator", word, facts, ())
    named = any(name.startswith(("enc_p.", "ref_enc.", "cfm.")) for name in shapes)
    core = "ref_enc.spectral.0.fc.weight" in shapes or any(name.startswith("cfm.") for name in shapes)
    if not (named and core):
        return None
    lora = any(".lora_A." in name or ".lora_B." in name for name in shapes) or "lora_rank" in top
    version, findings = _version(top, shapes, head, lora=lora)
    facts = _common(top, dtype, len(shapes)) | {"half": "sovits", "version": version, "head": head or "PK"}
    if version in (*_TENSORS, *_RATES):
        facts["sample_rate"] = _RATES.get(str(version), 32_000)
    word = f"GPT-SoVITS SoVITS half, {version or 'v3 or v4'}{' LoRA' if lora else ''}, {dtype}"
    word += f", {plural(len(shapes), 'tensor')}"
    findings += _private(top)
    if lora:
        rank = top.get("lora_rank")
        facts |= {"lora": True, "lora_rank": rank if isinstance(rank, int) else None, "complete": False}
        base = {"v3": "s2Gv3.pth", "v4": "s2Gv4.pth"}.get(str(version), "its base")
        findings.append(
            Finding("info", "needs_base", f"holds only what was trained; it speaks together with {base}")
        )
    trained = any(name.startswith("enc_q.") for name in shapes)
    if holder == "model" or "optimizer" in top:
        facts["stage"] = "training"
        return Voice("gpt-sovits-sovits-training", f"{word}, training checkpoint", facts, tuple(findings))
    if trained:
        facts["stage"] = "base"
        return Voice("gpt-sovits-base", f"{word}, base model with its training part", facts, tuple(findings))
    expected = _TENSORS.get(str(version))
    if expected is not None and len(shapes) != expected:
        message = f"has {len(shapes)} tensors where a {version} SoVITS half has {expected}"
        findings.append(Finding("warning", "incomplete", message))
    return Voice("gpt-sovits-sovits", word, facts, tuple(findings))


def _version(
    top: Mapping[object, object], shapes: Shapes, head: str | None, *, lora: bool
) -> tuple[str | None, list[Finding]]:
    """Tell the version by shapes; only v3 and v4, whose networks are alike, need the head or the settings."""
    config = fields_of(top.get("config")) or {}
    told = (fields_of(config.get("model")) or {}).get("version")
    by_head = HEAD_VERSIONS.get(head or "")
    findings: list[Finding] = []
    if lora or any(name.startswith("cfm.") for name in shapes):
        version = by_head or (told if told in _RATES else None)
        if version is None:
            findings.append(Finding("warning", "unknown_version", "does not say whether it is v3 or v4"))
        allowed: tuple[str, ...] = ("v3", "v4")
    else:
        version = _by_shape(shapes)
        allowed = (version,) if version else ()
    if by_head is not None and (by_head not in allowed or lora != (head in _LORA_HEADS)):
        kind = f"{version or 'something else'}{' LoRA' if lora else ''}"
        message = f'has the head "{head}" of {by_head}, but its tensors are those of {kind}'
        findings.append(Finding("warning", "head_disagrees", message))
        version = version if version in allowed else None
    return version, findings


def _by_shape(shapes: Shapes) -> str | None:
    if "sv_emb.weight" in shapes:
        rows = shapes.get("dec.conv_pre.weight", (0,))[0]
        return {512: "v2Pro", 768: "v2ProPlus"}.get(rows)
    phones = shapes.get("enc_p.text_embedding.weight", (0,))[0]
    bins = shapes["ref_enc.spectral.0.fc.weight"][-1]
    return {(322, 1025): "v1", (732, 704): "v2"}.get((phones, bins))


def _common(top: Mapping[object, object], dtype: str, count: int) -> dict[str, object]:
    facts: dict[str, object] = {"n_tensors": count, "dtype": dtype}
    info = top.get("info")
    if isinstance(info, str):
        facts["info"] = shown(info)
        epoch, step = _EPOCH.search(info), _STEP.search(info)
        if epoch:
            facts["epoch"] = int(epoch.group(1) or epoch.group(2))
        if step:
            facts["step"] = int(step.group(1))
    for key in ("iteration", "epoch", "global_step"):
        number = top.get(key)
        if isinstance(number, int) and number.bit_length() < 63:
            facts[key] = number
    if "pytorch-lightning_version" in top:
        facts["lightning"] = shown(str(top["pytorch-lightning_version"]), 40)
    if fields_of(top.get("config")) is not None:
        facts["config"] = plain(top["config"])
    return facts


def _private(top: Mapping[object, object]) -> list[Finding]:
    """Note paths of the training machine in the settings: they say who trained, and where."""
    pending: list[object] = [top.get("config")]
    paths = 0
    for _ in range(10_000):
        if not pending:
            break
        item = pending.pop()
        mapping = fields_of(item)
        if mapping is not None:
            pending.extend(islice(mapping.values(), 100))
        elif isinstance(item, (list, tuple)):
            pending.extend(item[:100])
        elif isinstance(item, str) and _PATH.search(item[:400]):
            paths += 1
    if not paths:
        return []
    return [
        Finding("info", "training_paths", f"names {plural(paths, 'path')} of the machine it was trained on")
    ]
