"""An import that is killed at any moment goes on where it stopped: no row is lost, none is registered twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.services.doctor import examine
from lifecycle.services.imports.tables import write_table
from lifecycle.services.trail import verify_trail
from tests import trees
from tests.conftest import Vlm
from tests.e2e.test_retire_kills import killed_at_random
from tests.files import recordings, weights
from tests.rooms import session

IMPORT = ("import", "voices.csv", "--move", "-q")


def made(folder: Path, rows: int) -> Vlm:
    """A registry, and a table of rows: pairs, recordings that are to be moved, and one bad row."""
    vlm = Vlm(folder)
    vlm.ok("init")
    trees.pair(folder / "project", "lin")
    table = [
        {
            "name": "lin",
            "weights": "project/GPT_weights_v2/lin-e15.ckpt;project/SoVITS_weights_v2/lin_e8_s200.pth",
            "audio": recordings(folder / "takes", count=3).name,
            "own_voice": "yes",
        },
        {"name": "bad", "weights": "nowhere.st"},
    ]
    for number in range(rows):
        name = weights(folder / f"{number}.st", seed=number).name
        table.append({"name": f"voice-{number}", "weights": name, "owner": "video"})
    (folder / "voices.csv").write_bytes(write_table(table))
    return vlm


def check(folder: Path, rows: int, seed: int, within_s: float) -> None:
    vlm = made(folder, rows)
    killed_at_random(vlm, IMPORT, seed=seed, within_s=within_s)
    with session(folder) as rooms:
        report = examine(rooms)
        assert report.open == 0
    told = vlm.run(*IMPORT, "--json")
    assert told.code == 3  # the bad row, and it alone
    assert sorted({row["result"] for row in told.json["rows"] if row["name"] != "bad"}) != ["failed"]
    assert [row["name"] for row in told.json["rows"] if row["result"] == "failed"] == ["bad"]
    assert list((folder / "takes").iterdir()) == []
    with session(folder) as rooms:
        assert verify_trail(rooms=rooms).problems == ()
        assert not list((rooms.settings.home / "blobs" / "tmp").iterdir())
        with rooms.registry.read() as uow:
            voices = uow.voices.all()
            versions = [uow.voices.versions(voice.uid) for voice in voices]
            before = uow.trail.head()
    assert len(voices) == rows + 1
    assert {len(mine) for mine in versions} == {1}
    assert vlm.run(*IMPORT).code == 3
    with session(folder) as rooms, rooms.registry.read() as uow:
        assert uow.trail.head() == before


@pytest.fixture(scope="module")
def seconds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], float]:
    """How long an import of so many rows takes here, undisturbed."""
    known: dict[int, float] = {}

    def measured(rows: int) -> float:
        if rows not in known:
            vlm = made(tmp_path_factory.mktemp("timed"), rows)
            begun = time.monotonic()
            vlm.run(*IMPORT)
            known[rows] = time.monotonic() - begun
        return known[rows]

    return measured


@pytest.mark.parametrize("seed", range(3))
def test_an_import_killed_at_a_random_moment_goes_on(
    tmp_path: Path, seconds: Callable[[int], float], seed: int
) -> None:
    check(tmp_path, 6, seed, seconds(6))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5000, 5025))
def test_soak_import(tmp_path: Path, seconds: Callable[[int], float], seed: int) -> None:
    check(tmp_path, 40, seed, seconds(40))


@pytest.mark.soak
def test_soak_ten_thousand_rows_killed_half_way(tmp_path: Path) -> None:
    """The whole size that the manual promises; the second run over finished rows reads nothing."""
    vlm = made(tmp_path, 10_000)
    process = vlm.start(*IMPORT)
    while len(list((vlm.home / "blobs").glob("??"))) < 256:
        time.sleep(1)
    time.sleep(60)
    process.kill()
    process.wait()
    done = vlm.run(*IMPORT, "--json", timeout_s=7200).json["counts"]
    assert done["registered"] + done["unchanged"] == 10_001
    assert done["unchanged"] > 100
    assert vlm.run(*IMPORT, "--json", timeout_s=600).json["counts"]["unchanged"] == 10_001
