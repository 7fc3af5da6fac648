"""Manifests and lists of backups: what is written is read back, and nonsense is an error of ours and nothing else."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError
from lifecycle.services.backups import manifest as m
from lifecycle.vault.signing import Signing

digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest("blake3", raw.hex()))
sizes = st.integers(0, 2**50)
ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
names = st.from_regex(r"certificates/[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
times = st.datetimes(datetime(2026, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
entries = st.lists(
    st.builds(m.Entry, digests, st.integers(0, 10**15 - 1), st.sampled_from([m.HELD, m.GONE, m.MISSING])),
    unique_by=lambda entry: entry.digest,
    max_size=20,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def manifests(draw: st.DrawFn) -> m.Manifest:
    extras = draw(st.lists(names, unique=True, max_size=4))
    return m.Manifest(
        uid=draw(ids),
        installation=draw(ids),
        made_at=draw(times),
        version="0.1.0",
        schema="0002",
        database=draw(st.sampled_from(["sqlite", "postgresql"])),
        trail_size=draw(sizes),
        trail_head=draw(digests).hex,
        ledger_size=draw(sizes),
        epoch=draw(sizes),
        parts=tuple(m.Part(name, draw(sizes), draw(digests)) for name in (*m.DATABASES, m.LIST)),
        extras=tuple(m.Part(name, draw(sizes), draw(digests)) for name in extras),
        blobs=draw(sizes),
        blob_bytes=draw(sizes),
        gone=draw(sizes),
        missing=draw(sizes),
    )


_FOLDER = Path(tempfile.mkdtemp(prefix="vlm-manifest-"))
_SIGNING = Signing(_FOLDER / "signing")
_SIGNING.create()


def kept(record: bytes, name: str) -> Path:
    folder = _FOLDER / name
    folder.mkdir(exist_ok=True)
    (folder / m.NAME).write_bytes(record)
    return folder


@given(manifests())
def test_what_is_written_is_read_back(manifest: m.Manifest) -> None:
    folder = _FOLDER / manifest.name
    folder.mkdir(exist_ok=True)
    m.write_manifest(folder / m.NAME, manifest, _SIGNING)

    for trusted in (None, _SIGNING.trusted(m.PURPOSE)):
        assert m.read_manifest(folder, trusted) == manifest


@given(manifests(), st.data())
def test_a_signed_manifest_with_any_other_value_is_read_or_refused_and_never_crashes(
    manifest: m.Manifest, data: st.DataObject
) -> None:
    body = manifest.to_json()
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(anything)
    try:
        record = {**_SIGNING.sign_record(m.PURPOSE, body), "public": _SIGNING.public(m.PURPOSE).hex()}
        folder = kept(canonical_json(record), manifest.name)
    except ValueError:
        return  # no such number or text can be signed
    try:
        found = m.read_manifest(folder, None)
    except IntegrityError:
        return
    assert found.name == folder.name
    assert all(m.is_extra(part.name) for part in found.extras)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_no_file_is_a_manifest_by_accident(content: bytes) -> None:
    try:
        m.read_manifest(kept(content, "20260101T000000000Z-00000000"), None)
    except IntegrityError:
        return
    raise AssertionError("it was believed")


@given(entries)
def test_a_list_is_read_back_in_order(listed: list[m.Entry]) -> None:
    path = _FOLDER / "list"
    m.write_list(path, listed)

    assert list(m.read_list(path)) == sorted(listed, key=lambda entry: entry.digest.hex)


@given(entries, st.integers(0, 2000), st.integers(0, 255))
def test_a_changed_list_is_read_or_refused_and_never_crashes(
    listed: list[m.Entry], at: int, byte: int
) -> None:
    path = _FOLDER / "changed"
    m.write_list(path, listed)
    content = bytearray(path.read_bytes() or b"x")
    content[at % len(content)] = byte
    path.write_bytes(content)
    try:
        found = list(m.read_list(path))
    except IntegrityError:
        return
    assert [entry.digest.hex for entry in found] == sorted({entry.digest.hex for entry in found})
