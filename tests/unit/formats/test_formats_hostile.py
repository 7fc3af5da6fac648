"""Nothing hostile is ever called clean: it is unsafe, or it was not read."""

import io

import pytest

from lifecycle.formats import Inspection, inspect
from tests.formats import build


def look(data: bytes, name: str = "x.pth") -> Inspection:
    return inspect(io.BytesIO(data), name=name, size=len(data))


@pytest.mark.parametrize(("name", "data"), build.unsafe_files().items(), ids=build.unsafe_files())
def test_a_file_that_would_run_something_is_unsafe(name, data):
    found = look(data, name)

    assert found.safe is False
    assert found.error is None
    assert found.danger is not None
    assert found.danger.message in found.summary


@pytest.mark.parametrize(("name", "data"), build.unread_files().items(), ids=build.unread_files())
def test_a_file_that_cannot_be_read_without_doubt_is_not_clean(name, data):
    found = look(data, name)

    assert found.safe is None
    assert found.error is not None
    assert found.error.startswith(f'"{name}" ')
    assert "\n" not in found.error
    assert not found.error.endswith(".")


@pytest.mark.parametrize("head", build.HEADS, ids=lambda head: head.decode())
def test_a_payload_is_found_behind_every_head(head):
    found = look(build.evil_checkpoint(head))

    assert [finding.message for finding in found.findings] == ["calls posix.system when loaded"]
    assert found.facts["globals"] == [
        "collections.OrderedDict",
        "posix.system",
        "torch.HalfStorage",
        "torch._utils._rebuild_tensor_v2",
    ]


def test_the_call_is_named_and_not_made(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr("os.system", called.append)

    look(build.evil_pickle())

    assert called == []


def test_a_file_name_cannot_steer_a_terminal():
    found = look(b"", "a\x1b[2J\udcff.pth")

    assert found.error == '"a\\x1b[2J\\udcff.pth" is empty'


def test_a_file_that_shrinks_while_it_is_read_is_not_read():
    data = build.torch_zip({"a": 1})

    found = inspect(io.BytesIO(data[:-40]), name="x", size=len(data))

    assert found.safe is None


def test_a_pickle_that_gives_one_list_to_many_calls_ends_soon():
    many = b"](" + b"N" * 50_000 + b"eq\x00"
    data = b"\x80\x02(" + many + b"ccollections\nCounter\nq\x01" + b"h\x01h\x00\x85R" * 20_000 + b"t."

    found = look(data)

    assert found.safe is not True


def test_the_longest_danger_list_is_bounded():
    names = b"".join(b"cmod%d\nf\n" % n for n in range(5_000))

    found = look(b"\x80\x02(" + names + b"t.")

    assert found.safe is False
    assert len(found.findings) <= 1_000
