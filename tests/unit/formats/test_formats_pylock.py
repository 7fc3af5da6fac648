"""A written lock is TOML that says what was meant, whatever packages are called; the same twice is the same bytes."""

from __future__ import annotations

import io

import tomllib
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.packages import Environment, Locked, Note, Trouble, Wheel, normal
from lifecycle.formats import inspect
from lifecycle.formats.lockfiles import pins_of
from lifecycle.formats.pylock import write_pylock

HERE = Environment("3.11.7", "linux", "x86_64", "glibc", ())
WORDS = st.text(st.characters(codec="utf-8"), max_size=30)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True)


def written(packages: list[Locked], notes: list[Note] | None = None, **source: object) -> bytes:
    return write_pylock(HERE, packages, notes or [], source=source)


@given(
    st.dictionaries(NAMES.map(normal), st.lists(DIGESTS, max_size=3, unique=True), max_size=6), WORDS, WORDS
)
def test_what_is_written_is_read_back(packages, said, origin):
    locked = [
        Locked(name, "1.0", tuple(Wheel(f"{name}-{i}.whl", digest) for i, digest in enumerate(digests)))
        for name, digests in packages.items()
    ]

    content = written(locked, [Note("a", "1", Trouble.VANISHED, said)], origin=origin)

    told = tomllib.loads(content.decode())
    assert told["tool"]["vlm"]["origin"] == origin
    assert told["tool"]["vlm"]["findings"][0]["said"] == said
    assert [package["name"] for package in told["packages"]] == sorted(packages) if packages else True
    if packages:
        pins = pins_of(content, "pylock.toml")
        assert {name: set(pins.hashes.get(name, ())) for name in packages} == {
            name: set(digests) for name, digests in packages.items()
        }


@given(st.permutations(["alpha", "beta", "gamma"]))
def test_the_order_of_an_environment_does_not_matter(names):
    assert written([Locked(name, "1") for name in names]) == written(
        [Locked(name, "1") for name in sorted(names)]
    )


def test_a_lock_with_a_package_without_files_counts_it_as_one_without_hashes():
    content = written([Locked("alpha", "1.0", (Wheel("alpha-1.0.whl", "a" * 64),)), Locked("gone", "2.0")])

    found = inspect(io.BytesIO(content), name="pylock.toml", size=len(content))

    assert (found.facts["packages"], found.facts["pinned"], found.facts["hashed"]) == (2, 2, 1)
