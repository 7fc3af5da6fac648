"""A sealed file opens to exactly what was sealed, or not at all: the attacks on STREAM and on GCM's keys."""

from __future__ import annotations

import hashlib
import hmac
import io
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.seal import (
    HEADER_BYTES,
    TAG_BYTES,
    DataKey,
    SealedReader,
    Sealer,
    key_id_of,
    sealed_size,
)

KEY = DataKey("cd" * 16, bytes(range(1, 33)))
CHUNK = 256
STRIDE = CHUNK + TAG_BYTES
contents = st.binary(max_size=5 * CHUNK)


def sealed(content: bytes, key: DataKey = KEY, pieces: int = 100) -> bytes:
    sealer = Sealer(key, random_bytes=os.urandom, chunk_size=CHUNK)
    body = b"".join(sealer.update(content[i : i + pieces]) for i in range(0, len(content), pieces))
    return sealer.header + body + sealer.finish()


def opened(blob: bytes, key: DataKey = KEY) -> bytes:
    return SealedReader(io.BytesIO(blob), key).read()


@given(contents, st.integers(1, 700))
def test_it_opens_to_what_was_sealed_however_it_arrived(content, pieces):
    blob = sealed(content, pieces=pieces)

    assert opened(blob) == content
    assert len(blob) == sealed_size(len(content), CHUNK)
    assert key_id_of(blob) == KEY.id


@given(contents, st.integers(0, 6 * CHUNK), st.integers(0, 6 * CHUNK))
def test_any_part_reads_as_of_a_plain_file(content, start, size):
    plain, view = io.BytesIO(content), io.BufferedReader(SealedReader(io.BytesIO(sealed(content)), KEY))
    plain.seek(start)
    view.seek(start)

    assert view.read(size) == plain.read(size)
    assert view.tell() == plain.tell()


@given(contents, st.data())
def test_every_changed_bit_is_found(content, data):
    blob = bytearray(sealed(content))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(IntegrityError):
        opened(bytes(blob))


@given(contents, st.data())
def test_every_cut_is_found(content, data):
    blob = sealed(content)
    length = data.draw(st.integers(0, len(blob) - 1))

    with pytest.raises(IntegrityError):
        opened(blob[:length])


@given(contents, st.binary(min_size=1, max_size=2 * STRIDE))
def test_anything_added_is_found(content, more):
    with pytest.raises(IntegrityError):
        opened(sealed(content) + more)


def chunks_of(blob: bytes) -> tuple[bytes, list[bytes]]:
    body = blob[HEADER_BYTES:]
    return blob[:HEADER_BYTES], [body[i : i + STRIDE] for i in range(0, len(body), STRIDE)]


FOUR = bytes(range(256)) * 4


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(lambda c: c[:-1], id="last chunk dropped"),
        pytest.param(lambda c: c[1:], id="first chunk dropped"),
        pytest.param(lambda c: [c[1], c[0], *c[2:]], id="two chunks swapped"),
        pytest.param(lambda c: [*c, c[-1]], id="last chunk repeated"),
        pytest.param(lambda c: [c[0], *c], id="first chunk repeated"),
        pytest.param(lambda c: [], id="no chunk at all"),
        pytest.param(lambda c: [c[-1]], id="only the last chunk"),
    ],
)
def test_chunks_can_not_be_rearranged(attack):
    header, chunks = chunks_of(sealed(FOUR))
    assert len(chunks) == 4

    with pytest.raises(IntegrityError):
        opened(header + b"".join(attack(chunks)))


def test_a_chunk_of_another_file_under_the_same_key_does_not_fit():
    header, mine = chunks_of(sealed(FOUR))
    _, other = chunks_of(sealed(FOUR))

    with pytest.raises(IntegrityError):
        opened(header + b"".join([mine[0], other[1], *mine[2:]]))


def test_an_empty_file_is_one_chunk_and_not_none():
    blob = sealed(b"")

    assert len(blob) == HEADER_BYTES + TAG_BYTES
    assert opened(blob) == b""
    with pytest.raises(IntegrityError):
        opened(blob[:HEADER_BYTES])


def test_the_header_names_a_key_but_another_key_of_that_name_does_not_open_it():
    with pytest.raises(IntegrityError, match="does not fit"):
        opened(sealed(b"content"), DataKey(KEY.id, bytes(32)))
    with pytest.raises(IntegrityError, match="another key"):
        opened(sealed(b"content"), DataKey("00" * 16, KEY.material))


def test_a_file_that_opens_under_two_keys_can_not_be_made():
    """GCM alone lets whoever knows two keys make one ciphertext that both open; the commitment refuses it."""
    other = DataKey(KEY.id, bytes(32))
    header = sealed(b"")[:HEADER_BYTES]
    body = body_for_two_keys(header, KEY, other)
    for key in (KEY, other):  # the attack itself works: without the commitment both would read something
        file_key, nonce = derived(header, key)
        assert len(AESGCM(file_key).decrypt(nonce, body, header)) == 16

    assert len(opened(header + body)) == 16
    with pytest.raises(IntegrityError, match="does not fit"):
        opened(header + body, other)


def derived(header: bytes, key: DataKey) -> tuple[bytes, bytes]:
    info = b"vlm sealed blob v1" + hashlib.sha256(header[:64]).digest()
    bits = HKDF(algorithm=SHA256(), length=96, salt=header[32:64], info=info).derive(key.material)
    return bits[32:64], bits[64:71] + bytes(4) + b"\x01"


def body_for_two_keys(header: bytes, first: DataKey, second: DataKey) -> bytes:
    """Return one block and a tag that are right under both keys (Dodis, Grubbs, Ristenpart, Woodage 2018)."""
    factor = wanted = 0
    masks = []
    for key in (first, second):
        file_key, nonce = derived(header, key)
        block = Cipher(algorithms.AES(file_key), modes.ECB()).encryptor().update
        h = int.from_bytes(block(bytes(16)), "big")
        rest = 0
        for i in range(0, len(header), 16):
            rest = times(rest ^ int.from_bytes(header[i : i + 16], "big"), h)
        rest = times(times(rest, h) ^ (len(header) * 8 << 64 | 128), h)
        mask = rest ^ int.from_bytes(block(nonce + b"\0\0\0\1"), "big")
        masks.append((h, mask))
        factor ^= times(h, h)
        wanted ^= mask
    cipher_block = times(wanted, inverse(factor))
    h, mask = masks[0]
    tag = times(cipher_block, times(h, h)) ^ mask
    return cipher_block.to_bytes(16, "big") + tag.to_bytes(16, "big")


def times(a: int, b: int) -> int:
    """Multiply in the field of GCM, whose bits run from the left (NIST SP 800-38D, section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return product


def inverse(a: int) -> int:
    """Return a to the power 2^128 - 2."""
    product = 1 << 127
    for bit in range(127, -1, -1):
        product = times(product, product)
        product = times(product, a) if bit else product
    return product


def test_the_format_can_be_opened_by_a_reader_written_from_its_description():
    """Independent of the code: HKDF by hmac, chunks by AES-GCM, as the description of the format says."""
    blob = sealed(FOUR)
    fixed, commitment, salt = blob[:64], blob[64:96], blob[32:64]
    extracted = hmac.new(salt, KEY.material, hashlib.sha256).digest()
    info = b"vlm sealed blob v1" + hashlib.sha256(fixed).digest()
    blocks, block = [], b""
    for counter in (1, 2, 3):
        block = hmac.new(extracted, block + info + bytes([counter]), hashlib.sha256).digest()
        blocks.append(block)
    header, chunks = chunks_of(blob)
    plain = [
        AESGCM(blocks[1]).decrypt(
            blocks[2][:7] + index.to_bytes(4, "big") + bytes([index == len(chunks) - 1]), chunk, header
        )
        for index, chunk in enumerate(chunks)
    ]

    assert blocks[0] == commitment
    assert b"".join(plain) == FOUR


@given(st.binary(max_size=200))
def test_what_was_never_sealed_is_refused(content):
    with pytest.raises(IntegrityError):
        opened(content)


def test_a_header_that_asks_for_a_huge_chunk_is_refused_before_anything_is_read():
    blob = bytearray(sealed(b"content"))
    blob[12:16] = (1 << 31).to_bytes(4, "big")

    with pytest.raises(IntegrityError):
        key_id_of(bytes(blob))


def test_a_key_is_not_shown_when_it_is_printed():
    assert KEY.material.hex() not in repr(KEY)
    assert repr(KEY.material) not in repr(KEY)
