"""Versions as users write them, and the wheel that is taken of several."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import UsageError
from lifecycle.runtimes import pythons
from lifecycle.runtimes.model import Interpreter
from lifecycle.runtimes.wheels import TorchSpec, best_wheel, folder_wheels

TAGS = ["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_17_x86_64", "py3-none-any"]


def wheel_file(folder: Path, version: str, tag: str = TAGS[0], build: str = "") -> Path:
    file = folder / f"torch-{version}{build}-{tag}.whl"
    file.write_bytes(b"wheel")
    return file


@pytest.mark.parametrize(
    ("text", "accepted", "refused"),
    [
        ("2.13.0", ["2.13.0", "2.13.0+cpu"], ["2.13.1", "2.1.3"]),
        ("2.13", ["2.13.0", "2.13.7+cu130"], ["2.14.0", "2.1.0"]),
        ("2.x", ["2.0.0", "2.15.0"], ["3.0.0", "1.13.1"]),
        ("newest", ["2.15.0"], ["2.16.0rc1", "nonsense"]),
    ],
)
def test_a_version_says_which_releases_it_means(text, accepted, refused):
    spec = TorchSpec.parse(text)

    assert [version for version in accepted + refused if spec.accepts(version)] == accepted


@pytest.mark.parametrize(
    "text", ["", "1.13.1", "3", "2.13.0.1", "2.13.0+cpu", "2.*", "torch", "2.13; rm -rf"]
)
def test_another_way_of_writing_a_version_is_a_usage_error(text):
    with pytest.raises(UsageError):
        TorchSpec.parse(text)


@given(st.integers(0, 99), st.integers(0, 99))
def test_an_exact_version_accepts_itself_with_every_local_part(minor, patch):
    spec = TorchSpec.parse(f"2.{minor}.{patch}")

    assert spec.exact
    assert spec.accepts(f"2.{minor}.{patch}")
    assert spec.accepts(f"2.{minor}.{patch}+cu121")
    assert not spec.accepts(f"2.{minor}.{patch + 1}")


def test_a_folder_wheel_is_taken_only_where_tag_and_python_match(tmp_path):
    wheel_file(tmp_path, "2.13.0+cpu", tag="cp312-cp312-manylinux_2_28_x86_64")
    wheel_file(tmp_path, "2.13.0", tag="cp311-cp311-win_amd64")
    (tmp_path / "torch-broken.whl").write_bytes(b"")

    assert folder_wheels([tmp_path], TorchSpec.parse("2.13.0"), TAGS) == []


def test_the_newest_folder_wheel_wins_and_a_build_tag_does_not_confuse(tmp_path):
    wheel_file(tmp_path, "2.12.1+cpu")
    wheel_file(tmp_path, "2.13.0", build="-3")
    wheel_file(tmp_path, "2.13.0+cpu")

    found = folder_wheels([tmp_path], TorchSpec.parse("2.x"), TAGS)

    assert [wheel.version for wheel in found] == ["2.13.0+cpu", "2.13.0", "2.12.1+cpu"]
    assert found[0].public == "2.13.0"
    assert found[0].local


def test_of_a_locked_packages_wheels_the_best_tag_is_taken():
    package = {
        "wheels": [
            {"url": "https://i.example/numpy-2.0.0-py3-none-any.whl"},
            {
                "url": "https://i.example/numpy-2.0.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
            },
            {"url": "https://i.example/numpy-2.0.0-cp312-cp312-manylinux_2_28_x86_64.whl"},
        ]
    }

    assert best_wheel(package, TAGS) == package["wheels"][1]
    assert best_wheel({"wheels": package["wheels"][2:]}, TAGS) is None


def python(minor: int) -> Interpreter:
    return Interpreter(Path(f"/usr/bin/python3.{minor}"), (3, minor, 0), Path("/usr"))


@pytest.mark.parametrize(
    ("torch", "minors"),
    [
        ("2.0.1", [10, 11]),
        ("2.2.2", [10, 11, 12]),
        ("2.9.1", [10, 11, 12, 13, 14]),
        ("2.15.0", [11, 12, 13, 14, 15]),
    ],
)
def test_the_pythons_of_a_torch_are_those_with_a_wheel(torch, minors):
    assert [minor for minor in range(9, 17) if pythons.fits(torch, python(minor))] == minors


def test_a_torch_that_nobody_knows_yet_is_tried_on_any_python_of_the_engine():
    assert pythons.fits("2.99.0", python(16))
    assert not pythons.fits("2.99.0", python(9))


def test_this_python_is_found_as_a_real_executable():
    found = next(pythons.installed())

    assert found.path == found.path.resolve()
    assert found.prefix.is_dir()


def test_a_program_that_is_no_python_is_not_taken_for_one():
    assert pythons.inspect(Path("/bin/true")) is None
    with pytest.raises(UsageError):
        pythons.chosen("/bin/true")
