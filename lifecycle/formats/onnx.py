"""ONNX models, read without onnx: operators, operator sets, who wrote it, weights and files beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lifecycle.formats import safetensors
from lifecycle.formats.hashing import new_hash, written
from lifecycle.formats.limits import MAX_DIMS, MAX_ELEMENTS, MAX_TENSORS
from lifecycle.formats.model import Finding, Inspection, TensorInfo, Unread, plural, shown
from lifecycle.formats.protobuf import Field, Reader
from lifecycle.formats.source import Source

_DTYPES: Final = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 8: "STRING", 9: "BOOL", 10: "F16",
    11: "F64", 12: "U32", 13: "U64", 14: "C64", 15: "C128", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ",
    19: "F8_E5M2", 20: "F8_E5M2FNUZ", 21: "U4", 22: "I4", 23: "F4",
}  # fmt: skip
_BITS: Final = safetensors.BITS | {"U4": 4, "I4": 4, "C128": 128}
_MAX_GRAPHS: Final = 32
_OWN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training"})


@dataclass(slots=True)
class _Model:
    reader: Reader
    source: Source
    operators: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    opsets: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    external: dict[str, None] = field(default_factory=dict)
    outside: dict[str, None] = field(default_factory=dict)
    tensors: list[TensorInfo] = field(default_factory=list)
    ir_version: int | None = None
    graphs: int = 0
    digests: bool = False


def looks_like(head: bytes, name: str) -> bool:
    """Say whether a file begins as ONNX writers begin, with the version of the format, or is called so."""
    written = (
        len(head) > 3
        and head[0] == 0x08
        and 1 <= head[1] <= 32
        and head[2] in b"\x12\x1a\x22\x2a\x32\x3a\x42"
    )
    return written or name.lower().endswith(".onnx")


def read(source: Source, *, digests: bool = False) -> Inspection:
    """Inspect an ONNX model.

    Raises:
        Unread: It is no ONNX model, damaged, or a weight is not as long as its shape needs.
    """
    model = _Model(Reader(source), source, digests=digests)
    try:
        _read_model(model)
    except Unread as unread:
        raise Unread(unread.reason, kind="onnx") from None
    if model.ir_version is None or model.graphs != 1 or not model.opsets:
        raise Unread("is no ONNX model: it lacks its version, its graph or its operator sets", kind="onnx")
    return _result(model)


def _result(model: _Model) -> Inspection:
    findings = [
        Finding("danger", "external_data", f'reads "{shown(place)}", outside its folder, when loaded')
        for place in model.outside
    ]
    if model.external:
        names = ", ".join(shown(name) for name in list(model.external)[:5])
        findings.append(Finding("info", "external_data", f"keeps its weights in a second file: {names}"))
    foreign = sorted(model.domains - _OWN_DOMAINS)
    if foreign:
        message = f"needs operators that are not ONNX's own: {', '.join(shown(name) for name in foreign[:5])}"
        findings.append(Finding("warning", "foreign_operators", message))
    dtype = safetensors.common_dtype([info.dtype for info in model.tensors])
    producer = " ".join(model.texts[key] for key in ("producer", "producer_version") if key in model.texts)
    facts: dict[str, object] = {
        "ir_version": model.ir_version,
        "opset": model.opsets.get("", model.opsets.get("ai.onnx")),
        "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
        "producer": producer or None,
        "ops": sorted(model.operators),
        "external_files": list(model.external),
        "n_tensors": len(model.tensors),
        "dtype": dtype,
    }
    if model.texts.get("producer") == "pytorch":
        facts["torch_writer"] = model.texts.get("producer_version")
    what = f"ONNX, opset {facts['opset']}, {dtype}, {plural(len(model.tensors), 'tensor')}"
    what += f", {plural(len(model.operators), 'operator')}"
    scan = f"{findings[0].message}" if model.outside else "graph only, no code of its own"
    summary = f"{what}     {scan}"
    tensors = tuple(model.tensors)
    return Inspection("onnx", not model.outside, tuple(findings), facts, tensors, None, summary)


def _read_model(model: _Model) -> None:
    for item in model.reader.fields(0, model.source.size):
        if item.number == 1 and not item.is_bytes:
            model.ir_version = item.value
        elif item.number in (2, 3):
            model.texts["producer" if item.number == 2 else "producer_version"] = shown(
                model.reader.text(item)
            )
        elif item.number == 7 and item.is_bytes:
            model.graphs += 1
            _read_graph(model, item, 0)
        elif item.number == 8 and item.is_bytes:
            _read_opset(model, item)
        elif item.number == 25 and item.is_bytes:
            for part in model.reader.fields(item.start, item.end):
                if part.number == 7 and part.is_bytes:
                    _read_node(model, part, 1)
        elif item.number == 20 and item.is_bytes:
            raise Unread("holds a part for training, which is not looked at")


def _read_opset(model: _Model, message: Field) -> None:
    domain, version = "", 0
    for item in model.reader.fields(message.start, message.end):
        if item.number == 1:
            domain = shown(model.reader.text(item))
        elif item.number == 2:
            version = item.value
    if domain in model.opsets or len(model.opsets) > 1_000 or not 0 < version < 10_000:
        raise Unread("names an operator set twice, or without a version")
    model.opsets[domain] = version


def _read_graph(model: _Model, message: Field, depth: int) -> None:
    if depth > _MAX_GRAPHS:
        raise Unread("has graphs nested too deeply")
    for item in model.reader.fields(message.start, message.end):
        if not item.is_bytes:
            continue
        if item.number == 1:
            _read_node(model, item, depth)
        elif item.number == 5:
            _read_tensor(model, item, keep=True)
        elif item.number == 15:
            _read_sparse(model, item)


def _read_node(model: _Model, message: Field, depth: int) -> None:
    operator = domain = ""
    for item in model.reader.fields(message.start, message.end):
        if item.number == 4:
            operator = shown(model.reader.text(item))
        elif item.number == 7:
            domain = shown(model.reader.text(item))
        elif item.number == 5 and item.is_bytes:
            _read_attribute(model, item, depth)
    model.domains.add(domain)
    model.operators.add(f"{domain}::{operator}" if domain not in _OWN_DOMAINS else operator)
    if len(model.operators) > 10_000 or len(model.domains) > 1_000:
        raise Unread("names more operators than can be looked at")


def _read_attribute(model: _Model, message: Field, depth: int) -> None:
    for item in model.reader.fields(message.start, message.end):
        if not item.is_bytes:
            continue
        if item.number in (6, 11):
            _read_graph(model, item, depth + 1)
        elif item.number in (5, 10):
            _read_tensor(model, item, keep=False)
        elif item.number in (22, 23):
            _read_sparse(model, item)


def _read_sparse(model: _Model, message: Field) -> None:
    for item in model.reader.fields(message.start, message.end):
        if item.number in (1, 2) and item.is_bytes:
            _read_tensor(model, item, keep=False)


@dataclass(slots=True)
class _Tensor:
    dims: list[int] = field(default_factory=list)
    dtype: int = 0
    name: str = ""
    raw: Field | None = None
    external: list[Field] = field(default_factory=list)


def _read_tensor(model: _Model, message: Field, *, keep: bool) -> None:
    tensor = _tensor_fields(model, message)
    if tensor.external:
        _read_external(model, tensor.external)
    kind, raw = _DTYPES.get(tensor.dtype), tensor.raw
    elements = 1
    for n in tensor.dims[: MAX_DIMS + 1]:
        elements *= n
    if kind is None or len(tensor.dims) > MAX_DIMS or elements > MAX_ELEMENTS:
        raise Unread(f'has a tensor "{tensor.name}" of unknown type or impossible shape')
    if raw is not None and kind in _BITS and (elements * _BITS[kind] + 7) // 8 != raw.end - raw.start:
        raise Unread(f'has a tensor "{tensor.name}" that is not as long as its shape needs')
    if keep:
        if len(model.tensors) >= MAX_TENSORS:
            raise Unread("has more tensors than can be looked at")
        digest = _digest(model.source, raw) if model.digests and raw is not None else None
        model.tensors.append(TensorInfo(tensor.name, tuple(tensor.dims), kind, digest))


def _tensor_fields(model: _Model, message: Field) -> _Tensor:
    tensor = _Tensor()
    for item in model.reader.fields(message.start, message.end):
        if item.number == 1:
            tensor.dims += model.reader.numbers(item, MAX_DIMS)
        elif item.number == 2:
            tensor.dtype = item.value
        elif item.number == 8:
            tensor.name = shown(model.reader.text(item), 400)
        elif item.number == 9 and item.is_bytes:
            tensor.raw = item
        elif item.number == 13 and item.is_bytes:
            tensor.external.append(item)
    return tensor


def _read_external(model: _Model, entries: list[Field]) -> None:
    found: dict[str, str] = {}
    for entry in entries:
        key = value = ""
        for item in model.reader.fields(entry.start, entry.end):
            if item.number == 1:
                key = model.reader.text(item)
            elif item.number == 2:
                value = model.reader.text(item, 4_096)
        if key in found:
            raise Unread("names the place of a weight twice")
        found[key] = value
    place = found.get("location", "")
    for key in ("offset", "length"):
        if key in found and not (found[key].isascii() and found[key].isdigit() and len(found[key]) < 20):
            raise Unread("names a place of a weight that cannot be")
    (model.external if _is_basename(place) else model.outside)[place] = None
    if len(model.external) + len(model.outside) > 1_000:
        raise Unread("keeps its weights in more files than can be looked at")


def _is_basename(place: str) -> bool:
    return (
        bool(place)
        and place not in (".", "..")
        and place.isprintable()
        and not set(place) & set('/\\:*?"<>|')
    )


def _digest(source: Source, raw: Field) -> str:
    state = new_hash()
    for chunk in source.chunks(raw.start, raw.end - raw.start):
        state.update(chunk)
    return written(state)
