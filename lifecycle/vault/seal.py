"""Sealed blob, version 1: a file encrypted in chunks, of which nothing is believed until its end was seen.

Layout (big-endian), 96 bytes of header and then the chunks::

    0   8  magic  89 56 4C 4D 53 0D 0A 1A
    8   2  version, 1
    10  2  header size, 96
    12  4  chunk size in bytes of plaintext
    16  16 key id, random
    32  32 salt, random
    64  32 key commitment

Three 32-byte blocks of HKDF-SHA256 (ikm: data key, salt: salt, info: "vlm sealed blob v1" || SHA-256(header
bytes 0..63)) are the commitment, the file's key and the seven bytes that begin each nonce. A chunk is
AES-256-GCM with nonce = prefix(7) || counter(4) || last(1) and the whole header as associated data; the last
chunk, and only it, has last = 1; an empty file is one empty chunk. Sources: STREAM (Hoang, Reyhanitabar,
Rogaway, Vizar 2015); the commitment is there because GCM does not commit to its key.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lifecycle.domain.errors import IntegrityError

MAGIC = b"\x89VLMS\r\n\x1a"
VERSION = 1
HEADER_BYTES = 96
TAG_BYTES = 16
CHUNK_BYTES = 1 << 20
_MIN_CHUNK, _MAX_CHUNK = 1 << 8, 1 << 24
_MAX_CHUNKS = 1 << 32
_FIXED = struct.Struct(">8sHHI16s32s")


@dataclass(frozen=True, slots=True)
class DataKey:
    """A 256-bit key for the files of one recording set, and its random id (32 hexadecimal digits)."""

    id: str
    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.material) != 32 or len(self.id) != 32 or not set(self.id) <= set("0123456789abcdef"):
            raise ValueError("a data key is 32 bytes with an id of 32 hexadecimal digits")


def sealed_size(content_size: int, chunk_size: int = CHUNK_BYTES) -> int:
    """Return how many bytes a content of this size takes once sealed."""
    chunks = max(1, -(-content_size // chunk_size))
    return HEADER_BYTES + content_size + chunks * TAG_BYTES


class _Cipher:
    """The file's own key, as both sides derive it."""

    def __init__(self, fixed: bytes, key: DataKey) -> None:
        derived = HKDF(
            algorithm=SHA256(),
            length=96,
            salt=fixed[32:64],
            info=b"vlm sealed blob v1" + hashlib.sha256(fixed).digest(),
        ).derive(key.material)
        self.commitment, file_key, self._prefix = derived[:32], derived[32:64], derived[64:71]
        self._aead = AESGCM(file_key)
        self.header = fixed + self.commitment

    def nonce(self, counter: int, *, last: bool) -> bytes:
        if counter >= _MAX_CHUNKS:
            raise IntegrityError("a sealed file may not have more than 2^32 chunks")
        return self._prefix + counter.to_bytes(4, "big") + bytes([last])

    def encrypt(self, counter: int, chunk: bytes, *, last: bool) -> bytes:
        return self._aead.encrypt(self.nonce(counter, last=last), chunk, self.header)

    def decrypt(self, counter: int, chunk: bytes, *, last: bool) -> bytes:
        return self._aead.decrypt(self.nonce(counter, last=last), chunk, self.header)


class Sealer:
    """Seals a content that arrives in pieces: write `header`, then what `update` and `finish` return."""

    def __init__(
        self, key: DataKey, *, random_bytes: Callable[[int], bytes], chunk_size: int = CHUNK_BYTES
    ) -> None:
        if not _MIN_CHUNK <= chunk_size <= _MAX_CHUNK:
            raise ValueError(f"a chunk of {chunk_size} bytes is out of range")
        salt = random_bytes(32)
        if len(salt) != 32:
            raise ValueError("the random source gave too few bytes")
        fixed = _FIXED.pack(MAGIC, VERSION, HEADER_BYTES, chunk_size, bytes.fromhex(key.id), salt)
        self._cipher = _Cipher(fixed, key)
        self._chunk_size = chunk_size
        self._waiting = b""
        self._counter = 0
        self.header = self._cipher.header

    def update(self, piece: bytes) -> bytes:
        """Take a piece of the content; return the chunks that it completed, except the one that may be last."""
        # A full chunk waits until a byte follows it: only then is it known not to be the last.
        if (
            len(self._waiting) == self._chunk_size >= len(piece) > 0
        ):  # pieces as long as chunks are not copied
            sealed, self._waiting = self._next(self._waiting), piece
            return sealed
        waiting = self._waiting + piece
        whole = max(0, len(waiting) - 1) // self._chunk_size * self._chunk_size
        self._waiting = waiting[whole:]
        starts = range(0, whole, self._chunk_size)
        return b"".join(self._next(waiting[start : start + self._chunk_size]) for start in starts)

    def _next(self, chunk: bytes) -> bytes:
        sealed = self._cipher.encrypt(self._counter, chunk, last=False)
        self._counter += 1
        return sealed

    def finish(self) -> bytes:
        """Return the last chunk."""
        return self._cipher.encrypt(self._counter, self._waiting, last=True)


def key_id_of(header: bytes) -> str:
    """Return the id of the data key that opens a sealed file.

    Raises:
        IntegrityError: These are not the first 96 bytes of a sealed file that this version reads.
    """
    if len(header) < HEADER_BYTES or header[:8] != MAGIC:
        raise IntegrityError("the file is not sealed, or its header is damaged")
    _, version, size, chunk_size, key_id, _ = _FIXED.unpack(header[:64])
    if version != VERSION or size != HEADER_BYTES or not _MIN_CHUNK <= chunk_size <= _MAX_CHUNK:
        raise IntegrityError(
            f"the sealed file has format version {version}, which this program does not read"
        )
    return bytes(key_id).hex()


class SealedReader(io.RawIOBase):
    """A seekable view of the plaintext, given only once every chunk up to the last was authenticated.

    Nothing decrypted is kept but one chunk: each read decrypts, and so authenticates, again. Therefore no
    plaintext is ever spooled to a disk, and a file that is changed underneath gives an error, never bytes.

    Args:
        file: A regular file, opened for reading; closed with the view.

    Raises:
        IntegrityError: Wrong key, changed header, or a chunk changed, dropped, repeated, moved or added.
    """

    def __init__(self, file: BinaryIO, key: DataKey) -> None:
        super().__init__()
        self._file = file
        file.seek(0)
        header = file.read(HEADER_BYTES)
        if key_id_of(header) != key.id:
            raise IntegrityError("the file is sealed with another key")
        self._cipher = _Cipher(header[:64], key)
        if not hmac.compare_digest(self._cipher.commitment, header[64:]):
            raise IntegrityError("the key does not fit the sealed file, or its header was changed")
        self._chunk_size = int.from_bytes(header[12:16], "big")
        body = file.seek(0, io.SEEK_END) - HEADER_BYTES
        stride = self._chunk_size + TAG_BYTES
        self._chunks = max(1, -(-body // stride))
        self.content_size = body - self._chunks * TAG_BYTES
        self._position = 0
        self._held: tuple[int, bytes] = (-1, b"")
        if self.content_size < 0 or self._chunks > _MAX_CHUNKS:
            raise IntegrityError("the sealed file ends too early")
        if self._chunks > 1 and self.content_size <= (self._chunks - 1) * self._chunk_size:
            raise IntegrityError("the sealed file ends in the middle of a chunk")
        for index in range(self._chunks):
            self._chunk(index)

    def _chunk(self, index: int) -> bytes:
        if self._held[0] == index:
            return self._held[1]
        stride = self._chunk_size + TAG_BYTES
        self._file.seek(HEADER_BYTES + index * stride)
        sealed = self._file.read(stride)
        try:
            plain = self._cipher.decrypt(index, sealed, last=index == self._chunks - 1)
        except (InvalidTag, ValueError):
            raise IntegrityError(f"chunk {index} of the sealed file was changed, moved or cut") from None
        self._held = (index, plain)
        return plain

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can be moved in: always."""
        return True

    def tell(self) -> int:
        """Return the position in the plaintext, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move in the plaintext."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.content_size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with plaintext from the position on; 0 at the end."""
        if self._position >= self.content_size or not len(buffer):
            return 0
        index, within = divmod(self._position, self._chunk_size)
        piece = self._chunk(index)[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Return the plaintext from the position on, a chunk at a time."""
        return b"".join(iter(lambda: self.read(self._chunk_size), b""))

    def close(self) -> None:
        """Close the sealed file and forget the chunk at hand."""
        self._held = (-1, b"")
        self._file.close()
        super().close()
