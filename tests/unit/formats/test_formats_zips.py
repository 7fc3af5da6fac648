"""Containers: every byte is accounted for."""

import io
import zipfile

import pytest

from lifecycle.formats.model import Unread
from lifecycle.formats.source import memory
from lifecycle.formats.zips import Zip, repaired
from tests.formats import build


def test_members_are_read_as_python_reads_them():
    data = build.archive([("a/x", b"1" * 100), ("a/y", b"2" * 1000)], compress=["a/y"])

    container = Zip(memory(data))

    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {name: container.read(name) for name in container.members} == {
            name: other.read(name) for name in other.namelist()
        }


def test_sizes_behind_the_data_are_read():
    out = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return out.write(bytes(data))

    with zipfile.ZipFile(Pipe(), "w") as file:
        file.writestr("a/x", b"streamed")

    assert Zip(memory(out.getvalue())).read("a/x") == b"streamed"


def test_zip64_is_read():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, file.open("a/x", "w", force_zip64=True) as member:
        member.write(b"wide")

    assert Zip(memory(out.getvalue())).read("a/x") == b"wide"


@pytest.mark.parametrize("head", build.HEADS[1:], ids=lambda head: head.decode())
def test_an_altered_head_is_mended_in_memory_only(head):
    data = build.torch_zip({"a": 1}, head=head)
    source = memory(data)

    mended, tag = repaired(source)

    assert tag == head.decode()
    assert mended.at(0, 4) == b"PK\x03\x04"
    assert source.at(0, 2) == head
    assert "archive/data.pkl" in Zip(mended).members


def test_a_member_with_another_checksum_is_damaged():
    data = build.archive([("a/x", b"hello hello")]).replace(b"hello hello", b"hellO hello")

    with pytest.raises(Unread, match="checksum"):
        Zip(memory(data)).read("a/x")
    with pytest.raises(Unread, match="checksum"):
        Zip(memory(data)).check()


def test_a_member_that_unpacks_to_more_than_it_says_is_a_bomb():
    data = build.archive([("a/x", b"\0" * 5_000)], compress=["a/x"])
    size = (5_000).to_bytes(4, "little")

    with pytest.raises(Unread, match="bomb"):
        Zip(memory(data.replace(size, (4_000).to_bytes(4, "little")))).read("a/x")


def test_an_encrypted_member_is_not_read():
    data = build.archive([("a/x", b"1")])
    local = data.index(b"PK\x03\x04") + 6
    central = data.index(b"PK\x01\x02") + 8
    changed = bytearray(data)
    changed[local] |= 1
    changed[central] |= 1

    with pytest.raises(Unread, match="encrypted"):
        Zip(memory(bytes(changed)))


@pytest.mark.parametrize("name", ["../x", "a//x", "/x", "a/./x", "C:/x", "a\\x", "a/\x1bx", ""])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(Unread):
        Zip(memory(build.archive([("a/ok", b""), (name, b"1")])))


def test_every_cut_is_noticed():
    data = build.torch_zip({"a": build.Tensor((2,))})

    for end in range(len(data)):
        with pytest.raises(Unread):
            Zip(memory(data[:end]))


def test_an_archive_in_several_folders_is_not_torch_s():
    with pytest.raises(Unread, match="not one that torch writes"):
        Zip(memory(build.archive([("a/x", b""), ("b/y", b"")]))).folder()
