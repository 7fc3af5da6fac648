"""Where a package came from decides what stands in the lock; no path, name or password of the machine does."""

from __future__ import annotations

import pytest

from lifecycle.domain.packages import Environment, Installed, Locked, Note, Trouble, Wheel, judged
from lifecycle.domain.verdicts import Verdict
from lifecycle.runtimes.installed import environment_of
from lifecycle.runtimes.resolve import Offer, public_url
from lifecycle.services.locks.make import askable, compose

DIGEST = "ab" * 32
WHEEL = Wheel("alpha-1.0-py3-none-any.whl", DIGEST)


def composed(direct: dict[str, object], offer: Offer | None = None) -> tuple[Locked, dict[Trouble, str]]:
    package = Installed("alpha", "1.0", "pip", direct)
    (locked,), notes = compose(Environment("3.11", "linux", "x86_64", "glibc", (package,)), offer or Offer())
    return locked, {note.trouble: note.said for note in notes}


def test_a_repository_is_kept_with_its_commit_and_without_its_password():
    direct = {
        "url": "https://li:secret@git.example/voice.git",
        "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef", "requested_revision": "main"},
    }

    locked, notes = composed(direct)

    told = {"type": "git", "url": "https://git.example/voice.git", "commit-id": "0123456789abcdef"}
    assert locked.place == ("vcs", told)
    assert set(notes) == {Trouble.VCS}


@pytest.mark.parametrize(
    "direct",
    [
        {"url": "file:///home/li/x", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}},
        {"url": "https://x.example/a", "vcs_info": {"vcs": "rm -rf", "commit_id": "0123456789abcdef"}},
        {"url": "https://x.example/a", "vcs_info": {"vcs": "git", "commit_id": 7}},
        {"url": "https://[", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}},
    ],
)
def test_a_repository_that_cannot_be_named_leaves_no_place(direct):
    locked, notes = composed(direct)

    assert locked == Locked("alpha", "1.0")
    assert set(notes) == {Trouble.VCS}


def test_a_folder_is_kept_by_its_last_name_alone():
    locked, notes = composed({"url": "file:///home/li/my%20voice", "dir_info": {"editable": True}})

    assert locked.place == ("directory", {"path": "my voice", "editable": True})
    assert set(notes) == {Trouble.EDITABLE}


def test_a_file_that_the_index_offers_with_the_same_hash_is_an_ordinary_package():
    direct = {"url": "file:///tmp/a.whl", "archive_info": {"hashes": {"sha256": DIGEST}}}

    locked, notes = composed(direct, Offer(wheels={"alpha": (WHEEL,)}))

    assert (locked.wheels, notes) == ((WHEEL,), {})


@pytest.mark.parametrize(
    ("info", "offered", "trouble"),
    [
        ({"hash": f"sha256={DIGEST}"}, False, Trouble.FILE),
        ({"hash": "sha256=" + "c" * 64}, True, Trouble.FILE),
        ({}, True, Trouble.OTHER_FILES),
        ({}, False, Trouble.FILE),
    ],
)
def test_a_file_that_the_index_does_not_offer_is_named(info, offered, trouble):
    offer = Offer(wheels={"alpha": (WHEEL,)} if offered else {})

    _, notes = composed({"url": "file:///tmp/alpha-1.0.whl", "archive_info": info}, offer)

    assert set(notes) == {trouble}


def test_an_address_is_kept_with_its_hash_and_without_its_token():
    url = "https://x.example/alpha-1.0.whl?token=secret#sha256=1"

    locked, notes = composed({"url": url, "archive_info": {"hashes": {"sha256": DIGEST}}})

    assert locked.place == (
        "archive",
        {"url": "https://x.example/alpha-1.0.whl", "hashes": {"sha256": DIGEST}},
    )
    assert set(notes) == {Trouble.URL}


def test_what_conda_installed_and_what_is_unreadable_is_said():
    packages = (Installed("alpha", "1.0", "conda"),)
    environment = Environment(
        "3.11", "linux", "x86_64", "glibc", packages, unreadable=("x.dist-info",), others=3
    )

    _, notes = compose(environment, Offer(wheels={"alpha": (WHEEL,)}))

    assert [(note.package, note.trouble) for note in notes] == [
        ("alpha", Trouble.CONDA),
        ("x.dist-info", Trouble.UNREADABLE),
        ("conda", Trouble.CONDA),
    ]
    assert judged(notes[:1]) is Verdict.WORKS
    assert judged(notes) is Verdict.BROKEN


def test_only_what_an_index_can_have_is_asked_for():
    packages = (
        Installed("a", "1"),
        Installed("b", "1", "", {"url": "file:///b", "dir_info": {}}),
        Installed("c", "1", "", {"url": "file:///c.whl", "archive_info": {}}),
        Installed("d", "1", "", {"url": "https://x.example/d.whl", "archive_info": {}}),
    )

    assert askable(Environment("3.11", "linux", "x86_64", "glibc", packages)) == {"a": "1", "c": "1"}


@pytest.mark.parametrize(
    ("troubles", "verdict"),
    [
        ([], Verdict.WORKS),
        ([Trouble.YANKED, Trouble.OPTION], Verdict.WORKS),
        ([Trouble.NOT_ASKED, Trouble.NO_HASH], Verdict.NOT_CHECKED),
        ([Trouble.NOT_ASKED, Trouble.OTHER_FILES], Verdict.DIFFERS),
        ([Trouble.OTHER_FILES, Trouble.VANISHED], Verdict.BROKEN),
    ],
)
def test_the_worst_finding_decides(troubles, verdict):
    assert judged(Note("a", "1", trouble, "") for trouble in troubles) is verdict


@pytest.mark.parametrize(
    ("place", "public"),
    [
        ("https://me:secret@x.example:8443/a?b#c", "https://x.example:8443/a"),
        ("file:///home/li/a.whl", ""),
        ("/home/li/a.whl", ""),
        ("https://", ""),
        ("https://x:99999999/a", ""),
    ],
)
def test_an_address_is_public_or_nothing(place, public):
    assert public_url(place) == public


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"packages": 7, "unreadable": "x", "python": None},
        {"packages": [["a"], 7, ["a", 1, "", ""], ["ok", "1", "pip", '{"url": 7}']]},
        {"packages": [["ok", "1", "", "[" * 9000]]},
    ],
)
def test_an_answer_of_another_form_gives_an_environment_with_less_in_it(told):
    environment = environment_of(told)

    assert {package.name for package in environment.packages} <= {"ok"}
    assert len(environment.unreadable) <= 1
