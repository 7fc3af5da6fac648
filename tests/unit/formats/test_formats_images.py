"""An image says what is installed in it, layer over layer; one that lies or leads out of itself is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from lifecycle.formats.images import Image, read_image
from lifecycle.formats.model import Unread
from lifecycle.formats.sites import sites_of
from tests.docker import archive_of, layer
from tests.packages import metadata

SITE = "usr/local/lib/python3.11/site-packages"


def package(name: str, version: str, *, site: str = SITE, **files: bytes) -> dict[str, bytes]:
    told = {"METADATA": metadata(name, version), "INSTALLER": b"pip\n", **files}
    return {f"{site}/{name}-{version}.dist-info/{file}": content for file, content in told.items()}


def image(path: Path, *layers: bytes, **told: object) -> Image:
    with archive_of(path / "image.tar", layers, **told).open("rb") as file:  # type: ignore[arg-type]
        return read_image(file.read)


def link(target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def names(found: Image, site: str = f"/{SITE}") -> dict[str, str]:
    return {package.name: package.version for package in sites_of(found)[site].packages}


def test_the_packages_of_every_layer_are_found(tmp_path):
    found = image(
        tmp_path,
        layer({**package("numpy", "2.1.0"), "etc/passwd": b"root"}),
        layer(package("torch", "2.6.0+cu124")),
        variables=["PYTHON_VERSION=3.11.9"],
    )

    (environment,) = sites_of(found).values()
    assert names(found) == {"numpy": "2.1.0", "torch": "2.6.0+cu124"}
    assert (environment.python, environment.system, environment.machine) == ("3.11.9", "linux", "x86_64")
    assert environment.libc == "glibc"
    assert len(found.diff_ids) == 2
    assert found.config.startswith("sha256:")


def test_what_a_later_layer_removes_or_replaces_is_gone(tmp_path):
    first = {**package("numpy", "1.26.4"), **package("old", "1.0"), **package("kept", "1.0")}
    second = {
        f"{SITE}/.wh.numpy-1.26.4.dist-info": b"",
        f"{SITE}/old-1.0.dist-info/.wh..wh..opq": b"",
        **package("numpy", "2.1.0"),
    }

    assert names(image(tmp_path, layer(first), layer(second))) == {"kept": "1.0", "numpy": "2.1.0"}


def test_a_folder_that_became_a_link_is_not_followed(tmp_path):
    first = package("numpy", "1.0")
    second: dict[str, bytes | tarfile.TarInfo] = {SITE: link("/opt/other", tarfile.SYMTYPE)}

    assert sites_of(image(tmp_path, layer(first), layer(second))) == {}


def test_hard_links_within_a_layer_are_followed_and_other_things_say_nothing(tmp_path):
    cached = "root/.cache/uv/archive-v0/x/alpha-1.0.dist-info/METADATA"
    files: dict[str, bytes | tarfile.TarInfo] = {
        cached: metadata("alpha", "1.0"),
        f"{SITE}/alpha-1.0.dist-info/METADATA": link(cached, tarfile.LNKTYPE),
        f"{SITE}/beta-1.0.dist-info/METADATA": link("/etc/shadow", tarfile.SYMTYPE),
        f"{SITE}/gamma-1.0.dist-info/METADATA": link("", tarfile.FIFOTYPE),
    }

    (environment,) = sites_of(image(tmp_path, layer(files))).values()
    assert [package.name for package in environment.packages] == ["alpha"]
    assert environment.unreadable == ("beta-1.0.dist-info", "gamma-1.0.dist-info")


def test_several_environments_are_told_apart_and_an_empty_one_is_none(tmp_path):
    venv, conda = "opt/tts/.venv/lib/python3.12/site-packages", "opt/conda/lib/python3.10/site-packages"
    files = {
        **package("pip", "24.0"),
        **package("alpha", "1.0", site=venv),
        **package("beta", "1.0", site=conda),
        "opt/conda/conda-meta/ffmpeg-6.json": b"{}",
        "usr/lib/python3/dist-packages/six-1.16.0.egg-info": metadata("six", "1.16.0"),
        "usr/lib/python3.11/os.py": b"",
        "lib/ld-musl-x86_64.so.1": b"",
    }

    found = sites_of(image(tmp_path, layer(files)))

    assert {site: env.python for site, env in found.items()} == {
        f"/{conda}": "3.10",
        f"/{venv}": "3.12",
        "/usr/lib/python3/dist-packages": "3.11",
    }
    assert found[f"/{conda}"].others == 1
    assert {env.libc for env in found.values()} == {"musl"}


def test_layers_may_be_compressed(tmp_path):
    plain = layer(package("alpha", "1.0"))

    assert names(image(tmp_path, plain, stored=[gzip.compress(plain)])) == {"alpha": "1.0"}


def test_a_layer_that_is_not_the_one_that_was_named_is_refused(tmp_path):
    with pytest.raises(Unread, match="not the one that its configuration names"):
        image(tmp_path, layer(package("alpha", "1.0")), diff_ids=["sha256:" + "0" * 64])


def test_a_gigantic_metadata_file_is_read_to_its_bound_and_no_further(tmp_path):
    huge = metadata("alpha", "1.0") + b"x" * (40 << 20)

    found = image(tmp_path, layer({f"{SITE}/alpha-1.0.dist-info/METADATA": huge}))

    assert names(found) == {"alpha": "1.0"}
    assert max(map(len, found.files.values())) == 256 << 10


def test_a_compressed_layer_that_is_cut_off_is_refused(tmp_path):
    plain = layer(package("alpha", "1.0"))

    with pytest.raises(Unread, match="ends in the middle"):
        image(tmp_path, plain, stored=[gzip.compress(plain)[:-20]])


@pytest.mark.parametrize("path", [f"../{SITE}/x-1.dist-info/METADATA", "a/../../../etc/x"])
def test_a_layer_that_leads_out_of_itself_is_refused(tmp_path, path):
    with pytest.raises(Unread, match="leads out"):
        image(tmp_path, layer({path: b"x"}))


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"manifest.json": b"[]"},
        {"manifest.json": b"[" * 4000},
        {"manifest.json": b"[1, 2]"},
        {"manifest.json": b'[{"Config": "c.json", "Layers": []}]', "c.json": b"[1]"},
        {"manifest.json": b'[{"Config": "c.json", "Layers": ["x"]}]', "c.json": b"{}"},
        {"manifest.json": b"{" + b" " * (5 << 20)},
    ],
    ids=["nothing", "no image", "too deep", "two images", "no configuration", "no layer", "a huge manifest"],
)
def test_what_is_no_archive_of_one_image_is_refused(parts):
    with pytest.raises(Unread):
        read_image(io.BytesIO(layer(parts)).read)


def test_an_identical_layer_may_be_named_by_a_link(tmp_path):
    plain = layer(package("alpha", "1.0"))
    path = archive_of(tmp_path / "image.tar", [plain])
    with tarfile.open(path) as archive:
        parts = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    (manifest,) = json.loads(parts["manifest.json"])
    config = json.loads(parts[manifest["Config"]])
    config["rootfs"]["diff_ids"] *= 2
    manifest["Layers"].append("twin/layer.tar")
    parts |= {
        "manifest.json": json.dumps([manifest]).encode(),
        manifest["Config"]: json.dumps(config).encode(),
    }
    twin = link(f"../{manifest['Layers'][0]}", tarfile.SYMTYPE)

    found = read_image(io.BytesIO(layer({**parts, "twin/layer.tar": twin})).read)

    assert len(found.diff_ids) == 2
    assert names(found) == {"alpha": "1.0"}
