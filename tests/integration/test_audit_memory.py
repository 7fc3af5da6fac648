"""What an audit remembers, reads again, and leaves on the trail."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.bootstrap import Rooms
from lifecycle.cli.index import PATHS
from lifecycle.domain.errors import UsageError
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.risks import Severity
from lifecycle.domain.voices import Role
from lifecycle.services.audits.audit import accept, audit, mark_notified
from lifecycle.services.audits.report import AuditReport
from lifecycle.services.audits.scrub import DAYS, share_of, shares_due
from tests.integration.test_purge_service import add_person, add_voice
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two voices whose recordings nobody agreed to."""
    (tmp_path / "originals").mkdir()
    with session(tmp_path, now=NOW) as rooms:
        add_person(rooms)
        add_voice(rooms, "kol-a", tmp_path / "originals")
        add_voice(rooms, "kol-b", tmp_path / "originals")
    return tmp_path


def run(rooms: Rooms, **more) -> AuditReport:
    return audit(rooms=rooms, commands=frozenset(PATHS), **more)


def later(folder: Path, days: int):
    return session(folder, now=NOW + timedelta(days=days))


def found(report: AuditReport, risk: str) -> list[str]:
    return [finding.risk.voice for finding in report.listed if finding.risk.risk == risk]


def weights_of(rooms: Rooms, name: str) -> Path:
    with rooms.registry.read() as uow:
        (model,) = uow.voices.artifacts(uow.voices.get(name).uid, role=Role.WEIGHTS)
    digest = model.digest.hex
    (path,) = [
        p for p in (rooms.settings.home / "blobs").rglob("*") if digest.endswith(p.name) and p.is_file()
    ]
    return path


def damage(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"something else")


def test_a_finding_is_new_once_and_says_since_when(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        first = run(rooms)
    with later(folder, 1) as rooms:
        second = run(rooms)

    word = "recordings-without-consent"
    assert [f.new for f in first.listed if f.risk.risk == word] == [True, True]
    assert [(f.new, f.since) for f in second.listed if f.risk.risk == word] == [(False, NOW), (False, NOW)]


def test_what_was_gone_and_came_back_is_new_again(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        path = weights_of(rooms, "kol-a")
        sound = path.read_bytes()
        damage(path)
        assert found(run(rooms), "hash-drift") == ["kol-a"]
        path.write_bytes(sound)
        assert found(run(rooms), "hash-drift") == []
        damage(path)
        assert found(run(rooms, only_new=True), "hash-drift") == ["kol-a"]


def test_the_trail_has_the_numbers_and_no_voice(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        run(rooms, scheduled=True)
        with rooms.registry.read() as uow:
            told = uow.trail.details(list(uow.trail.stored())[-1])

    assert told["voices"] == 2
    assert told["found"]["recordings-without-consent/critical"] == 2
    assert told["scheduled"] is True
    assert "kol-a" not in str(told)


def test_an_audit_of_some_voices_forgets_nothing_of_the_others(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        run(rooms)
        some = run(rooms, filter=VoiceFilter(names=("kol-a",)))
        again = run(rooms, only_new=True)

    assert some.voices == 1
    assert found(some, "recordings-without-consent") == ["kol-a"]
    assert again.listed == ()


def test_somebody_was_told_once(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        mark_notified(run(rooms).listed, rooms=rooms)
        again = run(rooms)

    assert {finding.notified_at for finding in again.listed} == {NOW}


def test_an_accepted_finding_is_new_when_nobody_accepts_it_any_more(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        accept(
            "recordings-without-consent", "kol-a", until=date(2026, 11, 30), reason="asked for", rooms=rooms
        )
        report = run(rooms)
    with later(folder, 9) as rooms:
        after = run(rooms, only_new=True)

    assert report.accepted == 1
    assert found(report, "recordings-without-consent") == ["kol-b"]
    assert found(after, "recordings-without-consent") == ["kol-a"]


def test_reading_nothing_again_still_looks_at_what_was_damaged(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        damage(weights_of(rooms, "kol-a"))
        weights_of(rooms, "kol-b").unlink()
        nothing = run(rooms, scrub="none")
        everything = run(rooms)
        again = run(rooms, scrub="none")

    assert (found(nothing, "hash-drift"), found(nothing, "missing-artifact")) == ([], [])
    assert nothing.scrubbed.hashed == 0
    for report in (everything, again):
        assert found(report, "hash-drift") == ["kol-a"]
        assert found(report, "missing-artifact") == ["kol-b"]


def test_what_is_due_is_read_and_what_is_missing_is_seen_at_once(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        first = run(rooms, scrub="due")
        second = run(rooms, scrub="due")
        weights_of(rooms, "kol-b").unlink()
        third = run(rooms, scrub="due")

    assert first.scrubbed.hashed == first.scrubbed.files == 10
    assert second.scrubbed.hashed == 0
    assert found(third, "missing-artifact") == ["kol-b"]


def test_every_file_has_its_turn_within_the_days(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        total = run(rooms, scrub="due").scrubbed.files
    read = 0
    for day in range(1, DAYS + 1):
        with later(folder, day) as rooms:
            read += run(rooms, scrub="due").scrubbed.hashed

    assert read == total


@given(st.dates(date(2020, 1, 1), date(2036, 1, 1)), st.integers(0, 90))
def test_no_share_is_left_out_when_nights_were_missed(today: date, days: int) -> None:
    last = today - timedelta(days=days)
    due, one_by_one = shares_due(last, today), set()
    for day in range(1, days + 1):
        one_by_one |= shares_due(last + timedelta(days=day - 1), last + timedelta(days=day))

    assert due == one_by_one


def test_a_clock_that_went_back_reads_everything() -> None:
    assert len(shares_due(date(2036, 1, 1), date(2026, 1, 1))) == DAYS
    assert len(shares_due(None, date(2026, 1, 1))) == DAYS


@given(st.binary(min_size=32, max_size=32))
def test_a_file_has_one_share(digest: bytes) -> None:
    assert 0 <= share_of(f"blake3:{digest.hex()}") < DAYS


def test_groups_count_what_is_reported(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        report = run(rooms, group_by="subject")

    (section,) = report.sections
    assert (section.key, section.voices, section.critical) == ("s-aaaaaaaa", 2, 2)
    of_voices = [f for f in report.listed if f.risk.voice and f.risk.severity is Severity.NOTICE]
    assert section.notice == len(of_voices) == 4


@pytest.mark.parametrize("more", [{"scrub": "some"}, {"group_by": "size"}, {"fail_on": "notice"}])
def test_another_word_is_refused(folder: Path, more) -> None:
    with session(folder, now=NOW) as rooms, pytest.raises(UsageError):
        run(rooms, **more)
