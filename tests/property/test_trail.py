"""The trail: whatever is appended verifies, and whatever is changed afterwards is noticed."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lifecycle.domain.events import CHAIN_START
from lifecycle.registry.engine import Registry
from lifecycle.services.trail import flaws_of
from tests.unit.registry.sealers import XorSealer

# Each example is a database of its own, so a failure is shown as it was found, not made small for minutes.
QUICK = settings(deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
# No f, so that a changed id can never be the one that was there.
uids = st.text("0123456789abcde", min_size=32, max_size=32)
words = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
events = st.lists(
    st.tuples(
        st.sampled_from(["register", "hold", "purge.committed", "speak"]),
        st.none() | uids,
        st.none() | uids,
        st.dictionaries(st.sampled_from(["version", "artifact", "purge"]), uids, max_size=3),
        st.dictionaries(words, values, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trail") / "registry.db"
    registry = Registry.open(path)
    registry.vacuum()
    registry.close()
    return path


@contextmanager
def filled(
    empty: Path, told: list[tuple[str, str | None, str | None, dict[str, str], dict[str, object]]]
) -> Iterator[Registry]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.db"
        shutil.copy(empty, path)
        registry = Registry(path, sealer=XorSealer())
        with registry.write() as uow:
            for verb, voice, subject, ids, details in told:
                uow.trail.append(verb, voice_uid=voice, subject_uid=subject, ids=ids, details=details)
            uow.commit()
        yield registry
        registry.close()


def flaws(registry: Registry) -> list[str]:
    """Everything that re-computing the events finds; details too."""
    found, before = [], CHAIN_START
    with registry.read() as uow:
        for index, stored in enumerate(uow.trail.stored()):
            found += flaws_of(stored, index, before)
            try:
                uow.trail.details(stored)
            except ValueError as error:
                found.append(str(error))
            before = stored.event.chain_hash
        size, head = uow.trail.head()
    return found if head == before else [*found, f"the head of {size} events is another"]


@given(events)
@settings(QUICK, max_examples=12)
def test_any_sequence_of_events_verifies_and_tells_its_details(empty, told):
    with filled(empty, told) as registry:
        assert flaws(registry) == []
        with registry.read() as uow:
            opened = [uow.trail.details(stored) for stored in uow.trail.stored()]
        assert opened == [details or None for *_, details in told]


changes = st.sampled_from([
    "UPDATE events SET verb = 'erased' WHERE sequence = {n}",
    "UPDATE events SET at = '2020-01-01T00:00:00.000000Z' WHERE sequence = {n}",
    "UPDATE events SET voice_uid = 'ffffffffffffffffffffffffffffffff' WHERE sequence = {n}",
    "UPDATE events SET subject_uid = 'ffffffffffffffffffffffffffffffff' WHERE sequence = {n}",
    "UPDATE events SET uid = 'ffffffffffffffffffffffffffffffff' WHERE sequence = {n}",
    "UPDATE events SET at = 'yesterday' WHERE sequence = {n}",
    "UPDATE events SET leaf = leaf || ' ' WHERE sequence = {n}",
    "UPDATE events SET leaf = X'FF' WHERE sequence = {n}",
    "UPDATE events SET chain_hash = 'no hash' WHERE sequence = {n}",
    "UPDATE events SET leaf_hash = '" + "00" * 32 + "' WHERE sequence = {n}",
    "UPDATE events SET chain_hash = '" + "00" * 32 + "' WHERE sequence = {n}",
    "UPDATE events SET details_digest = 'sha256:" + "00" * 32 + "' WHERE sequence = {n}",
])  # fmt: skip


@given(events, changes, st.data())
@settings(QUICK, max_examples=30)
def test_any_change_of_an_event_is_noticed(empty, told, change, data):
    with filled(empty, told) as registry:
        number = data.draw(st.integers(0, len(told) - 1))
        with sqlite3.connect(registry.path) as connection:
            connection.execute(change.format(n=number))

        assert flaws(registry) != []


@given(events, st.data())
@settings(QUICK, max_examples=12)
def test_a_changed_detail_is_noticed(empty, told, data):
    with filled(empty, told) as registry:
        connection = sqlite3.connect(registry.path)
        rows = connection.execute("SELECT id, sealed FROM event_details").fetchall()
        if not rows:
            return
        row, sealed = data.draw(st.sampled_from(rows))
        at = data.draw(st.integers(0, 31))
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        connection.execute("UPDATE event_details SET sealed = ? WHERE id = ?", (changed, row))
        connection.commit()
        connection.close()

        assert flaws(registry) != []


@given(st.lists(events.map(lambda told: told[0]), min_size=3, max_size=6), st.data())
@settings(QUICK, max_examples=12)
def test_an_event_that_is_taken_out_is_noticed(empty, told, data):
    with filled(empty, told) as registry:
        number = data.draw(st.integers(0, len(told) - 2))
        with sqlite3.connect(registry.path) as connection:
            connection.execute("DELETE FROM event_details WHERE event_sequence = ?", (number,))
            connection.execute("DELETE FROM events WHERE sequence = ?", (number,))

        assert flaws(registry) != []
