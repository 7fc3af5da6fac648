"""Tar archives as streams: what Python writes is read the same, and what is hostile is refused within bounds."""

from __future__ import annotations

import io
import tarfile
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.formats.model import Unread
from lifecycle.formats.tars import entries, safe_path

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=130).filter(
    lambda name: name not in {".", ".."}
)
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def packed(files: list[tuple[str, bytes]], form: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def read(data: bytes) -> list[tuple[str, bytes]]:
    return [(entry.path, entry.read(entry.size)) for entry in entries(io.BytesIO(data).read)]


@given(
    st.lists(
        st.tuples(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.binary(max_size=1500)), max_size=5
    ),
    FORMATS,
)
def test_what_python_packs_is_read_the_same(files, form):
    assert read(packed(files, form)) == files


@given(st.lists(st.tuples(NAMES, st.binary(max_size=700)), max_size=4), FORMATS, st.integers(1, 7))
def test_a_stream_that_comes_in_drops_is_read_the_same(files, form, drop):
    stream = io.BytesIO(packed(files, form))

    found = [
        (entry.path, b"".join(iter(partial(entry.read, 100), b"")))
        for entry in entries(lambda count: stream.read(min(count, drop)))
    ]

    assert found == files


def stays_inside(data: bytes) -> bool:
    """Whether an archive is refused, or all its paths lead to places below its root."""
    try:
        paths = [path for path, _ in read(data)]
    except Unread:
        return True
    return all(path == safe_path(path) and ".." not in path.split("/") for path in paths)


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data):
    assert stays_inside(data)


@given(st.integers(0, 1535), st.integers(0, 255))
def test_a_damaged_archive_is_read_or_refused(at, value):
    data = bytearray(packed([("a/b", b"x" * 100)], tarfile.GNU_FORMAT)[:1536])
    data[at] = value

    assert stays_inside(bytes(data))


@pytest.mark.parametrize("name", ["../up", "a/../../b", "/../etc/passwd", "a/.."])
def test_a_path_that_leads_out_is_refused(name):
    with pytest.raises(Unread, match="leads out"):
        read(packed([(name, b"")], tarfile.PAX_FORMAT))


@pytest.mark.parametrize(("told", "plain"), [("/etc//x", "etc/x"), ("./a/./b", "a/b"), ("a/", "a")])
def test_other_ways_of_writing_a_path_are_made_plain(told, plain):
    assert safe_path(told) == plain


def header(**fields: object) -> bytes:
    info = tarfile.TarInfo(str(fields.get("name", "x")))
    info.type = fields.get("type", tarfile.REGTYPE)  # type: ignore[assignment]
    info.size = int(fields.get("size", 0))  # type: ignore[call-overload]
    info.linkname = str(fields.get("link", ""))
    return info.tobuf(tarfile.GNU_FORMAT)


def test_a_header_that_claims_gigabytes_is_not_read_into_memory():
    asked = []

    def endless(count: int) -> bytes:
        asked.append(count)
        return header(type=tarfile.XHDTYPE, size=8 << 30) if len(asked) == 1 else b"\0" * count

    with pytest.raises(Unread, match="larger than a header may be"):
        list(entries(endless))
    assert len(asked) == 1


def test_a_hard_link_that_leads_out_is_refused_and_a_symbolic_one_is_only_told():
    with pytest.raises(Unread, match="leads out"):
        list(entries(io.BytesIO(header(type=tarfile.LNKTYPE, link="../../etc/shadow")).read))
    (link,) = list(
        entries(io.BytesIO(header(type=tarfile.SYMTYPE, link="../../etc/shadow") + bytes(1024)).read)
    )
    assert (link.kind, link.size, link.link) == ("symlink", 0, "../../etc/shadow")


def test_a_fifo_and_a_device_hold_nothing():
    data = header(type=tarfile.FIFOTYPE, size=0) + header(type=tarfile.CHRTYPE) + bytes(1024)

    assert [(entry.kind, entry.size) for entry in entries(io.BytesIO(data).read)] == [("other", 0)] * 2


def test_an_archive_that_ends_inside_a_file_is_refused():
    with pytest.raises(Unread, match="ends"):
        list(entries(io.BytesIO(header(size=5000) + b"x" * 512).read))
