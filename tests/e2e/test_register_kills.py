"""A registration that is killed at any moment leaves a whole voice or none, and nothing that doctor cannot mend."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.services.doctor import Finding, examine
from lifecycle.services.shelf import list_voices
from lifecycle.services.trail import verify_trail
from tests.conftest import Vlm
from tests.e2e.test_retire_kills import killed_at_random
from tests.files import recordings, speaker, weights
from tests.rooms import session

REGISTER = (
    "register", "kol-lin", "--weights", "lin.st", "--embedding", "lin.sp", "--audio", "takes",
    "--subject", "10042", "--consent", "consent.pdf", "--consent-until", "2099-06-30",
)  # fmt: skip
FILES = 7  # weights, embedding, three recordings, consent, I/O specification


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """A registry, and the files that arrive; each test works on a copy of them."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    weights(vlm.folder / "lin.st")
    speaker(vlm.folder / "lin.sp")
    recordings(vlm.folder / "takes", count=3)
    (vlm.folder / "consent.pdf").write_bytes(b"%PDF I agree")
    return vlm


def copied(template: Vlm, folder: Path) -> Vlm:
    shutil.copytree(template.folder, folder, dirs_exist_ok=True)
    return Vlm(folder)


@pytest.fixture(scope="module")
def seconds(template: Vlm, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a registration takes here, undisturbed."""
    vlm = copied(template, tmp_path_factory.mktemp("timed"))
    begun = time.monotonic()
    vlm.ok(*REGISTER)
    return time.monotonic() - begun


def faults(rooms: Rooms) -> list[Finding]:
    """What doctor found; that the keys want a second copy is no fault."""
    return [finding for finding in examine(rooms).findings if not finding.advice]


def check(template: Vlm, folder: Path, seed: int, within_s: float) -> None:
    vlm = copied(template, folder)
    killed_at_random(vlm, REGISTER, seed=seed, within_s=within_s)
    with session(folder) as rooms:
        assert examine(rooms).open == 0
        assert faults(rooms) == []
        assert len(list_voices(rooms=rooms).voices) in {0, 1}
        assert verify_trail(rooms=rooms).problems == ()
    vlm.ok(*REGISTER)
    told = vlm.ok("show", "kol-lin", "--json").json
    assert len(told["artifacts"]) == FILES
    with session(folder) as rooms:
        assert faults(rooms) == []
        assert len(list(rooms.vault.blobs)) == FILES


@pytest.mark.parametrize("seed", range(5))
def test_a_registration_killed_at_a_random_moment_is_whole_or_not_there(
    template: Vlm, tmp_path: Path, seconds: float, seed: int
) -> None:
    check(template, tmp_path, seed, seconds)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3000, 3100))
def test_soak_register(template: Vlm, tmp_path: Path, seconds: float, seed: int) -> None:
    check(template, tmp_path, seed, seconds)
