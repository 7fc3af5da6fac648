"""What enters a leaf, what lies sealed beside it, and what may be forgotten."""

from __future__ import annotations

import json

import pytest

from lifecycle.domain.events import CHAIN_START, chained
from lifecycle.domain.merkle import leaf_hash
from lifecycle.registry import tables as t
from lifecycle.registry.engine import Registry

VOICE, PERSON = "a" * 32, "b" * 32


def test_names_reasons_and_paths_lie_sealed_and_never_in_the_leaf(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("hold", voice_uid=VOICE, subject_uid=PERSON, details={"reason": "case 7 of Ann"})
        uow.commit()

    with registry.read() as uow:
        (stored,) = uow.trail.stored()
        assert uow.trail.details(stored) == {"reason": "case 7 of Ann"}
        rows = uow._connection.execute(t.event_details.select()).all()
    assert b"case 7 of Ann" not in b"".join(row.sealed for row in rows)
    assert json.loads(stored.leaf)["ids"] == {"voice": VOICE, "subject": PERSON}


def test_a_leaf_is_canonical_and_chained_from_nothing_on(registry: Registry) -> None:
    with registry.write() as uow:
        first = uow.trail.append("init")
        second = uow.trail.append("register", voice_uid=VOICE)
        uow.commit()

    with registry.read() as uow:
        stored = list(uow.trail.stored())
    assert [event.leaf_hash for event in (first, second)] == [leaf_hash(s.leaf).hex() for s in stored]
    assert first.chain_hash == chained(CHAIN_START, first.leaf_hash)
    assert second.chain_hash == chained(first.chain_hash, second.leaf_hash)
    told = json.loads(stored[0].leaf)
    assert stored[0].leaf == json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("told", ["kol-lin", "10042", "/home/ann/take.wav", "A" * 32, "a" * 31])
def test_what_could_be_a_name_is_refused_as_an_id(registry: Registry, told: str) -> None:
    with registry.write() as uow, pytest.raises(ValueError, match="not a random id"):
        uow.trail.append("register", ids={"voice_of": told})


def test_a_verb_is_a_word(registry: Registry) -> None:
    with registry.write() as uow, pytest.raises(ValueError, match="not a verb"):
        uow.trail.append("register kol-lin")


def test_equal_details_give_different_digests(registry: Registry) -> None:
    with registry.write() as uow:
        first = uow.trail.append("note", details={"same": "words"})
        second = uow.trail.append("note", details={"same": "words"})

    assert first.details_digest != second.details_digest


def test_details_that_were_deleted_leave_no_gap(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("note", details={"who": "Ann"})
        uow.commit()
    with registry.write() as uow:
        uow._connection.exec_driver_sql("DELETE FROM event_details")
        uow.commit()

    with registry.read() as uow:
        (stored,) = uow.trail.stored()
        assert uow.trail.details(stored) is None
        assert uow.trail.head() == (1, stored.event.chain_hash)


def test_details_that_do_not_belong_to_the_leaf_are_noticed(registry: Registry) -> None:
    with registry.write() as uow:
        for who in ("Ann", "Ben"):
            uow.trail.append("note", details={"who": who})
        uow.commit()
    with registry.write() as uow:
        uow._connection.exec_driver_sql(
            "UPDATE event_details SET sealed = (SELECT sealed FROM event_details WHERE event_sequence = 1)"
        )
        uow.commit()

    with registry.read() as uow:
        first, second = uow.trail.stored()
        assert uow.trail.details(second) == {"who": "Ben"}
        with pytest.raises(ValueError, match="not what its leaf says"):
            uow.trail.details(first)
