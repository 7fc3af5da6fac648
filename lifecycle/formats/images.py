"""Docker images read as data: what is installed in them, without a container and without unpacking anything.

An image comes as a docker-archive, which `docker save` writes: a tar of layers, each a tar of its own, with a
configuration that names the SHA-256 of each layer. The few files that say what is installed are kept in memory; the
layers are hashed on the way, so a layer that is not what the configuration names is noticed.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lifecycle.formats.limits import KIB, MIB
from lifecycle.formats.model import Unread
from lifecycle.formats.tars import Entry, Read, entries

_MAX_JSON: Final = 4 * MIB
_MAX_KEPT: Final = 256 * MIB
_MAX_STREAM: Final = 128 * 1024 * MIB
_KEPT: Final = {
    "METADATA": 256 * KIB, "PKG-INFO": 256 * KIB, "INSTALLER": KIB, "direct_url.json": 64 * KIB,
}  # fmt: skip
_TOLD = re.compile(
    r"(?:^|/)[^/]+\.(?:dist-info/(?:METADATA|INSTALLER|direct_url\.json)|egg-info(?:/PKG-INFO)?)$"
)
_MARKS = re.compile(r"(?:^|/)(?:conda-meta/[^/]+\.json|python3\.\d{1,2}/os\.py|ld-musl-[^/]+\.so\.1)$")


@dataclass(frozen=True, slots=True)
class Image:
    """An image, as far as it says what is installed.

    Attributes:
        config: "sha256:<hex>" of its configuration; the image's id in most stores.
        diff_ids: "sha256:<hex>" of each uncompressed layer, which is what stays equal across formats.
        files: Content by path of what says what is installed; empty for mere marks.
    """

    config: str
    diff_ids: tuple[str, ...]
    system: str
    architecture: str
    variables: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(slots=True)
class _Layer:
    digest: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    error: str | None = None


def read_image(read: Read) -> Image:
    """Read a docker-archive of one image.

    Args:
        read: Returns at most as many bytes as asked for; none is the end.

    Raises:
        Unread: It is none, holds several images, leads out of itself, or is not what it says of itself.
    """
    texts, layers, links = _parts(_counted(read))
    manifest = _json(texts, "manifest.json")
    if not isinstance(manifest, list) or not manifest:
        raise Unread("is no archive of an image: it has no manifest")
    if len(manifest) > 1:
        raise Unread(f"holds {len(manifest)} images; save one of them alone")
    told = manifest[0] if isinstance(manifest[0], dict) else {}
    place, names = told.get("Config"), told.get("Layers")
    if not isinstance(place, str) or not isinstance(names, list):
        raise Unread("has a manifest that names no configuration")
    config = _json(texts, place)
    if not isinstance(config, dict):
        raise Unread("has no configuration")
    mine = [_layer(str(name), layers, links) for name in names]
    diff_ids = _diff_ids(config, mine)
    inner = config.get("config")
    return Image(
        config=f"sha256:{hashlib.sha256(texts[place]).hexdigest()}",
        diff_ids=diff_ids,
        system=str(config.get("os", ""))[:20],
        architecture=str(config.get("architecture", ""))[:20],
        variables=_variables(inner.get("Env") if isinstance(inner, dict) else None),
        files=_merged(mine),
    )


def _parts(read: Read) -> tuple[dict[str, bytes], dict[str, _Layer], dict[str, str]]:
    """Read the outer archive: small JSON texts, layers, and links from one layer's name to another's."""
    texts: dict[str, bytes] = {}
    layers: dict[str, _Layer] = {}
    links: dict[str, str] = {}
    kept = 0
    for entry in entries(read):
        if entry.kind in {"symlink", "hardlink"}:
            there = posixpath.join(posixpath.dirname(entry.path), entry.link)
            links[entry.path] = entry.link if entry.kind == "hardlink" else posixpath.normpath(there)
        elif entry.kind == "file":
            head = entry.read(min(entry.size, 512))
            if (head[:1] in (b"{", b"[") and head[257:262] != b"ustar") or entry.size <= 16:
                if entry.size > _MAX_JSON:
                    raise Unread("has a description that is larger than one may be")
                texts[entry.path] = head + _rest(entry)
                kept += entry.size
            else:
                layers[entry.path] = _read_layer(entry, head)
                kept += sum(map(len, layers[entry.path].files.values()))
        if kept > _MAX_KEPT or len(texts) + len(layers) > 10_000:
            raise Unread("says more of what is installed in it than an image does")
    return texts, layers, links


def _read_layer(entry: Entry, head: bytes) -> _Layer:
    layer = _Layer()
    stream = _Hashed(_inflated(entry, head) if head[:2] == b"\x1f\x8b" else _plain(entry, head))
    try:
        for inner in entries(stream.read):
            _note(layer, inner)
        stream.drain()
        layer.digest = f"sha256:{stream.hash.hexdigest()}"
    except Unread as unread:
        layer.error = unread.reason
    return layer


def _note(layer: _Layer, entry: Entry) -> None:
    folder, _, name = entry.path.rpartition("/")
    if name == ".wh..wh..opq":
        layer.opaque.append(folder)
    elif name.startswith(".wh."):
        layer.gone.append(posixpath.join(folder, name[4:]))
    elif entry.kind == "folder":
        return
    else:
        layer.covered.append(entry.path) if entry.kind == "symlink" else None
        if _MARKS.search(entry.path):
            layer.files[entry.path] = b""
        elif _TOLD.search(entry.path):
            layer.files[entry.path] = _content(layer, entry, name)
    if len(layer.files) + len(layer.gone) + len(layer.opaque) > 500_000:
        raise Unread("names more packages than an image does")


def _content(layer: _Layer, entry: Entry, name: str) -> bytes:
    if entry.kind == "hardlink":
        return layer.files.get(entry.link, b"")
    if entry.kind != "file":
        return b""  # a link or a device says nothing, and is followed nowhere
    parts, left = [], min(entry.size, _KEPT.get(name, 256 * KIB))
    while left:
        parts.append(entry.read(left))
        left -= len(parts[-1])
    return b"".join(parts)


def _merged(layers: list[_Layer]) -> dict[str, bytes]:
    """Lay the layers over each other, with what each takes away from those below."""
    files: dict[str, bytes] = {}
    for layer in layers:
        away = {*layer.gone, *layer.covered}
        opaque = set(layer.opaque)
        if away or opaque:
            files = {path: told for path, told in files.items() if not _hidden(path, away, opaque)}
        files |= layer.files
    return files


def _hidden(path: str, away: set[str], opaque: set[str]) -> bool:
    if path in away or "" in opaque:
        return True
    at = path.rfind("/")
    while at > 0:
        if path[:at] in away or path[:at] in opaque:
            return True
        at = path.rfind("/", 0, at)
    return False


def _layer(name: str, layers: Mapping[str, _Layer], links: Mapping[str, str]) -> _Layer:
    for _ in range(8):
        if name in layers:
            found = layers[name]
            if found.error is not None:
                raise Unread(f"has a layer that {found.error}")
            return found
        name = links.get(name, "")
    raise Unread("lacks a layer that its manifest names")


def _diff_ids(config: Mapping[str, Any], layers: list[_Layer]) -> tuple[str, ...]:
    rootfs = config.get("rootfs")
    told = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if [layer.digest for layer in layers] != told:
        raise Unread("has a layer that is not the one that its configuration names")
    return tuple(layer.digest for layer in layers)


def _json(texts: Mapping[str, bytes], name: str) -> object:
    try:
        return json.loads(texts.get(name, b"null"))
    except (ValueError, RecursionError):
        raise Unread("has a description that is no JSON") from None


def _variables(told: object) -> dict[str, str]:
    pairs = [str(item).partition("=") for item in told[:1000]] if isinstance(told, list) else []
    return {name: value for name, _, value in pairs}


def _rest(entry: Entry) -> bytes:
    return b"".join(iter(lambda: entry.read(MIB), b""))


def _plain(entry: Entry, head: bytes) -> Iterator[bytes]:
    yield head
    yield from iter(lambda: entry.read(MIB), b"")


def _inflated(entry: Entry, head: bytes) -> Iterator[bytes]:
    """Inflate a compressed layer piece by piece; what it may grow to is bounded with everything else."""
    machine = zlib.decompressobj(31)
    total = 0
    for piece in _plain(entry, head):
        pending = piece
        while pending and not machine.eof:
            try:
                made = machine.decompress(pending, MIB)
            except zlib.error:
                raise Unread("is compressed in a way that cannot be undone") from None
            pending = machine.unconsumed_tail
            total += len(made)
            if total > _MAX_STREAM:
                raise Unread("is larger than an image may be")
            yield made
    if not machine.eof:
        raise Unread("ends in the middle")


class _Hashed:
    """Hashes everything that passes, so that nothing is read twice."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece, self._at = b"", 0
        self.hash = hashlib.sha256()

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`."""
        while self._at >= len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self.hash.update(piece)
            self._piece, self._at = piece, 0
        # a position, not what is left: most reads are headers of 512 bytes out of a piece of a megabyte
        given = self._piece[self._at : self._at + count]
        self._at += len(given)
        return given

    def drain(self) -> None:
        """Pass what is left."""
        self._piece, self._at = b"", 0
        for piece in self._pieces:
            self.hash.update(piece)


def _counted(read: Read) -> Read:
    seen = 0

    def counted(count: int) -> bytes:
        nonlocal seen
        piece = read(count)
        seen += len(piece)
        if seen > _MAX_STREAM:
            raise Unread("is larger than an image may be")
        return piece

    return counted
