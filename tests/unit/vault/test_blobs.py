from __future__ import annotations

import errno
import io
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound, Unavailable, UnreadableFile
from lifecycle.vault.blobs import BlobStore
from lifecycle.vault.seal import DataKey

KEY = DataKey("ab" * 16, bytes(range(32)))
OTHER = DataKey("ab" * 16, bytes(32))


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def path_of(tmp_path: Path, digest: Digest) -> Path:
    return tmp_path / "blobs" / digest.hex[:2] / digest.hex[2:]


def test_a_blob_is_named_by_the_blake3_of_what_lies_on_disk(blobs, tmp_path):
    plain = blobs.put(io.BytesIO(b"weights"))
    sealed = blobs.put(io.BytesIO(b"a recording"), key=KEY)

    assert plain.digest == plain.content_digest == Digest("blake3", blake3(b"weights").hexdigest())
    assert sealed.content_digest == Digest("blake3", blake3(b"a recording").hexdigest())
    for stored in (plain, sealed):
        on_disk = path_of(tmp_path, stored.digest).read_bytes()
        assert blake3(on_disk).hexdigest() == stored.digest.hex
        assert len(on_disk) == stored.size == blobs.size(stored.digest)
    assert b"recording" not in path_of(tmp_path, sealed.digest).read_bytes()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 * (1 << 20)])
def test_what_went_in_comes_out(blobs, tmp_path, size, key):
    content = os.urandom(size)

    stored = blobs.put(io.BytesIO(content), key=key)
    blobs.materialise(stored.digest, tmp_path / "copy", key=key)

    assert blobs.read_bytes(stored.digest, key=key, limit=size) == content
    assert (tmp_path / "copy").read_bytes() == content
    with blobs.reader(stored.digest, key=key) as file:
        file.seek(size // 2)
        assert file.read() == content[size // 2 :]
        file.seek(-min(size, 7), io.SEEK_END)
        assert file.read() == content[size - min(size, 7) :]


def test_identical_plain_content_is_stored_once(blobs, tmp_path):
    first, second = blobs.put(io.BytesIO(b"same")), blobs.put(io.BytesIO(b"same"))

    assert first == second
    assert len(files_under(tmp_path / "blobs")) == 1


def test_sealed_copies_of_one_content_have_nothing_in_common(blobs):
    first, second = blobs.put(io.BytesIO(b"same"), key=KEY), blobs.put(io.BytesIO(b"same"), key=KEY)

    assert first.digest != second.digest
    assert first.content_digest == second.content_digest


def test_storing_again_heals_a_damaged_blob(blobs, tmp_path):
    stored = blobs.put(io.BytesIO(b"weights"))
    path_of(tmp_path, stored.digest).write_bytes(b"damaged")

    blobs.put(io.BytesIO(b"weights"))

    assert blobs.verify(stored.digest)


def test_observers_see_the_whole_content_in_order(blobs):
    content = os.urandom(3_000_000)
    seen = bytearray()

    blobs.put(io.BytesIO(content), key=KEY, observers=[seen.extend])

    assert bytes(seen) == content


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_a_file_is_inspected_before_it_is_stored(blobs, tmp_path, key):
    seen = []

    def refuse(copy, stored):
        copy.seek(2)
        seen.append((copy.read(), stored.content_size))
        raise UnreadableFile("no")

    with pytest.raises(UnreadableFile):
        blobs.put(io.BytesIO(b"0123"), key=key, inspect=refuse)

    assert seen == [(b"23", 4)]
    assert files_under(tmp_path / "blobs") == []


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_any_changed_byte_on_disk_is_found_before_a_byte_leaves(tmp_path, key):
    stored = BlobStore(tmp_path / "blobs").put(io.BytesIO(b"a short content"), key=key)
    path = path_of(tmp_path, stored.digest)
    good = path.read_bytes()
    for index in range(len(good)):
        path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        blobs = BlobStore(tmp_path / "blobs")
        with pytest.raises(IntegrityError, match=stored.digest.hex[:12]):
            blobs.read_bytes(stored.digest, key=key, limit=1000)
        assert not blobs.verify(stored.digest)


def test_a_blob_that_changes_after_it_was_checked_is_checked_again(blobs, tmp_path):
    stored = blobs.put(io.BytesIO(b"weights"))
    blobs.read_bytes(stored.digest, limit=100)

    path_of(tmp_path, stored.digest).write_bytes(b"Weights")

    with pytest.raises(IntegrityError):
        blobs.read_bytes(stored.digest, limit=100)


def test_another_key_with_the_same_id_is_refused(blobs):
    stored = blobs.put(io.BytesIO(b"a recording"), key=KEY)

    with pytest.raises(IntegrityError, match="key"):
        blobs.read_bytes(stored.digest, key=OTHER, limit=100)


def test_reading_is_bounded(blobs):
    stored = blobs.put(io.BytesIO(b"12345"))

    with pytest.raises(UnreadableFile, match="larger than 4"):
        blobs.read_bytes(stored.digest, limit=4)


def test_removing_says_whether_it_was_there(blobs):
    stored = blobs.put(io.BytesIO(b"weights"))

    assert blobs.remove(stored.digest) is True
    assert blobs.remove(stored.digest) is False
    assert not blobs.exists(stored.digest)
    assert not blobs.verify(stored.digest)
    with pytest.raises(NotFound):
        blobs.read_bytes(stored.digest, limit=100)


def test_all_blobs_are_listed_and_nothing_else(blobs, tmp_path):
    stored = {blobs.put(io.BytesIO(bytes([n]))).digest for n in range(5)}
    (tmp_path / "blobs" / "README").write_text("not a blob")
    (tmp_path / "blobs" / "zz").mkdir()

    assert set(blobs) == stored
    assert list(BlobStore(tmp_path / "nowhere")) == []


def test_folders_and_files_are_the_owners_alone(blobs, tmp_path):
    before = os.umask(0)
    try:
        stored = blobs.put(io.BytesIO(b"weights"))
    finally:
        os.umask(before)
    path = path_of(tmp_path, stored.digest)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "blobs" / "tmp").stat().st_mode) == 0o700


def test_a_link_in_the_place_of_a_blob_is_not_followed(blobs, tmp_path):
    stored = blobs.put(io.BytesIO(b"weights"))
    path = path_of(tmp_path, stored.digest)
    (tmp_path / "elsewhere").write_bytes(b"weights")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(IntegrityError):
        blobs.read_bytes(stored.digest, limit=100)


def test_a_source_that_breaks_leaves_nothing(blobs, tmp_path):
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(UnreadableFile, match="to its end"):
        blobs.put(Broken())

    assert files_under(tmp_path / "blobs") == []


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_a_full_disk_leaves_nothing_and_says_so(blobs, tmp_path, key):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(Unavailable, match="no room"):
            blobs.put(io.BytesIO(bytes(3 << 20)), key=key)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    assert files_under(tmp_path / "blobs") == []


KILLED = """
import io, os, sys
from pathlib import Path
from lifecycle.vault.blobs import BlobStore
from lifecycle.vault.failpoints import arm_from
arm_from(os.environ)
BlobStore(Path(sys.argv[1])).put(io.BytesIO(b"weights"))
"""


@pytest.mark.parametrize("point", ["blob.before_write", "blob.before_rename", "blob.after_rename"])
def test_a_killed_writer_leaves_at_most_a_stray_file_that_is_found_and_removed(blobs, tmp_path, point):
    environment = {**os.environ, "VLM_FAILPOINTS_ENABLED": "1", "VLM_FAILPOINT": f"{point}:kill"}
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "blobs"], env=environment, check=False)
    assert run.returncode == -signal.SIGKILL

    stray = blobs.stray()

    assert len(stray) == (0 if point == "blob.after_rename" else 1)
    assert blobs.clean_stray() == stray
    assert blobs.stray() == []
    assert all(blobs.verify(digest) for digest in blobs)


def test_the_temporary_file_of_a_living_writer_is_not_stray(blobs):
    class Asking(io.BytesIO):
        def read(self, size=-1):
            found.append(blobs.clean_stray())
            return super().read(size)

    found = []

    stored = blobs.put(Asking(b"weights"))

    assert found == [[], []]
    assert blobs.verify(stored.digest)
