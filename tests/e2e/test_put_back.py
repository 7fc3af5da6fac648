"""A copy of the registry that was put back: read-only until somebody answers for it, and never after an erasure."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Vlm
from tests.files import recordings, weights


@pytest.fixture
def copied(vlm: Vlm, tmp_path: Path) -> Path:
    """A registry with a voice of a person, and a copy of it from this moment."""
    vlm.ok(
        "register", "kol-a", "--weights", weights(tmp_path / "a.st"), "--audio", recordings(tmp_path / "rec"),
        "--own-voice",
    )  # fmt: skip
    return Path(shutil.copytree(vlm.home, tmp_path / "copy"))


def put_back(vlm: Vlm, copy: Path) -> None:
    shutil.rmtree(vlm.home)
    shutil.copytree(copy, vlm.home)


def test_a_copy_goes_on_when_somebody_answers_for_it(vlm: Vlm, copied: Path, tmp_path: Path):
    vlm.ok("register", "kol-b", "--weights", weights(tmp_path / "b.st", seed=1))
    put_back(vlm, copied)

    refused = vlm.run("list")
    found = vlm.run("doctor", "--json")
    unasked = vlm.run("doctor", "--accept-older")
    accepted = vlm.run("doctor", "--accept-older", "--yes")

    assert refused.code == 5
    assert [f["next"] for f in found.json["findings"] if f["id"] == "put-back"] == [
        "vlm doctor --accept-older"
    ]
    assert unasked.code == 4
    assert accepted.code == 0, accepted.err + accepted.out
    assert [voice["name"] for voice in vlm.ok("list", "--json").json["voices"]] == ["kol-a"]
    assert vlm.ok("trail", "verify", "--json").json["verified"] is True
    vlm.ok("register", "kol-b", "--weights", tmp_path / "b.st")


def test_a_copy_from_before_an_erasure_stays_closed(vlm: Vlm, copied: Path):
    vlm.ok("retire", "kol-a", "--purge-audio", "--yes")
    put_back(vlm, copied)

    answer = vlm.run("doctor", "--accept-older", "--yes")

    assert answer.code == 5
    assert "1 purge(s) were decided since this copy was made" in answer.err
    assert vlm.run("list").code == 5


def test_a_registry_that_was_not_put_back_has_nothing_to_accept(vlm: Vlm):
    answer = vlm.run("doctor", "--accept-older", "--yes")
    assert answer.code == 4
