"""The list of voices: filters, groups, and pages that are complete and stay so while voices come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.subjects import Subject
from lifecycle.domain.voices import State, Voice
from lifecycle.services.shelf import list_voices, show_voice
from lifecycle.services.use import add_use
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ANN = "a" * 32
URL = "https://example.com/gpt-sovits"


def add(rooms: Rooms, name: str, **more) -> None:
    told = {"state": State.ACTIVE, "owner": None, "policy": "default", "upstream": None, **more}
    with rooms.registry.write() as uow:
        uow.voices.add(
            Voice(uid=rooms.new_uid(), name=name, contact=None, created_at=NOW, changed_at=NOW, **told)
        )
        uow.commit()


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    with session(tmp_path, now=NOW) as opened:
        with opened.registry.write() as uow:
            uow.subjects.add(Subject(ANN, "s-aaaaaaaa", None, 0, NOW), tag=None)
            uow.commit()
        add(opened, "kol-a", owner="video", subject_uids=(ANN,), rights="ads in China until 2027")
        add(opened, "kol-b", owner="video", state=State.RETIRED)
        add(opened, "kol-c", owner="radio", upstream=URL, policy="strict")
        add(opened, "kol-d", state=State.DEPRECATED)
        add_use("kol-c", where="k8s://prod/tts", rooms=opened)
        add_use("kol-d", where="k8s://prod/tts", term="1h", rooms=opened)
        yield opened


def names(rooms: Rooms, **more) -> list[str | None]:
    return [voice.name for voice in list_voices(rooms=rooms, **more).voices]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (VoiceFilter(), ["kol-a", "kol-b", "kol-c", "kol-d"]),
        (VoiceFilter(owner="video"), ["kol-a", "kol-b"]),
        (VoiceFilter(owner=""), ["kol-d"]),
        (VoiceFilter(subject_uid=ANN), ["kol-a"]),
        (VoiceFilter(states=(State.RETIRED, State.DEPRECATED)), ["kol-b", "kol-d"]),
        (VoiceFilter(upstream=URL), ["kol-c"]),
        (VoiceFilter(policy="strict"), ["kol-c"]),
        (VoiceFilter(owner="video", states=(State.ACTIVE,)), ["kol-a"]),
        (VoiceFilter(owner="nobody"), []),
    ],
)
def test_a_list_is_filtered(rooms: Rooms, wanted: VoiceFilter, found: list[str]) -> None:
    assert names(rooms, filter=wanted) == found


def test_what_is_in_use_is_asked_of_the_clock(rooms: Rooms, tmp_path: Path) -> None:
    assert names(rooms, in_use=True) == ["kol-c", "kol-d"]
    assert names(rooms, in_use=False) == ["kol-a", "kol-b"]
    with session(tmp_path, now=NOW + timedelta(hours=1)) as later:
        assert names(later, in_use=True) == ["kol-c"]


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("owner", {"radio": 1, "video": 2, None: 1}),
        ("subject", {"s-aaaaaaaa": 1, None: 3}),
        ("state", {"active": 2, "deprecated": 1, "retired": 1}),
        ("upstream", {URL: 1, None: 3}),
        ("policy", {"default": 3, "strict": 1}),
    ],
)
def test_a_list_is_grouped(rooms: Rooms, by: str, found: dict[str | None, int]) -> None:
    shelf = list_voices(rooms=rooms, group_by=by)

    assert {group.key: group.numbers["voices"] for group in shelf.groups} == found
    assert sum(group.numbers["in_use"] for group in shelf.groups) == 2


def test_pages_are_complete(rooms: Rooms) -> None:
    for limit in range(1, 6):
        found, after, pages = [], None, 0
        while True:
            page = list_voices(rooms=rooms, limit=limit, after=after)
            found += [voice.name for voice in page.voices]
            pages, after = pages + 1, page.next
            if after is None:
                break

        assert found == ["kol-a", "kol-b", "kol-c", "kol-d"]
        assert pages == -(-4 // limit)


def test_a_page_is_not_shifted_by_voices_that_come_or_go_meanwhile(rooms: Rooms) -> None:
    first = list_voices(rooms=rooms, limit=2)
    add(rooms, "kol-0")
    add(rooms, "kol-ba")
    second = list_voices(rooms=rooms, limit=9, after=first.next)

    assert [voice.name for voice in first.voices] == ["kol-a", "kol-b"]
    assert [voice.name for voice in second.voices] == ["kol-ba", "kol-c", "kol-d"]


def test_the_next_page_is_named(rooms: Rooms) -> None:
    assert list_voices(rooms=rooms, limit=2).lines()[-1] == "more: vlm list --after kol-b"
    assert list_voices(rooms=rooms, limit=4).next is None


def test_a_voice_shows_its_rights_and_what_depends_on_it(rooms: Rooms) -> None:
    shown = show_voice("kol-a", rooms=rooms).to_json()
    used = show_voice("kol-c", rooms=rooms)

    assert shown["rights"] == "ads in China until 2027"
    assert shown["uses"] == []
    assert [use["where"] for use in used.to_json()["uses"]] == ["k8s://prod/tts"]
    assert used.lines()[0] == "kol-c is active, version 0, in use"
    assert any("k8s://prod/tts, until it is removed" in line for line in used.lines())


def test_a_mistyped_name_is_answered_with_the_nearest_of_very_many(rooms: Rooms) -> None:
    with rooms.registry.write() as uow:
        for number in range(1200):
            name = f"voice-{number:04}"
            uow.voices.add(Voice(rooms.new_uid(), name, State.ACTIVE, None, None, "default", None, NOW, NOW))
        uow.commit()

    with pytest.raises(NotFound) as missing:
        show_voice("voice-07777", rooms=rooms)
    assert missing.value.hint.startswith("did you mean: vlm show voice-077")


@pytest.mark.parametrize("more", [{"limit": 0}, {"limit": -1}, {"group_by": "size"}])
def test_what_cannot_be_listed_is_said(rooms: Rooms, more) -> None:
    with pytest.raises(UsageError):
        list_voices(rooms=rooms, **more)
