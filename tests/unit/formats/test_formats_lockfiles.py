"""Lockfiles are read as data: what they pin is counted, and what else they ask for is said."""

import io

import pytest

from lifecycle.formats import inspect


def look(text: str | bytes, name: str = "requirements.txt"):
    data = text.encode() if isinstance(text, str) else text
    return inspect(io.BytesIO(data), name=name, size=len(data))


def codes(found) -> list[str]:
    return [finding.code for finding in found.findings]


FREEZE = "numpy==2.1.0\ntorch==2.6.0+cpu\nsoundfile==0.13.1\n"


def test_a_freeze_is_a_lock():
    found = look(FREEZE)

    assert (found.kind, found.safe, found.findings) == ("lockfile", True, ())
    assert found.facts["pins"] == {"numpy": "2.1.0", "soundfile": "0.13.1", "torch": "2.6.0+cpu"}
    assert found.facts["torch"] == "2.6.0+cpu"
    assert found.summary == "requirements.txt, pins 3 of 3 packages     a lock"


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
def test_what_windows_shells_write_is_read(coding):
    assert look(FREEZE.replace("\n", "\r\n").encode(coding)).facts["pinned"] == 3


def test_ranges_are_not_pins():
    found = look("numpy\ntorch>=2.0\nlibrosa==0.9.*\nscipy~=1.11\ngradio<4,>3\nffmpeg-python===0.2.0\n")

    assert (found.facts["packages"], found.facts["pinned"]) == (6, 1)
    assert found.findings[0].message == "pins 1 of 6 packages: not a lock"


def test_extras_markers_comments_hashes_and_continued_lines_are_read():
    text = (
        "# made by hand\n"
        "torch[opt]==2.6.0 ; python_version < '3.13'  # the last\n"
        "numpy==2.1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "Foo_Bar (==1.0)\n"
    )
    found = look(text)

    assert found.facts["pins"] == {"foo-bar": "1.0", "numpy": "2.1.0", "torch": "2.6.0"}
    assert found.facts["hashed"] == 1


def test_options_addresses_repositories_and_paths_are_said():
    text = (
        "--extra-index-url https://example.com/simple\n"
        "a @ git+https://example.com/a.git@v1\n"
        "b @ https://example.com/b-1.0.whl\n"
        "git+https://example.com/c.git#egg=c\n"
        "./local\n"
        "-e ../voice\n"
        "d==1\n"
    )
    found = look(text)

    assert set(codes(found)) == {"not_a_lock", "option", "vcs", "url", "local"}
    assert (found.facts["packages"], found.facts["pinned"]) == (6, 1)


def test_a_pylock_is_read():
    text = (
        'lock-version = "1.0"\n[[packages]]\nname = "torch"\nversion = "2.6.0"\n'
        '[[packages.wheels]]\nurl = "https://example.com/x.whl"\n[[packages]]\nname = "mine"\n'
        '[packages.directory]\npath = "."\n'
    )
    found = look(text, "pylock.toml")

    assert (found.facts["format"], found.facts["packages"], found.facts["pinned"]) == ("pylock.toml", 2, 1)
    assert "local" in codes(found)


def test_a_uv_lock_is_read_without_the_project_itself():
    text = (
        'version = 1\n[[package]]\nname = "numpy"\nversion = "2.1.0"\n'
        'source = { registry = "https://example.com/simple" }\n'
        '[[package]]\nname = "voice"\nversion = "0.1"\nsource = { editable = "." }\n'
    )
    found = look(text, "uv.lock")

    assert (found.facts["format"], found.facts["pins"]) == ("uv.lock", {"numpy": "2.1.0"})


def test_a_conda_export_is_read_with_its_pip_part():
    text = (
        "name: voice\nchannels:\n  - defaults\ndependencies:\n  - python=3.10.4=h12debd9_0\n"
        "  - conda-forge::ffmpeg=6.1\n  - numpy>=1.2\n  - pip:\n      - torch==2.6.0\nprefix: /x\n"
    )
    found = look(text, "environment.yml")

    assert found.facts["format"] == "conda export"
    assert found.facts["pins"] == {"ffmpeg": "6.1", "python": "3.10.4", "torch": "2.6.0"}
    assert found.facts["packages"] == 4


def test_an_explicit_conda_list_is_read():
    text = (
        "# platform: linux-64\n@EXPLICIT\n"
        "https://example.com/pkgs/main/linux-64/python-3.10.4-h12debd9_0.conda#0123456789abcdef0123456789abcdef\n"
    )
    found = look(text, "list.txt")

    assert (found.facts["pins"], found.facts["hashed"]) == ({"python": "3.10.4"}, 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hello world, this is a transcript\n", "transcript.txt"),
        ("word\n", "x.txt"),
        ("", "requirements.txt"),
        ("torch==2.6.0\nthis is no requirement at all\n", "requirements.txt"),
        ("lock-version = \n", "pylock.toml"),
        ("lock-version = '1.0'\n", "pylock.toml"),
        ("[[package]]\nversion = 'x'\n", "uv.lock"),
        ("dependencies:\n  - ???\n", "environment.yml"),
        ("@EXPLICIT\nnonsense\n", "list.txt"),
    ],
)
def test_what_is_no_lockfile_is_not_read(text, name):
    assert look(text, name).safe is None
