"""Voices of other projects, told by the names of their tensors: RVC and so-vits-svc; kept and hashed, never run.

Both are VITS with another content encoder in front. RVC's encoder reads phones as numbers (`emb_phone`), that of
so-vits-svc keeps the projection outside (`pre`) and embeds pitch (`f0_emb`), so neither is taken for the other.
Sources: RVC's `process_ckpt.py` and `models.py`, so-vits-svc's `models.py` (4.0 and 4.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lifecycle.formats.gpt_sovits import Shapes, Voice
from lifecycle.formats.jsons import parse
from lifecycle.formats.limits import MIB
from lifecycle.formats.model import Inspection, Unread, plural, shown
from lifecycle.formats.source import Source
from lifecycle.formats.values import fields_of

RVC: Final = "rvc"
SO_VITS_SVC: Final = "so-vits-svc"
SETTINGS: Final = "so-vits-svc-config"
"""The settings of a so-vits-svc voice, a JSON file without which its weights cannot be read."""

_CONTENT: Final = {256: "v1", 768: "v2"}
_RATES: Final = {"32k": 32_000, "40k": 40_000, "48k": 48_000}
_EPOCH: Final = re.compile(r"(\d{1,6})\s*epoch")
_MAX_SETTINGS: Final = MIB


def recognise(value: object, shapes: Shapes, dtype: str) -> Voice | None:
    """Return what a checkpoint is among the voices of other projects, or None.

    Args:
        value: The tree of plain values in the file.
        shapes: Path of each tensor in that tree -> shape.
        dtype: The dtype that most tensors have, such as "fp16".
    """
    top = fields_of(value)
    if top is None:
        return None
    for holder in ("weight", "model"):
        inner = {
            name.removeprefix(f"{holder}."): shape
            for name, shape in shapes.items()
            if name.startswith(f"{holder}.")
        }
        found = _rvc(top, inner, holder, dtype) or _so_vits_svc(top, inner, dtype)
        if found is not None:
            return found
    return None


def _rvc(top: Mapping[object, object], shapes: Shapes, holder: str, dtype: str) -> Voice | None:
    phone = shapes.get("enc_p.emb_phone.weight")
    if phone is None or "emb_g.weight" not in shapes or "dec.conv_pre.weight" not in shapes:
        return None
    version = _CONTENT.get(phone[-1])
    facts = _numbers(top) | {"n_tensors": len(shapes), "dtype": dtype, "version": version}
    facts["pitch"] = "enc_p.emb_pitch.weight" in shapes
    rate = _RATES.get(str(top.get("sr")))
    if rate is not None:
        facts["sample_rate"] = rate
    info = top.get("info")
    epoch = _EPOCH.search(info) if isinstance(info, str) else None
    if epoch is not None:
        facts["epoch"] = int(epoch.group(1))
    word = f"RVC voice, {version or 'unknown version'}, {dtype}, {plural(len(shapes), 'tensor')}"
    if holder == "model" or "optimizer" in top:
        facts["stage"] = "training"
        word += ", training checkpoint"
    return Voice(RVC, word, facts, ())


def _so_vits_svc(top: Mapping[object, object], shapes: Shapes, dtype: str) -> Voice | None:
    pre = shapes.get("pre.weight")
    if pre is None or "enc_p.f0_emb.weight" not in shapes or "emb_g.weight" not in shapes:
        return None
    version = {256: "4.0", 768: "4.1"}.get(pre[1] if len(pre) > 1 else 0)
    facts = _numbers(top) | {"n_tensors": len(shapes), "dtype": dtype, "version": version}
    word = f"so-vits-svc voice, {version or 'unknown version'}, {dtype}, {plural(len(shapes), 'tensor')}"
    return Voice(SO_VITS_SVC, word, facts, ())


def _numbers(top: Mapping[object, object]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for key in ("iteration", "epoch"):
        number = top.get(key)
        if isinstance(number, int) and not isinstance(number, bool) and number.bit_length() < 63:
            facts[key] = number
    return facts


def read_settings(source: Source) -> Inspection | None:
    """Inspect the settings of a so-vits-svc voice; None for any other text. Nothing in JSON can run."""
    if source.size > _MAX_SETTINGS or source.at(0, min(source.size, 64)).lstrip()[:1] != b"{":
        return None
    try:
        root = parse(source.at(0, source.size), "text")
    except Unread:
        return None
    if not isinstance(root, dict) or not all(
        isinstance(root.get(k), dict) for k in ("train", "data", "model")
    ):
        return None
    people, data = root.get("spk"), root["data"]
    if not isinstance(people, dict):
        return None
    facts: dict[str, object] = {"speakers": [shown(str(name), 100) for name in list(people)[:100]]}
    rate = data.get("sampling_rate")
    if isinstance(rate, int) and not isinstance(rate, bool) and 0 < rate < 1_000_000:
        facts["sample_rate"] = rate
    word = f"settings of a so-vits-svc voice, {plural(len(people), 'speaker')}"
    return Inspection(SETTINGS, safe=True, facts=facts, summary=f"{word}     text only")
