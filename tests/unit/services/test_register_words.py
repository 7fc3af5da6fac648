"""How the words of a registration are read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lifecycle.cli.register import references
from lifecycle.domain.errors import NotFound, UnreadableFile, UsageError
from lifecycle.domain.time_bases import local_day
from lifecycle.formats import Inspection, TensorInfo
from lifecycle.services.registration.recordings import MAX_DEPTH, find_recordings
from lifecycle.services.registration.request import RegisterRequest
from lifecycle.services.registration.state import facts_of


def test_a_clip_may_carry_a_style_and_its_words() -> None:
    first, second = references(["calm=ref/a.wav", "b=c/d.wav"], ["what is said"], ["zh"])

    assert (first.style, first.path, first.text, first.language) == (
        "calm",
        Path("ref/a.wav"),
        "what is said",
        "zh",
    )
    assert (second.style, second.path, second.text) == ("b", Path("c/d.wav"), "")


def test_a_path_with_an_equals_sign_is_still_a_path() -> None:
    (clip,) = references(["ref/a=b.wav"], [], [])

    assert (clip.style, clip.path) == ("default", Path("ref/a=b.wav"))


def test_words_without_a_clip_are_refused() -> None:
    with pytest.raises(UsageError, match="more --ref-text"):
        references([], ["alone"], [])


def test_a_consent_holds_until_its_last_day_has_ended() -> None:
    end = RegisterRequest("kol", consents=(Path("c"),), consent_until=date(2028, 6, 30)).consent_end

    assert end is not None
    assert datetime(2028, 6, 30, 23, 59, tzinfo=UTC) < end < datetime(2028, 7, 1, tzinfo=UTC)


def test_only_facts_that_name_nobody_enter_a_plain_row() -> None:
    found = Inspection(
        "gpt-sovits-gpt",
        safe=True,
        facts={
            "version": "v2",
            "config": {"exp_dir": "D:/voices/ann"},
            "info": "ann-e15",
            "metadata": {"by": "ann"},
        },
        tensors=(TensorInfo("w", (2, 3), "F16"), TensorInfo("step", (), "I64")),
    )

    assert facts_of(found) == {"version": "v2", "tensors": {"w": "F16 2x3", "step": "I64 scalar"}}


def test_a_folder_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["a"] * (MAX_DEPTH + 2)))
    deep.mkdir(parents=True)

    with pytest.raises(UnreadableFile, match="folders deep"):
        find_recordings(tmp_path)


def test_a_path_where_nothing_lies_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        find_recordings(tmp_path / "nothing")


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b/1.wav", "a/2.wav", "a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = find_recordings(tmp_path)

    assert found.files == sorted(found.files)
    assert len(found.files) == 3


@pytest.mark.parametrize(
    "zone", ["America/Los_Angeles", "Europe/Berlin", "Asia/Shanghai", "Australia/Brisbane"]
)
def test_a_day_is_that_day_wherever_the_policy_counts(zone: str) -> None:
    told = RegisterRequest("kol", recorded_on=date(2024, 5, 6), contract_ends=date(2026, 12, 31))

    assert told.recorded_at is not None
    assert told.contract_end is not None
    assert local_day(told.recorded_at, zone) == date(2024, 5, 6)
    assert local_day(told.contract_end, zone) == date(2026, 12, 31)
