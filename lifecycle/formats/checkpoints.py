"""What `torch.save` writes: zip archives (since torch 1.6), the older stream of pickles, and raw pickles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lifecycle.formats import known, limits
from lifecycle.formats.model import Finding, TensorInfo, Unread, shown
from lifecycle.formats.pickles import Walk, walk
from lifecycle.formats.source import Source, memory
from lifecycle.formats.values import Array, Storage, Tensor, tensors_in
from lifecycle.formats.zips import Zip

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001
_TAR_BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A torch file: the walked pickles, its tensors by name, and where the bytes of each storage lie."""

    walks: tuple[Walk, ...]
    tensors: tuple[tuple[str, Tensor | Array], ...]
    storages: dict[str, Source]
    findings: tuple[Finding, ...]
    facts: dict[str, object]
    big_endian: bool = False

    @property
    def value(self) -> object:
        """The tree that the file holds."""
        return self.walks[-1].value

    @property
    def unsafe(self) -> bool:
        """Whether loading it would run something."""
        return any(part.unsafe for part in self.walks)

    def infos(self, *, digests: bool = False) -> tuple[TensorInfo, ...]:
        """Describe every tensor; with digests each one's bytes are read."""
        return tuple(self._info(name, tensor, digests=digests) for name, tensor in self.tensors)

    def _info(self, name: str, tensor: Tensor | Array, *, digests: bool) -> TensorInfo:
        digest = None
        if digests and isinstance(tensor, Tensor) and tensor.storage is not None and not self.big_endian:
            from lifecycle.formats.tensors import digest_of

            digest = digest_of(tensor, self.storages[tensor.storage.key])
        return TensorInfo(shown(name, 400), tensor.shape, tensor.dtype or "?", digest)


def read_zip(container: Zip) -> Checkpoint:
    """Read a zip archive of `torch.save`.

    Raises:
        Unread: It is damaged or ambiguous, or a tensor reaches past its storage.
    """
    folder = container.folder()
    member = container.members.get(f"{folder}/data.pkl")
    if member is None:
        raise Unread("is a zip archive, but not one that torch writes", kind="zip")
    data = container.read(member.name)
    part = walk(memory(data), 0, len(data))
    if part.end is not None and part.end != len(data):
        raise Unread("has bytes behind the end of its pickle")
    storages = {
        name.removeprefix(f"{folder}/data/"): container.window(name)
        for name, item in container.members.items()
        if name.startswith(f"{folder}/data/") and item.stored
    }
    facts: dict[str, object] = {"container": "torch zip", "members": len(container.members)}
    findings: list[Finding] = []
    big_endian = _zip_facts(container, folder, facts, findings)
    _other_pickles(container, folder, findings)
    return _finish((part,), storages, tuple(findings), facts, big_endian=big_endian)


def _zip_facts(container: Zip, folder: str, facts: dict[str, object], findings: list[Finding]) -> bool:
    names = container.members
    if f"{folder}/version" in names:
        facts["container_version"] = container.text(f"{folder}/version", 32).strip()
    order = container.text(f"{folder}/byteorder", 32) if f"{folder}/byteorder" in names else "little"
    if order not in ("little", "big"):
        raise Unread("names a byte order that does not exist")
    if f"{folder}/byteorder" in names:
        facts["torch_writer"] = "2.1 or newer"
    findings += container.check()
    return order == "big"


def _other_pickles(container: Zip, folder: str, findings: list[Finding]) -> None:
    extra = [
        name
        for name in container.members
        if not name.startswith(f"{folder}/data/")
        and name.removeprefix(f"{folder}/")
        not in (
            "data.pkl",
            "version",
            "byteorder",
            ".format_version",
            ".storage_alignment",
            ".data/serialization_id",
        )
        and not name.endswith("/")
    ]
    if any(name.endswith((".pkl", ".py", ".so", ".dll", ".pickle", ".pt", ".pth")) for name in extra):
        raise Unread(f'holds a member "{shown(extra[0])}" that torch.save never writes')
    if extra:
        findings.append(
            Finding("info", "extra_members", f'holds a member "{shown(extra[0])}" that torch ignores')
        )


def read_legacy(source: Source) -> Checkpoint | None:
    """Read the older format: pickles, the list of storages, their raw bytes; None if it is not that.

    Raises:
        Unread: It begins like that format and then is something else.
    """
    first = walk(source, 0, source.size, external=False)
    if first.value != LEGACY_MAGIC or first.end is None or isinstance(first.value, bool):
        return None
    version = walk(source, first.end, source.size, external=False)
    if version.value != _LEGACY_PROTOCOL or version.end is None:
        raise Unread("is an old torch file of an unknown version", kind="torch-legacy")
    system = walk(source, version.end, source.size, external=False)
    little = isinstance(system.value, dict) and system.value.get("little_endian") is True
    if not little or system.end is None:
        raise Unread("is an old torch file of a big-endian machine", kind="torch-legacy")
    body = walk(source, system.end, source.size)
    facts: dict[str, object] = {"container": "torch legacy"}
    walks = (first, version, system, body)
    if body.end is None:
        return Checkpoint(walks, (), {}, (), facts)
    keys = walk(source, body.end, source.size, external=False)
    if any(part.unsafe for part in (*walks, keys)) or keys.end is None:
        return Checkpoint((*walks[:3], keys, body), (), {}, (), facts)
    storages = dict(_legacy_storages(source, keys, body))
    return _finish((*walks[:3], keys, body), storages, (), facts)


def _legacy_storages(source: Source, keys: Walk, body: Walk) -> Iterator[tuple[str, Source]]:
    wanted = {
        tensor.storage.key: tensor.storage
        for _, tensor in tensors_in(body.value)
        if isinstance(tensor, Tensor) and tensor.storage is not None
    }
    if not isinstance(keys.value, list) or keys.end is None:
        raise Unread("is an old torch file without its list of storages", kind="torch-legacy")
    position = keys.end
    for key in keys.value:
        storage = wanted.pop(key, None) if isinstance(key, str) else None
        if storage is None:
            raise Unread("is an old torch file whose list of storages names others than its tensors")
        if int.from_bytes(source.at(position, 8), "little", signed=True) != storage.count:
            raise Unread("is an old torch file in which the sizes of a storage differ", kind="torch-legacy")
        size = storage.count * known.ITEM_BYTES[storage.dtype or "U8"]
        yield storage.key, source.window(position + 8, size)
        position += 8 + size
    if position != source.size or wanted:
        raise Unread("is an old torch file with bytes missing or left over at its end", kind="torch-legacy")


def read_pickle(source: Source) -> Checkpoint:
    """Read a raw pickle, which must be the whole file.

    Raises:
        Unread: Something follows it: a second pickle or anything else.
    """
    part = walk(source, 0, source.size, external=False)
    if part.end is not None and part.end != source.size:
        raise Unread("has bytes behind the end of its pickle", kind="pickle")
    return _finish((part,), {}, (), {"container": "pickle"})


def is_tar(source: Source) -> bool:
    """Say whether the first block would pass as a tar header: old torch readers try tar before pickle."""
    if source.size < _TAR_BLOCK:
        return False
    block = source.at(0, _TAR_BLOCK)
    field = block[148:156].strip(b" \0")
    if not field or any(byte not in b"01234567" for byte in field):
        return block[148:149] in (b"\x80", b"\xff")
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 8 * 32
    return int(field, 8) in (total, signed)


def _finish(
    walks: tuple[Walk, ...],
    storages: dict[str, Source],
    findings: tuple[Finding, ...],
    facts: dict[str, object],
    *,
    big_endian: bool = False,
) -> Checkpoint:
    if any(part.unsafe for part in walks):
        # the tree of a dangerous pickle is not worth believing
        return Checkpoint(walks, (), storages, findings, facts, big_endian)
    return Checkpoint(
        walks, checked_tensors(walks[-1].value, storages), storages, findings, facts, big_endian
    )


def checked_tensors(value: object, storages: dict[str, Source]) -> tuple[tuple[str, Tensor | Array], ...]:
    """Return every tensor in a tree with its path.

    Raises:
        Unread: One of them has no data, or reaches past it.
    """
    tensors = tuple(tensors_in(value))
    for name, tensor in tensors:
        if isinstance(tensor, Tensor) and tensor.storage is not None:
            check_extent(name, tensor, tensor.storage, storages)
    return tensors


def check_extent(name: str, tensor: Tensor, storage: Storage, storages: dict[str, Source]) -> None:
    """Hold a tensor against the bytes that it says it is a view of.

    Raises:
        Unread: They are missing, fewer or more than the storage says, or the tensor reaches past them.
    """
    held = storages.get(storage.key)
    if held is None:
        raise Unread(f'lacks the data of its tensor "{shown(name)}"')
    item = known.ITEM_BYTES[tensor.dtype]
    width = known.ITEM_BYTES[storage.dtype] if storage.dtype else 1
    if held.size != storage.count * width:
        raise Unread(
            f'holds {held.size} bytes for its tensor "{shown(name)}", which says {storage.count * width}'
        )
    if 0 in tensor.shape:
        return
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if (last + 1) * item > held.size:
        raise Unread(f'has a tensor "{shown(name)}" that reaches past its data')
    elements = 1
    for n in tensor.shape:
        elements *= n
    if elements > limits.MAX_ELEMENTS:
        raise Unread(f'has a tensor "{shown(name)}" of {elements} elements')
