"""Verdict rows and accepted risks, on a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.domain.voices import State, Version, Voice
from lifecycle.registry.engine import Registry
from lifecycle.registry.queries.risks import AcceptedRow

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VOICE, VERSION, OTHER = "1" * 32, "2" * 32, "3" * 32


@pytest.fixture
def registry(empty: Path | str) -> Iterator[Registry]:
    made = Registry.open(empty, clock=lambda: NOW)
    with made.write() as uow:
        uow.voices.add(Voice(VOICE, "kol-a", State.ACTIVE, None, None, "default", None, NOW, NOW))
        for number, uid in enumerate((VERSION, OTHER), start=1):
            uow.voices.add_version(VOICE, Version(uid, number, Digest("blake3", str(number) * 64), NOW))
        uow.commit()
    yield made
    made.close()


def row(uid: str = "a" * 32, **changes: object) -> Row:
    one = Row(
        uid=uid,
        voice="kol-a",
        version_uid=VERSION,
        torch="2.13.0",
        build="cpu",
        python="3.11.7",
        lock_hash="sha256:l",
        engine_hash="blake3:e",
        device="cpu",
        code="engine",
        verdict=Verdict.WORKS,
        reason="",
        next=None,
        detail={"ran": True, "steps": [{"step": "mel", "distance": 0.5}]},
        sandbox="bwrap",
        at=NOW,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def add(registry: Registry, *rows: tuple[Row, str]) -> None:
    with registry.write() as uow:
        for one, key in rows:
            uow.verdicts.add(one, inputs_hash=key)
        uow.commit()


def test_a_row_comes_back_as_it_was_stored(registry):
    add(registry, (row(), "k"))

    with registry.read() as uow:
        assert uow.verdicts.reusable(VERSION, "k") == row()


def test_a_row_is_used_again_only_for_the_same_inputs_and_version(registry):
    add(registry, (row(), "k"))

    with registry.read() as uow:
        assert uow.verdicts.reusable(VERSION, "other") is None
        assert uow.verdicts.reusable(OTHER, "k") is None


def test_the_newest_row_of_the_same_inputs_is_used(registry):
    add(registry, (row(), "k"), (row("b" * 32, verdict=Verdict.BROKEN), "k"))

    with registry.read() as uow:
        found = uow.verdicts.reusable(VERSION, "k")
    assert found is not None
    assert found.verdict is Verdict.BROKEN


def test_the_latest_rows_are_one_for_each_version_torch_build_and_device(registry):
    add(
        registry,
        (row(), "k"),
        (row("b" * 32, reason="newer"), "k"),
        (row("c" * 32, torch="2.15.0"), "m"),
        (row("d" * 32, version_uid=OTHER), "n"),
        (row("e" * 32, device="cuda"), "o"),
    )

    with registry.read() as uow:
        assert [found.uid[0] for found in uow.verdicts.latest()] == ["b", "c", "d", "e"]
        assert [found.uid[0] for found in uow.verdicts.latest(OTHER)] == ["d"]


def test_a_row_without_its_version_is_refused(registry):
    with registry.write() as uow, pytest.raises(IntegrityError):
        uow.verdicts.add(row(version_uid="f" * 32), inputs_hash="k")


@pytest.mark.parametrize("voice", [VOICE, None])
def test_an_acceptance_holds_until_its_end(registry, voice):
    accepted = AcceptedRow("a" * 32, "no-owner", voice, NOW + timedelta(days=1), b"sealed", NOW)
    with registry.write() as uow:
        uow.risks.accept(accepted)
        uow.commit()

    with registry.read() as uow:
        assert uow.risks.accepted(now=NOW) == [accepted]
        assert uow.risks.accepted(now=NOW + timedelta(days=1)) == []


def test_an_acceptance_for_a_voice_that_is_not_there_is_refused(registry):
    accepted = AcceptedRow("a" * 32, "no-owner", "f" * 32, NOW + timedelta(days=1), b"", NOW)

    with registry.write() as uow, pytest.raises(IntegrityError):
        uow.risks.accept(accepted)
