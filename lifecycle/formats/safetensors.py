"""safetensors files: a length, a JSON header, then the bytes of the tensors without gaps.

Source: the format's own description; our reader refuses what its readers could see differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lifecycle.formats.hashing import new_hash, written
from lifecycle.formats.jsons import parse
from lifecycle.formats.limits import KIB, MAX_DIMS, MAX_ELEMENTS, MAX_HEADER, MAX_TENSORS
from lifecycle.formats.model import Finding, Inspection, TensorInfo, Unread, plural, shown
from lifecycle.formats.source import Source

BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
    "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""dtype -> bits per element."""

KINDS: Final = {"vlm-voice/1": "vlm-voice", "vlm-speaker/1": "vlm-speaker"}
_WORDS: Final = {"vlm-voice": "vlm-voice", "vlm-speaker": "vlm-speaker", "safetensors": "safetensors"}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: `begin` and `end` count bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def looks_like(head: bytes, size: int) -> bool:
    """Say whether a file begins with a plausible header length and a JSON object."""
    return size >= 10 and len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") >= 2


def header(source: Source) -> tuple[tuple[Entry, ...], dict[str, str]]:
    """Return the tensors in the order of their bytes, and the metadata.

    Raises:
        Unread: The header lies: ranges that overlap, leave gaps or reach past the end, a size that does not
            follow from dtype and shape, a name given twice, or no JSON at all.
    """
    length = int.from_bytes(source.at(0, 8), "little")
    if length > MAX_HEADER or length + 8 > source.size:
        raise Unread(f"says that its header has {length} bytes, which cannot be")
    root = parse(source.at(8, length), "header")
    if not isinstance(root, dict):
        raise Unread("has a header that is not a JSON object")
    metadata = root.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise Unread("has metadata that are not text")
    if len(root) > MAX_TENSORS:
        raise Unread(f"says that it has {len(root)} tensors, which is too many")
    entries = sorted(
        (_entry(name, item) for name, item in root.items()), key=lambda entry: (entry.begin, entry.end)
    )
    position = 0
    for entry in entries:
        if entry.begin != position:
            word = "overlaps another" if entry.begin < position else "leaves a gap before it"
            raise Unread(f'has a header that lies: tensor "{shown(entry.name)}" {word}')
        position = entry.end
    if position != source.size - 8 - length:
        raise Unread(
            f"has a header that lies: its tensors take {position} bytes of {source.size - 8 - length}"
        )
    base = 8 + length
    moved = tuple(Entry(e.name, e.dtype, e.shape, base + e.begin, base + e.end) for e in entries)
    return moved, metadata


def read(source: Source, *, digests: bool = False) -> Inspection:
    """Inspect a safetensors file; nothing in the format can run.

    Raises:
        Unread: See `header`.
    """
    entries, metadata = header(source)
    infos = tuple(_info(source, entry, digests=digests) for entry in entries)
    kind = KINDS.get(metadata.get("format", ""), "safetensors")
    facts: dict[str, object] = {
        "n_tensors": len(infos),
        "dtype": common_dtype([info.dtype for info in infos]),
    }
    facts["metadata"] = {shown(key): shown(text, 400) for key, text in list(metadata.items())[:100]}
    findings: list[Finding] = []
    if "config" in metadata:
        facts["config"] = _config(metadata["config"], findings)
    elif kind == "vlm-voice":
        findings.append(Finding("warning", "no_config", "says that it is a vlm-voice but holds no settings"))
    what = f"{_WORDS[kind]}, {facts['dtype']}, {plural(len(infos), 'tensor')}"
    summary = f"{what}     data only, nothing in it can run"
    return Inspection(kind, safe=True, findings=tuple(findings), facts=facts, tensors=infos, summary=summary)


def _info(source: Source, entry: Entry, *, digests: bool) -> TensorInfo:
    digest = None
    if digests:
        state = new_hash()
        for chunk in source.chunks(entry.begin, entry.end - entry.begin):
            state.update(chunk)
        digest = written(state)
    return TensorInfo(shown(entry.name, 400), entry.shape, entry.dtype, digest)


def _config(text: str, findings: list[Finding]) -> object:
    try:
        config = parse(text.encode("utf-8", "surrogatepass"), "configuration")
    except Unread:
        findings.append(Finding("warning", "bad_config", "holds settings that are not valid JSON"))
        return None
    return config if isinstance(config, dict) and len(text) < 64 * KIB else None


def _entry(name: str, item: object) -> Entry:
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
        raise Unread(
            f'has a header that lies: tensor "{shown(name)}" is not described by dtype, shape and offsets'
        )
    dtype, shape, offsets = item["dtype"], item["shape"], item["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise Unread(f'has a tensor "{shown(name)}" of unknown dtype')
    if not _counts(shape, MAX_DIMS) or not _counts(offsets, 2) or len(offsets) != 2:
        raise Unread(f'has a header that lies: tensor "{shown(name)}" has a shape or offsets that cannot be')
    elements = 1
    for n in shape:
        elements *= n
    if elements > MAX_ELEMENTS or elements * BITS[dtype] != (offsets[1] - offsets[0]) * 8:
        raise Unread(f'has a header that lies: tensor "{shown(name)}" is not as long as its shape needs')
    return Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: object, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_ELEMENTS for n in value)
    )


def common_dtype(dtypes: list[str]) -> str:
    """Name the dtype that most tensors have, in the words people use: fp16, fp32, bf16."""
    if not dtypes:
        return "no data"
    most = max(sorted(set(dtypes)), key=dtypes.count)
    return {"F16": "fp16", "F32": "fp32", "BF16": "bf16", "F64": "fp64"}.get(most, most.lower())
