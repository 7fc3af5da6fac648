"""An image is read and never run: from a saved archive, and from a real Docker daemon."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import NotFound, Unavailable, UnreadableFile, UsageError
from lifecycle.domain.packages import Trouble
from lifecycle.domain.verdicts import Verdict
from lifecycle.services.locks.image import lock_image
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from tests.docker import archive_of, daemon, layer
from tests.files import weights
from tests.packages import metadata, only_these_wheels, wheel
from tests.rooms import session

SITE = "/usr/local/lib/python3.11/site-packages"


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rooms]:
    wheel(tmp_path / "wheels", "alpha", "1.0")
    only_these_wheels(monkeypatch, tmp_path / "wheels")
    with session(tmp_path / "registry") as opened:
        register(RegisterRequest(name="kol", weights=(weights(tmp_path / "kol.safetensors"),)), rooms=opened)
        yield opened


def installed(name: str, version: str, *, site: str = SITE) -> dict[str, bytes]:
    return {f"{site[1:]}/{name}-{version}.dist-info/METADATA": metadata(name, version)}


def saved(folder: Path, *layers: bytes) -> Path:
    return archive_of(folder / "image.tar", layers, variables=["PYTHON_VERSION=3.11.9"])


def test_the_lock_of_an_image_says_which_image_it_was(rooms, tmp_path):
    path = saved(tmp_path, layer(installed("alpha", "1.0")))

    result = lock_image("kol", f"docker-archive:{path}", rooms=rooms)

    assert (result.verdict, result.code, result.site, result.created) == (Verdict.WORKS, 0, SITE, True)
    lock = tomllib.loads(result.content.decode())
    assert lock["requires-python"] == "==3.11.*"
    assert lock["tool"]["vlm"]["image"] == result.image
    assert lock["packages"][0]["wheels"][0]["path"] == "alpha-1.0-py3-none-any.whl"
    assert str(tmp_path) not in result.content.decode()


def test_of_several_environments_one_must_be_chosen(rooms, tmp_path):
    other = "/opt/venv/lib/python3.10/site-packages"
    files = {**installed("alpha", "1.0"), **installed("beta", "1.0", site=other)}
    reference = f"docker-archive:{saved(tmp_path, layer(files))}"

    with pytest.raises(UsageError, match="several environments") as several:
        lock_image("kol", reference, rooms=rooms)
    with pytest.raises(NotFound, match="has no packages in"):
        lock_image("kol", reference, site="/etc", rooms=rooms)
    chosen = lock_image("kol", reference, site=f"{other}/", rooms=rooms)

    assert other in several.value.message
    assert [(note.package, note.trouble) for note in chosen.notes] == [("beta", Trouble.VANISHED)]
    assert chosen.python == "3.10"


def test_a_hostile_or_damaged_archive_stores_nothing(rooms, tmp_path):
    hostile = saved(tmp_path, layer({"a/../../../x": b"x"}))
    with pytest.raises(UnreadableFile, match="nothing was stored"):
        lock_image("kol", f"docker-archive:{hostile}", rooms=rooms)
    fifo = tmp_path / "fifo"
    fifo.touch()
    with pytest.raises(UnreadableFile):
        lock_image("kol", f"docker-archive:{fifo}", rooms=rooms)
    with pytest.raises(NotFound):
        lock_image("kol", f"docker-archive:{tmp_path / 'nothing.tar'}", rooms=rooms)
    with pytest.raises(UnreadableFile, match="no installed Python packages"):
        lock_image("kol", f"docker-archive:{saved(tmp_path, layer({'etc/x': b'x'}))}", rooms=rooms)


def test_without_a_daemon_nothing_is_read(rooms, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(Unavailable, match="no Docker daemon answers"):
        lock_image("kol", "tts:1", rooms=rooms)


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    with daemon() as address:
        yield address


@pytest.mark.server
def test_an_image_of_a_real_daemon_is_read_without_a_container(docker_host, rooms, tmp_path, monkeypatch):
    import docker

    monkeypatch.setenv("DOCKER_HOST", docker_host)
    loud = {"bin/python3": b"#!/bin/sh\ntouch /ran\n"}
    path = saved(tmp_path, layer({**loud, **installed("alpha", "1.0")}), layer(installed("beta", "2.0")))
    client = docker.DockerClient(base_url=docker_host, version="auto")
    (image,) = client.images.load(path.read_bytes())
    image.tag("tts", "1")
    events = client.events(decode=True, since=0, until=0)

    result = lock_image("kol", "tts:1", rooms=rooms)

    assert result.image is not None
    assert result.image["config"] == image.id
    assert result.image["diff_ids"] == image.attrs["RootFS"]["Layers"]
    assert [(note.package, note.trouble) for note in result.notes] == [("beta", Trouble.VANISHED)]
    assert client.containers.list(all=True) == []
    assert [event for event in events if event.get("Type") == "container"] == []
    again = lock_image("kol", f"docker-archive:{path}", rooms=rooms)
    assert (again.created, again.digest) == (False, result.digest)
    client.close()


@pytest.mark.server
def test_an_image_that_the_daemon_lacks_is_never_pulled(docker_host, rooms, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", docker_host)

    with pytest.raises(NotFound, match="none was pulled") as missing:
        lock_image("kol", "nobody/has-this:1", rooms=rooms)
    assert missing.value.hint == "docker pull nobody/has-this:1"


def test_a_fifo_in_place_of_an_archive_is_refused(rooms, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableFile):
        lock_image("kol", f"docker-archive:{tmp_path / 'pipe'}", rooms=rooms)


def test_links_and_devices_in_the_place_of_metadata_are_not_followed(rooms, tmp_path):
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    files = {**installed("alpha", "1.0"), f"{SITE[1:]}/evil-1.0.dist-info/METADATA": link}

    result = lock_image("kol", f"docker-archive:{saved(tmp_path, layer(files))}", rooms=rooms)

    assert [(note.package, note.trouble) for note in result.notes] == [
        ("evil-1.0.dist-info", Trouble.UNREADABLE)
    ]
