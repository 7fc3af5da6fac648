"""Small files of every kind, and hostile ones, written byte by byte; neither torch nor onnx is needed."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HEADS = (b"PK", b"00", b"01", b"02", b"03", b"04", b"05", b"06")
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
ITEM = {"HalfStorage": 2, "FloatStorage": 4, "LongStorage": 8, "ByteStorage": 1}


@dataclass(frozen=True)
class Tensor:
    """A tensor as torch pickles it; with `strides` of zeros a large shape costs one element."""

    shape: tuple[int, ...]
    storage: str = "HalfStorage"
    strides: tuple[int, ...] | None = None
    offset: int = 0
    count: int | None = None

    @classmethod
    def flat(cls, *shape: int) -> Tensor:
        """A tensor of any shape over a single element."""
        return cls(shape, strides=(0,) * len(shape), count=1)


@dataclass(frozen=True)
class Call:
    """A call of a global with arguments (REDUCE)."""

    module: str
    name: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Object:
    """An object made without its constructor (NEWOBJ), with a state (BUILD)."""

    module: str
    name: str
    state: Any = None


@dataclass(frozen=True)
class Raw:
    """Op codes as they are."""

    code: bytes


class Writer:
    """Writes pickles of protocol 2 as torch does, and remembers the storages."""

    def __init__(self, *, legacy: bool = False) -> None:
        self.storages: dict[str, bytes] = {}
        self._legacy = legacy

    def dump(self, value: Any) -> bytes:
        """Return a whole pickle of a value."""
        return b"\x80\x02" + self._value(value) + b"."

    def _value(self, value: Any) -> bytes:  # noqa: C901
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            return (
                b"\x8a"
                + bytes([9 if value.bit_length() < 64 else 11])
                + value.to_bytes(9 if value.bit_length() < 64 else 11, "little", signed=True)
            )
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            raw = value.encode("utf-8", "surrogatepass")
            return b"X" + struct.pack("<I", len(raw)) + raw
        if isinstance(value, list):
            return b"](" + b"".join(map(self._value, value)) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self._value, value)) + b"t"
        if isinstance(value, dict):
            return b"}(" + b"".join(self._value(part) for item in value.items() for part in item) + b"u"
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, Call):
            return self._global(value.module, value.name) + self._value(value.args) + b"R"
        if isinstance(value, Object):
            made = self._global(value.module, value.name) + b")\x81"
            return made if value.state is None else made + self._value(value.state) + b"b"
        if isinstance(value, Raw):
            return value.code
        raise TypeError(type(value))

    def _global(self, module: str, name: str) -> bytes:
        return b"c" + module.encode() + b"\n" + name.encode() + b"\n"

    def _tensor(self, tensor: Tensor) -> bytes:
        elements, strides = 1, []
        for n in reversed(tensor.shape):
            strides.insert(0, elements)
            elements *= n
        count = elements if tensor.count is None else tensor.count
        key = str(len(self.storages))
        self.storages[key] = bytes(n % 251 for n in range(min(count * ITEM[tensor.storage], 1 << 20)))
        persistent = ("storage", Raw(self._global("torch", tensor.storage)), key, "cpu", count)
        if self._legacy:
            persistent += (None,)
        return (
            self._global("torch._utils", "_rebuild_tensor_v2")
            + b"("
            + self._value(persistent)
            + b"Q"
            + b"".join(
                self._value(part)
                for part in (tensor.offset, tensor.shape, tensor.strides or tuple(strides), False)
            )
            + self._value(Call("collections", "OrderedDict"))
            + b"tR"
        )


def archive(members: Iterable[tuple[str, bytes]], *, compress: Iterable[str] = ()) -> bytes:
    """Return a zip archive; names may repeat and may be hostile."""
    packed = set(compress)
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as file:
        warnings.simplefilter("ignore")
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED if name in packed else zipfile.ZIP_STORED
            file.writestr(info, data)
    return out.getvalue()


def torch_members(value: Any, *, folder: str = "archive") -> list[tuple[str, bytes]]:
    """Return the members of a torch zip that holds a tree of values."""
    writer = Writer()
    data = writer.dump(value)
    return [
        (f"{folder}/data.pkl", data),
        (f"{folder}/byteorder", b"little"),
        *((f"{folder}/data/{key}", raw) for key, raw in writer.storages.items()),
        (f"{folder}/version", b"3\n"),
    ]


def torch_zip(value: Any, *, head: bytes = b"PK") -> bytes:
    """Return what `torch.save` writes for a tree of values, with the head that GPT-SoVITS would give it."""
    return altered(archive(torch_members(value)), head)


def altered(data: bytes, head: bytes) -> bytes:
    """Replace the first two bytes."""
    return head + data[2:]


def torch_legacy(value: Any) -> bytes:
    """Return what torch wrote before 1.6."""
    writer = Writer(legacy=True)
    body = writer.dump(value)
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    plain = Writer()
    parts = [
        plain.dump(LEGACY_MAGIC),
        plain.dump(1001),
        plain.dump(system),
        body,
        plain.dump(list(writer.storages)),
    ]
    for raw in writer.storages.values():
        # sizes are told in elements; the builder's legacy tensors are halves
        parts.append(struct.pack("<q", len(raw) // 2) + raw)
    return b"".join(parts)


EVIL = Call("posix", "system", ("touch /tmp/vlm-was-here",))


def evil_pickle(protocol: int = 2) -> bytes:
    """Return a raw pickle that would run a command, by Python's own writer."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os.system, ("touch /tmp/vlm-was-here",)

    return pickle.dumps({"weight": [Payload()]}, protocol=protocol)


def evil_checkpoint(head: bytes = b"PK") -> bytes:
    """Return a torch zip that looks like a voice and would run a command."""
    return torch_zip({"weight": {"a": Tensor((2, 3))}, "config": EVIL, "info": "e8"}, head=head)


def gpt_half(rows: int = 732, **extra: Any) -> dict[str, Any]:
    """Return the tree of a GPT half of GPT-SoVITS: 295 tensors of the right shapes."""
    weight = {
        "model.bert_proj.weight": Tensor.flat(512, 1024),
        "model.bert_proj.bias": Tensor.flat(512),
        "model.ar_text_embedding.word_embeddings.weight": Tensor.flat(rows, 512),
        "model.ar_text_position.alpha": Tensor.flat(1),
        "model.ar_audio_embedding.word_embeddings.weight": Tensor.flat(1025, 512),
        "model.ar_audio_position.alpha": Tensor.flat(1),
        "model.ar_predict_layer.weight": Tensor.flat(1025, 512),
    }
    for layer in range(24):
        for part in range(12):
            weight[f"model.h.layers.{layer}.part{part}"] = Tensor.flat(8)
    config = {"model": {"phoneme_vocab_size": rows, "n_layer": 24}, "output_dir": "D:\\voices\\lin\\logs"}
    return {"weight": weight, "config": config, "info": "GPT-e15", **extra}


def sovits_half(version: str = "v2", *, config_class: bool = True, **extra: Any) -> dict[str, Any]:
    """Return the tree of a SoVITS half with the tensors that tell versions apart."""
    phones, bins = (322, 1025) if version == "v1" else (732, 704)
    weight = {
        "enc_p.text_embedding.weight": Tensor.flat(phones, 192),
        "ref_enc.spectral.0.fc.weight": Tensor.flat(128, bins),
    }
    if version in ("v3", "v4"):
        weight["cfm.estimator.input_embed.proj.weight"] = Tensor.flat(1024, 712)
    else:
        weight["dec.conv_pre.weight"] = Tensor.flat(768 if version == "v2ProPlus" else 512, 192, 7)
    if version.startswith("v2Pro"):
        weight["sv_emb.weight"] = Tensor.flat(1024, 20480)
    total = 678 if version.startswith("v2Pro") else 673
    for index in range(total - len(weight)):
        weight[f"dec.more.{index}.weight"] = Tensor.flat(4)
    model = {"version": version, "gin_channels": 512}
    settings = Object(
        "utils", "HParams", {"model": Object("utils", "HParams", model), "data": {"sampling_rate": 1}}
    )
    config: Any = settings if config_class else {"model": model}
    return {"weight": weight, "config": config, "info": "8epoch_1200iteration", **extra}


def lora_half(version: str = "v3") -> dict[str, Any]:
    """Return the tree of a LoRA voice of v3 or v4."""
    name = "cfm.estimator.transformer_blocks.0.attn.to_q"
    weight = {
        f"{name}.lora_A.default.weight": Tensor.flat(32, 1024),
        f"{name}.lora_B.default.weight": Tensor.flat(1024, 32),
    }
    return {"weight": weight, "config": {"model": {"version": version}}, "info": "2epoch", "lora_rank": 32}


def safetensors(
    tensors: Mapping[str, tuple[str, list[int], bytes]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file; each tensor is (dtype, shape, bytes)."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    body = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    return safetensors_raw(json.dumps(header), body)


def safetensors_raw(header: str, body: bytes) -> bytes:
    """Return a safetensors file with a header as it is."""
    raw = header.encode()
    return struct.pack("<Q", len(raw)) + raw + body


def wav(seconds: float = 1.0, *, rate: int = 24_000, channels: int = 1) -> bytes:
    """Return a quiet 16-bit WAV file."""
    data = b"\x01\x00" * (int(seconds * rate) * channels)
    layout = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    body = b"WAVE" + b"fmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ONNX


def varint(number: int) -> bytes:
    """Return a protobuf varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes | str) -> bytes:
    """Return a protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def onnx(
    *, external: str | None = None, raw: bytes = b"\0" * 8, domain: str = "", writer: str = "pytorch"
) -> bytes:
    """Return an ONNX model of one Relu and one weight of two floats, maybe kept in another file."""
    tensor = field(1, 2) + field(2, 1) + field(8, "w")
    if external is None:
        tensor += field(9, raw)
    else:
        tensor += field(13, field(1, "location") + field(2, external)) + field(14, 1)
    branch = field(1, field(4, "Add"))
    node = field(1, "x") + field(2, "y") + field(4, "Relu") + field(7, domain) + field(5, field(6, branch))
    graph = field(1, node) + field(2, "g") + field(5, tensor)
    return field(1, 8) + field(2, writer) + field(3, "2.13.0") + field(7, graph) + field(8, field(2, 17))


# hostile files


def _swapped(data: bytes, old: bytes, new: bytes, which: int = 0) -> bytes:
    """Replace one occurrence (0 is the first, -1 the last) of some bytes by as many others."""
    assert len(old) == len(new)
    places = [i for i in range(len(data)) if data.startswith(old, i)]
    at = places[which]
    return data[:at] + new + data[at + len(new) :]


def bomb() -> bytes:
    """Return a small zip archive with a pickle of 32 MiB of zeros."""
    members = torch_members({"a": 1})
    return archive([("archive/data.pkl", b"\0" * (32 << 20)), *members[1:]], compress=["archive/data.pkl"])


def unsafe_files() -> dict[str, bytes]:
    """Return files that would run something when loaded, by name."""
    files = {f"evil-head-{head.decode()}.pth": evil_checkpoint(head) for head in HEADS}
    files |= {f"evil-{protocol}.pkl": evil_pickle(protocol) for protocol in range(6)}
    files["evil-legacy.pt"] = torch_legacy({"a": Tensor((2,)), "b": EVIL})
    writer = Writer()
    files["evil-inst.pkl"] = b"(S'true'\niposix\nsystem\n."
    files["evil-obj.pkl"] = b"(cposix\nsystem\nS'true'\no."
    files["evil-class.pkl"] = writer.dump(Object("my.voice", "Net", {"a": 1}))
    files["evil-class-patch.pkl"] = b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb."
    files["evil-import.pkl"] = writer.dump({"a": Raw(b"cantigravity\nfly\n")})
    files["evil-then-cut.pkl"] = evil_pickle(2)[:-6]
    files["evil-ext.pkl"] = b"\x80\x02\x82\x01."
    files["evil-builtin.pkl"] = writer.dump(Call("builtins", "bytes", (10**9,)))
    files["evil-load.pkl"] = writer.dump(Call("torch.storage", "_load_from_bytes", (b"".decode(),)))
    files["evil-eval.pkl"] = writer.dump(Call("__builtin__", "eval", ("1+1",)))
    files["outside.onnx"] = onnx(external="../../etc/passwd")
    files["absolute.onnx"] = onnx(external="/etc/passwd")
    files["windows.onnx"] = onnx(external="..\\weights.bin")
    return files


def unread_files() -> dict[str, bytes]:
    """Return files that cannot be read, or not without doubt, by name."""
    good = torch_zip({"weight": {"a": Tensor((2, 3))}})
    members = torch_members({"weight": {"a": Tensor((2, 3))}})
    plain = Writer().dump({"a": 1})
    files = {
        "empty.pth": b"",
        "one-byte.pth": b"\x80",
        "noise.bin": bytes(range(256)) * 4,
        "cut.pth": good[: len(good) // 2],
        "cut-end.pth": good[:-1],
        "tail.pth": good + b"x",
        "prefix.pth": b"#!/bin/sh\n" + good,
        "head-07.pth": altered(good, b"07"),
        "bomb.pth": bomb(),
        "duplicate.pth": archive([*members, members[0]]),
        "case.pth": archive([*members, ("archive/DATA.PKL", plain)]),
        "parent.pth": archive([*members, ("archive/../../x", b"1")]),
        "absolute.pth": archive([*members, ("/etc/passwd", b"1")]),
        "latin-name.pth": _swapped(
            _swapped(good, b"byteorder", b"byte\xe4rder"), b"byteorder", b"byte\xe4rder"
        ),
        "two-names.pth": _swapped(good, b"archive/data.pkl", b"archive/data.pkk"),
        "flipped.pth": _swapped(good, bytes(range(12)), bytes([9, *range(1, 12)])),
        "gap.pth": _gap(good),
        "second-pickle.pth": archive([(members[0][0], members[0][1] + plain), *members[1:]]),
        "second-pickle.pkl": plain + plain,
        "missing-storage.pth": archive([item for item in members if "/data/" not in item[0]]),
        "short-storage.pth": archive([(name, raw[:4] if "/data/" in name else raw) for name, raw in members]),
        "past-storage.pth": torch_zip({"a": Tensor((2, 3), offset=3)}),
        "tar.pkl": tar_and_pickle(),
        "computed-name.pkl": b"\x80\x04K\x01K\x02\x93.",
        "memo-twice.pkl": b"\x80\x02K\x01q\x00K\x02q\x00.",
        "nested-frame.pkl": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x95\x01\x00\x00\x00\x00\x00\x00\x00N.",
        "late-proto.pkl": b"\x80\x02N\x80\x04.",
        "deep.pkl": b"\x80\x02" + b"(" * 10_000 + b".",
        "laughs.pkl": b"\x80\x02(]q\x00" + b"".join(_layer(n) for n in range(60)) + b"t.",
        "two-faces.safetensors": two_faces(),
        "tar.safetensors": tar_and_safetensors(),
        "not-onnx.onnx": b"hello",
        "long.onnx": onnx(raw=b"\0" * 12),
    }
    lies = lying_safetensors()
    return files | {f"{name}.safetensors": data for name, data in lies.items()}


def _layer(n: int) -> bytes:
    """A list that holds the list before it twice: 2**60 leaves at the end."""
    return b"]q" + bytes([n + 1]) + b"(h" + bytes([n]) + b"h" + bytes([n]) + b"e"


def _gap(data: bytes) -> bytes:
    """Put a byte before the directory and tell the end record where the directory went."""
    end = data.rindex(b"PK\x05\x06")
    offset = struct.unpack("<I", data[end + 16 : end + 20])[0]
    moved = data[end : end + 16] + struct.pack("<I", offset + 1) + data[end + 20 :]
    return data[:offset] + b"x" + data[offset:end] + moved


def tar_and_pickle() -> bytes:
    """Return a legacy torch file whose first block is a tar header too: old torch readers would take the tar."""
    start = Writer().dump(LEGACY_MAGIC)
    block = bytearray(start + b"X" * (512 - len(start)))
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def two_faces() -> bytes:
    """Return a safetensors file that pickle reads as: protocol 2, a long line of text, then a payload."""
    payload = b"cposix\nsystem\n(S'true'\ntR."
    header = f'{{"a":{{"dtype":"U8","shape":[{len(payload)}],"data_offsets":[0,{len(payload)}]}}}}'
    length = int.from_bytes(b"\x80\x02V\0\0\0\0\0", "little")
    return safetensors_raw(header.ljust(length - 1) + "\n", payload)


def tar_and_safetensors() -> bytes:
    """Return a safetensors file whose first block is a tar header too."""
    block = bytearray(
        safetensors_raw('{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'.ljust(600), b"\0" * 8)
    )
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block[:512]):06o}  ".encode()
    return bytes(block)


def lying_safetensors() -> dict[str, bytes]:
    """Return safetensors files whose headers lie, by the lie."""
    one = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    return {
        "overlap": safetensors_raw(
            f'{{{one},"b":{{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}}}', b"\0" * 12
        ),
        "hole": safetensors_raw(
            f'{{{one},"b":{{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}}}', b"\0" * 20
        ),
        "past-end": safetensors_raw(f"{{{one}}}", b"\0" * 4),
        "left-over": safetensors_raw(f"{{{one}}}", b"\0" * 12),
        "twice": safetensors_raw(f"{{{one},{one}}}", b"\0" * 8),
        "size": safetensors_raw('{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', b"\0" * 8),
        "dtype": safetensors_raw('{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8),
        "negative": safetensors_raw('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', b"\0" * 8),
        "huge": safetensors_raw(
            '{"a":{"dtype":"F32","shape":[9007199254740993,9007199254740993],"data_offsets":[0,8]}}',
            b"\0" * 8,
        ),
        "not-json": safetensors_raw("{nothing}", b""),
        "nan": safetensors_raw('{"__metadata__":{"a":NaN}}', b""),
        "deep": safetensors_raw('{"a":' + "[" * 50_000 + "]" * 50_000 + "}", b""),
        "length": struct.pack("<Q", 1 << 40) + b"{}",
    }


def crc32(data: bytes) -> int:
    """Return the checksum that zip uses."""
    return zlib.crc32(data)
