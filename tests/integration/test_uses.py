"""What something live depends on is not purged or erased: in the rehearsal, in the plan, and in the last moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import InUse, NotFound, Refused, UsageError
from lifecycle.domain.purges import PurgeState
from lifecycle.domain.voices import State
from lifecycle.erasure.graph import NodeState
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.services.hold import hold
from lifecycle.services.purges import purge as purges
from lifecycle.services.purges.purge import PurgeRequest, preview, purge
from lifecycle.services.retire import retire
from lifecycle.services.use import add_use, list_uses, remove_use
from tests.integration.test_purge_service import add_person, add_voice
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PLACE = "k8s://prod/tts"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "originals").mkdir()
    with session(tmp_path, now=NOW) as rooms:
        add_person(rooms)
        add_voice(rooms, "kol-a", tmp_path / "originals")
    return tmp_path


def later(folder: Path, hours: float):
    return session(folder, now=NOW + timedelta(hours=hours))


def state_of(rooms: Rooms, name: str = "kol-a") -> State:
    with rooms.registry.read() as uow:
        return uow.voices.get(name).state


def claims(rooms: Rooms) -> list[tuple[str, str, bool]]:
    return [(u["voice"], u["where"], u["expired"]) for u in list_uses(rooms=rooms).to_json()["uses"]]


AUDIO = PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO)
ERASE = PurgeRequest("kol-a", PurgeVerb.ERASE)


def test_what_is_in_use_is_not_purged_and_the_sentence_says_where_and_how_to_go_on(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, rooms=rooms)

    with later(folder, 2) as rooms:
        with pytest.raises(InUse) as refused:
            preview(AUDIO, rooms=rooms)

        assert str(refused.value) == (
            '"kol-a" is in use at k8s://prod/tts (claimed 2 h ago), so nothing was changed'
        )
        assert refused.value.hint == "drop the claim with: vlm use remove kol-a --where k8s://prod/tts"
        assert refused.value.exit_code == 4
        assert state_of(rooms) is State.ACTIVE


def test_what_is_in_use_is_not_erased(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        retire("kol-a", rooms=rooms)
        add_use("kol-a", where=PLACE, rooms=rooms)

        with pytest.raises(InUse):
            preview(ERASE, rooms=rooms)


def test_a_claim_that_is_made_between_the_question_and_the_answer_counts(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        planned = preview(AUDIO, rooms=rooms)
        add_use("kol-a", where=PLACE, rooms=rooms)

        with pytest.raises(InUse):
            purge(planned, rooms=rooms)

        assert state_of(rooms) is State.ACTIVE
        with rooms.registry.read() as uow:
            assert uow.purges.all_open() == []


def test_a_claim_that_is_made_in_the_last_moment_aborts_the_purge(folder: Path, monkeypatch) -> None:
    """Whoever claims between the plan's row and its commit has written before the purge was decided."""
    begin = purges._begin

    def begin_and_claim(planned, *, rooms):
        begun = begin(planned, rooms=rooms)
        with rooms.registry.write() as uow:
            voice = uow.voices.get("kol-a")
            uow.uses.add(purges_claim(rooms, voice.uid))
            uow.commit()
        return begun

    monkeypatch.setattr(purges, "_begin", begin_and_claim)
    with session(folder, now=NOW) as rooms:
        with pytest.raises(InUse):
            purge(preview(AUDIO, rooms=rooms), rooms=rooms)

        with rooms.registry.read() as uow:
            voice = uow.voices.get("kol-a")
            assert [p.state for p in uow.purges.of_voice(voice.uid)] == [PurgeState.ABORTED]
            assert voice.state is State.ACTIVE
            assert len(uow.voices.artifacts(voice.uid)) == 5


def purges_claim(rooms: Rooms, voice_uid: str):
    from lifecycle.domain.uses import Claim

    return Claim(rooms.new_uid(), voice_uid, PLACE, rooms.clock())


def test_overruling_a_claim_is_in_the_plan_on_the_trail_and_in_the_receipt(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, rooms=rooms)
        planned = preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO, even_if_used=True), rooms=rooms)
        done = purge(planned, rooms=rooms)

        overruled = "1 live use that was claimed, overruled"
        assert overruled in planned.to_json()["not_covered"]
        assert overruled in done.to_json()["not_covered"]
        assert [n.kind for n in done.receipt.nodes if n.what == overruled] == ["use"]
        assert PLACE not in done.certificate.read_text()
        with rooms.registry.read() as uow:
            committed = next(e for e in uow.trail.stored() if e.event.verb == "purge.committed")
            assert len(uow.trail.details(committed)["uses_overruled"]) == 1
        assert done.exit_code == 0
        assert NodeState.NOT_COVERED not in {done.receipt.result}


def test_an_erased_voice_leaves_no_claim_behind(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, rooms=rooms)
        retire("kol-a", rooms=rooms)
        purge(preview(PurgeRequest("kol-a", PurgeVerb.ERASE, even_if_used=True), rooms=rooms), rooms=rooms)

        assert claims(rooms) == []
        with pytest.raises(NotFound):
            add_use("kol-a", where=PLACE, rooms=rooms)


def test_a_claim_with_a_term_ends_by_the_clock(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, term="24h", rooms=rooms)

    with later(folder, 23.9) as rooms, pytest.raises(InUse):
        preview(AUDIO, rooms=rooms)
    with later(folder, 24) as rooms:
        assert claims(rooms) == [("kol-a", PLACE, True)]
        assert not preview(AUDIO, rooms=rooms).plan.empty


def test_claiming_again_makes_a_claim_longer_and_never_shorter(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        first = add_use("kol-a", where=PLACE, term="7d", rooms=rooms)
        shorter = add_use("kol-a", where=PLACE, term="24h", rooms=rooms)
        longer = add_use("kol-a", where=PLACE, term="2w", rooms=rooms)
        forever = add_use("kol-a", where=PLACE, rooms=rooms)
        still = add_use("kol-a", where=PLACE, term="24h", rooms=rooms)

        assert [r.did for r in (first, shorter, longer, forever, still)] == [
            "added", "unchanged", "extended", "extended", "unchanged",
        ]  # fmt: skip
        assert longer.claim.until == NOW + timedelta(weeks=2)
        assert longer.claim.claimed_at == NOW
        assert claims(rooms) == [("kol-a", PLACE, False)]
        assert list_uses(rooms=rooms).to_json()["uses"][0]["until"] is None


def test_a_claim_that_expired_is_claimed_anew(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, term="1h", rooms=rooms)
    with later(folder, 2) as rooms:
        again = add_use("kol-a", where=PLACE, term="1h", rooms=rooms)

        assert again.did == "added"
        assert again.claim.claimed_at == NOW + timedelta(hours=2)
        assert claims(rooms) == [("kol-a", PLACE, False)]


def test_each_place_claims_for_itself(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        for place in (PLACE, "cron://host-7/reader", "somebody's laptop"):
            add_use("kol-a", where=place, rooms=rooms)
        remove_use("kol-a", where=PLACE, rooms=rooms)

        with pytest.raises(InUse, match=r"cron://host-7/reader .* and 1 more"):
            preview(AUDIO, rooms=rooms)
        remove_use("kol-a", where="cron://host-7/reader", rooms=rooms)
        with pytest.raises(InUse) as refused:
            preview(AUDIO, rooms=rooms)
        assert refused.value.hint.endswith("--where 'somebody'\"'\"'s laptop'")
        remove_use("kol-a", where="somebody's laptop", rooms=rooms)
        assert claims(rooms) == []
        assert not preview(AUDIO, rooms=rooms).plan.empty


def test_a_claim_that_is_not_there_cannot_be_dropped(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        with pytest.raises(NotFound) as missing:
            remove_use("kol-a", where=PLACE, rooms=rooms)

        assert missing.value.hint == "vlm use list kol-a"


def test_a_voice_whose_purge_is_open_cannot_be_claimed(folder: Path, monkeypatch) -> None:
    with session(folder, now=NOW) as rooms:
        purges._begin(preview(AUDIO, rooms=rooms), rooms=rooms)

        with pytest.raises(Refused, match="begun and is not finished"):
            add_use("kol-a", where=PLACE, rooms=rooms)


def test_a_rehearsal_changes_nothing(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, rooms=rooms, dry_run=True)
        assert claims(rooms) == []
        add_use("kol-a", where=PLACE, rooms=rooms)
        remove_use("kol-a", where=PLACE, rooms=rooms, dry_run=True)
        assert claims(rooms) == [("kol-a", PLACE, False)]


def test_claims_are_on_the_trail_with_the_place_sealed(folder: Path) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, rooms=rooms)
        remove_use("kol-a", where=PLACE, rooms=rooms)
        with rooms.registry.read() as uow:
            told = [(e.event.verb, uow.trail.details(e), e.leaf) for e in uow.trail.stored()][-2:]

        assert [(verb, details["where"]) for verb, details, _ in told] == [
            ("use.add", PLACE),
            ("use.remove", PLACE),
        ]
        assert all(PLACE.encode() not in leaf for *_, leaf in told)


def test_a_hold_is_named_before_a_claim(folder: Path) -> None:
    """A hold outranks everything: whoever drops the claim first would only meet the hold next."""
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=PLACE, rooms=rooms)
        hold("kol-a", reason="case 7", rooms=rooms)

        with pytest.raises(Refused, match="hold"):
            preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO, even_if_used=True), rooms=rooms)


@pytest.mark.parametrize(
    "place",
    ["", "  ", " k8s://prod", "a" * 256, "k8s://prod\n/tts", "k8s://prod\x1b[2J", "prod\u202egpj", "a\u2028b",
     "https://user:secret@example.com/tts", "https://token@example.com", "https://example.com/?api_key=1",
     "redis://:secret@cache:6379/0"],
)  # fmt: skip
def test_a_place_is_bounded_printable_text_without_credentials(folder: Path, place: str) -> None:
    with session(folder, now=NOW) as rooms:
        with pytest.raises(UsageError) as refused:
            add_use("kol-a", where=place, rooms=rooms)

        assert "secret" not in str(refused.value)
        assert claims(rooms) == []


@pytest.mark.parametrize("place", ["k8s://prod/tts", "生产/配音", "mail someone@example.com", "a" * 255])
def test_anything_else_is_a_place(folder: Path, place: str) -> None:
    with session(folder, now=NOW) as rooms:
        add_use("kol-a", where=place, rooms=rooms)
        assert claims(rooms) == [("kol-a", place, False)]


@pytest.mark.parametrize("term", ["", "24", "h", "0h", "-1d", "1.5h", "99999d", "1 d", "1y", "24H"])
def test_a_term_is_hours_days_or_weeks(folder: Path, term: str) -> None:
    with session(folder, now=NOW) as rooms, pytest.raises(UsageError):
        add_use("kol-a", where=PLACE, term=term, rooms=rooms)
