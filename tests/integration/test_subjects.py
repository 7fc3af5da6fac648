"""People, what they agreed to, and what happens from the second in which they take it back."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import Held, NotFound, Refused, UnreadableFile, UsageError
from lifecycle.domain.subjects import SCOPES, USES
from lifecycle.domain.voices import State
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.services.audits.audit import audit
from lifecycle.services.doctor import examine
from lifecycle.services.guard import check_use, may, refusal
from lifecycle.services.hold import hold, unhold
from lifecycle.services.people.cases import close_case, list_cases, show_case
from lifecycle.services.people.consent import Consented, ConsentRequest, add_consent
from lifecycle.services.people.export import export_subject
from lifecycle.services.people.shelf import PeopleFilter, list_subjects, show_subject
from lifecycle.services.people.subjects import add_subject
from lifecycle.services.people.withdraw import Withdrawn, WithdrawRequest, withdraw
from lifecycle.services.purges.purge import PurgeRequest, preview, purge
from lifecycle.services.registration.preview import preview as rehearse
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from lifecycle.services.states import restore
from lifecycle.services.trail import verify_trail
from lifecycle.services.train import train
from tests.files import recordings, speaker, weights
from tests.rooms import session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)


def paper(folder: Path, text: str = "I agree") -> Path:
    path = folder / f"{abs(hash(text))}.pdf"
    path.write_bytes(b"%PDF " + text.encode())
    return path


def person(rooms: Rooms, told: str = "10042") -> str:
    added = add_subject(told, contact=None, rooms=rooms)
    assert added.subject is not None
    return added.subject


def agree(folder: Path, rooms: Rooms, who: str, text: str = "I agree", **terms: object) -> Consented:
    request = ConsentRequest(who, paper(folder, text), **terms)  # type: ignore[arg-type]
    return add_consent(request, rooms=rooms)


def voice(folder: Path, rooms: Rooms, who: str, name: str = "kol-a", *, seed: int = 1) -> None:
    request = RegisterRequest(
        name,
        weights=(weights(folder / f"{name}.st", seed=seed),),
        embedding=speaker(folder / f"{name}.sp", seed=seed),
        audio=(recordings(folder / name, seed=seed, count=1),),
        subject=who,
    )
    register(request, rooms=rooms)


def take_back(rooms: Rooms, who: str, *, received: date = TODAY, **more: str) -> Withdrawn:
    return withdraw(WithdrawRequest(who, received, **more), rooms=rooms)


def allowed(rooms: Rooms, name: str) -> set[str]:
    with rooms.registry.read() as uow:
        found = uow.voices.get(name)
        return {verb for verb in USES if may(found, verb, uow=uow, now=rooms.clock())}


def held_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "home").rglob("*") if path.is_file())


# People


def test_a_person_is_added_once_and_found_by_id_and_by_pseudonym(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        first = add_subject(" Lin Example ", contact="lin@example.org", rooms=rooms)
        again = add_subject("lin example", contact=None, rooms=rooms)

        assert (first.created, again.created) == (True, False)
        assert again.subject == first.subject
        assert show_subject(str(first.subject), rooms=rooms).label is None
        revealed = show_subject("Lin Example", rooms=rooms, reveal=True)
        assert (revealed.label, revealed.contact) == ("Lin Example", "lin@example.org")

    assert b"Example" not in held_bytes(tmp_path)
    assert b"lin@example" not in held_bytes(tmp_path)


def test_rehearsing_adds_nobody(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        assert add_subject("10042", contact="x", rooms=rooms, dry_run=True).subject is None
        assert list_subjects(PeopleFilter(), rooms=rooms).people == ()


@pytest.mark.parametrize("told", ["", "  ", "x" * 201])
def test_an_id_has_a_size(tmp_path: Path, told: str) -> None:
    with session(tmp_path, now=NOW) as rooms, pytest.raises(UsageError):
        add_subject(told, contact=None, rooms=rooms)


@pytest.mark.parametrize("contact", ["", "a\nb", "x" * 501])
def test_a_contact_is_one_printable_line(tmp_path: Path, contact: str) -> None:
    with session(tmp_path, now=NOW) as rooms, pytest.raises(UsageError):
        add_subject("10042", contact=contact, rooms=rooms)


def test_an_unknown_id_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms, pytest.raises(NotFound) as caught:
        show_subject("Lin Example", rooms=rooms)
    assert "Lin" not in caught.value.message


def test_people_come_in_pages_and_by_what_is_asked_for(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        names = [person(rooms, f"id {number}") for number in range(5)]
        agree(tmp_path, rooms, names[1], ends=date(2026, 12, 31))
        voice(tmp_path, rooms, names[2])
        take_back(rooms, names[2])
        hold(names[3], reason="case 7", rooms=rooms)

        def listed(wanted: PeopleFilter = PeopleFilter(), **paging: object) -> list[str]:
            page = list_subjects(wanted, rooms=rooms, **paging)  # type: ignore[arg-type]
            return [each.row.pseudonym for each in page.people]

        assert listed() == names
        assert listed(limit=2) == names[:2]
        assert listed(after=names[1], limit=2) == names[2:4]
        assert list_subjects(PeopleFilter(), rooms=rooms, limit=2).next == (
            f"vlm subject list --limit 2 --after {names[1]}"
        )
        assert listed(PeopleFilter(open_case=True)) == [names[2]]
        assert listed(PeopleFilter(voice="kol-a")) == [names[2]]
        assert listed(PeopleFilter(held=True)) == [names[3]]
        assert listed(PeopleFilter(without_consent=True)) == [names[0], *names[2:]]
        assert listed(PeopleFilter(ends_before=datetime(2027, 1, 1, tzinfo=UTC))) == [names[1]]


def test_a_page_costs_as_many_queries_for_fifty_people_as_for_one(tmp_path: Path) -> None:
    from sqlalchemy import event

    with session(tmp_path, now=NOW) as rooms:
        person(rooms, "first")

        def cost() -> int:
            seen: list[str] = []

            def note(_conn, _cursor, statement, *_more) -> None:
                seen.append(statement)

            with rooms.registry.read() as uow:
                engine = uow._connection.engine
                event.listen(engine, "before_cursor_execute", note)
                try:
                    uow.people.page(PeopleFilter(), now=NOW)
                finally:
                    event.remove(engine, "before_cursor_execute", note)
            return len(seen)

        one = cost()
        for number in range(49):
            person(rooms, f"id {number}")

        assert cost() == one


# Consents


def test_a_consent_allows_what_its_scope_says_and_nothing_else(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who, scope="train,speak")
        voice(tmp_path, rooms, who)

        assert allowed(rooms, "kol-a") == {"speak", "train", "golden", "verify", "restore"}
        with rooms.registry.read() as uow:
            found = refusal(uow.voices.get("kol-a"), "export", uow=uow, now=NOW)
        assert found is not None
        assert 'covers "export" today; they agreed to speak,train' in found.message


def test_a_use_that_the_guard_does_not_know_is_refused(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        register(RegisterRequest("mine", weights=(weights(tmp_path / "w"),), own_voice=True), rooms=rooms)
        with rooms.registry.read() as uow, pytest.raises(Refused, match="no use of a voice"):
            check_use(uow.voices.get("mine"), "sing", uow=uow, now=NOW)


def test_a_consent_for_all_voices_covers_those_to_come(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)

        voice(tmp_path, rooms, who)

        assert "speak" in allowed(rooms, "kol-a")


def test_a_consent_for_one_voice_says_nothing_about_another(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who, "kol-a", seed=1)
        voice(tmp_path, rooms, who, "kol-b", seed=2)

        agree(tmp_path, rooms, who, voice="kol-a")

        assert "speak" in allowed(rooms, "kol-a")
        assert allowed(rooms, "kol-b") == set()


def test_a_consent_begins_and_ends_on_its_days(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who, begins=date(2026, 12, 1), ends=date(2026, 12, 31))
        voice(tmp_path, rooms, who)
        assert allowed(rooms, "kol-a") == set()

    for moment, speaks in (
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 12, 1, tzinfo=UTC), True),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2027, 1, 1, tzinfo=UTC), False),
    ):
        with session(tmp_path, now=moment) as rooms:
            assert ("speak" in allowed(rooms, "kol-a")) is speaks, moment


@pytest.mark.parametrize(
    "terms",
    [
        {"begins": date(2027, 2, 1), "ends": date(2027, 1, 1)},
        {"ends": date(2026, 11, 23)},
        {"scope": "sing"},
        {"scope": ""},
    ],
    ids=str,
)
def test_an_impossible_consent_leaves_nothing_behind(tmp_path: Path, terms) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        before = list(rooms.vault.blobs)

        with pytest.raises(UsageError):
            agree(tmp_path, rooms, who, **terms)

        assert list(rooms.vault.blobs) == before
        assert show_subject(who, rooms=rooms).consents == ()


def test_an_empty_paper_is_no_consent(tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").write_bytes(b"")
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        with pytest.raises(UnreadableFile, match="is empty"):
            add_consent(ConsentRequest(who, tmp_path / "empty.pdf"), rooms=rooms)
        with pytest.raises(NotFound):
            add_consent(ConsentRequest(who, tmp_path / "nothing.pdf"), rooms=rooms)


def test_the_paper_lies_sealed_and_is_found_again(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        first = agree(tmp_path, rooms, who, "signed by Ann Example", scope="speak")
        again = agree(tmp_path, rooms, who, "signed by Ann Example", scope="speak")
        other = agree(tmp_path, rooms, who, "signed by Ann Example", scope="train")

        assert (first.created, again.created, other.created) == (True, False, True)
        assert again.consent.uid == first.consent.uid

    assert b"Ann Example" not in held_bytes(tmp_path)


def test_a_renewal_takes_the_place_of_a_consent_and_both_stay_on_record(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who, scope="speak", ends=date(2026, 12, 31))
        voice(tmp_path, rooms, who)

        renewed = agree(tmp_path, rooms, who, "again", scope="train", ends=date(2027, 12, 31), renews="last")

        old, new = show_subject(who, rooms=rooms).consents
        assert (old["renewed"], old["holds"], new["holds"]) == (True, False, True)
        assert new["renews"] == old["consent"]
        assert renewed.consent.renews_uid is not None
        assert allowed(rooms, "kol-a") == {"train", "restore"}


def test_the_audit_counts_the_end_of_the_newer_consent(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who, ends=date(2099, 12, 31))
        voice(tmp_path, rooms, who)
        agree(tmp_path, rooms, who, "again", ends=TODAY + 5 * DAY, renews="last")

        report = audit(rooms=rooms, commands=frozenset({"vlm register"}))

        assert "consent-due-soon" in {finding.risk.risk for finding in report.findings}


@pytest.mark.parametrize("renews", ["last", "0123456789ab", "%", "x' or 1"])
def test_there_must_be_a_consent_to_renew(tmp_path: Path, renews: str) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        with pytest.raises(NotFound):
            agree(tmp_path, rooms, who, renews=renews)


def test_a_consent_for_the_voice_of_another_person_is_refused(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who, other = person(rooms, "1"), person(rooms, "2")
        voice(tmp_path, rooms, who)
        with pytest.raises(UsageError, match="does not belong"):
            agree(tmp_path, rooms, other, voice="kol-a")


def test_register_takes_the_scope_and_the_first_day_of_a_consent(tmp_path: Path) -> None:
    request = RegisterRequest(
        "kol-a",
        weights=(weights(tmp_path / "w"),),
        subject="10042",
        consents=(paper(tmp_path),),
        consent_scope="speak",
        consent_from=date(2026, 12, 1),
    )
    with session(tmp_path, now=NOW) as rooms:
        register(request, rooms=rooms)
        assert allowed(rooms, "kol-a") == set()
    with session(tmp_path, now=datetime(2026, 12, 1, tzinfo=UTC)) as rooms:
        assert allowed(rooms, "kol-a") == {"speak", "golden", "verify", "restore"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"consent_scope": "sing"},
        {"consent_from": date(2027, 2, 1), "consent_until": date(2027, 1, 1)},
        {"consents": (), "consent_scope": "speak"},
        {"consents": (), "consent_from": date(2027, 2, 1)},
    ],
    ids=str,
)
def test_register_refuses_a_consent_that_never_holds(tmp_path: Path, wrong) -> None:
    request = RegisterRequest(
        "kol-a", weights=(weights(tmp_path / "w"),), subject="10042", consents=(paper(tmp_path),)
    )
    with session(tmp_path, now=NOW) as rooms, pytest.raises(UsageError):
        register(replace(request, **wrong), rooms=rooms)


# Withdrawal


def test_from_the_second_of_a_withdrawal_nothing_may_be_done(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)
        assert allowed(rooms, "kol-a") == set(USES)

        done = take_back(rooms, who, reference="T-2231")

        assert allowed(rooms, "kol-a") == set()
        assert (done.created, done.consents, done.case.due_on) == (True, 1, date(2026, 12, 24))
        assert [step.command for step in done.steps] == [
            "vlm retire kol-a --purge-audio --basis withdrawal --request T-2231",
            "vlm erase kol-a --basis withdrawal --request T-2231",
        ]


def test_withdrawing_again_finds_the_open_case(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)
        first = take_back(rooms, who, reference="T-2231")

        again = take_back(rooms, who, received=TODAY - DAY)

        assert (again.created, again.case.uid) == (False, first.case.uid)
        assert again.case.received_on == TODAY
        assert again.reference == "T-2231"
        assert len(list_cases(rooms=rooms).cases) == 1


def test_rehearsing_a_withdrawal_blocks_nothing(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)

        planned = withdraw(WithdrawRequest(who, TODAY), rooms=rooms, dry_run=True)

        assert planned.to_json()["case"] is None
        assert planned.consents == 1
        assert allowed(rooms, "kol-a") == set(USES)
        assert list_cases(rooms=rooms).cases == ()


def test_a_withdrawal_for_one_voice_leaves_the_others_alone(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who, "kol-a", seed=1)
        voice(tmp_path, rooms, who, "kol-b", seed=2)

        case = take_back(rooms, who, voice="kol-a").case
        assert allowed(rooms, "kol-a") == set()
        assert allowed(rooms, "kol-b") == set(USES)

        close_case(case.uid, reason="done elsewhere", rooms=rooms)
        assert allowed(rooms, "kol-a") == set(), "the consent for all voices no longer covers this one"


def test_nothing_of_a_person_who_withdrew_is_taken_in(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)
        case = take_back(rooms, who).case
        stored = set(rooms.vault.blobs)
        takes = recordings(tmp_path / "new", seed=9, count=1)
        newer = paper(tmp_path, "newer")

        attempts = [
            RegisterRequest("kol-a", audio=(takes,)),
            RegisterRequest("kol-a", consents=(newer,)),
            RegisterRequest("kol-new", weights=(weights(tmp_path / "n", seed=8),), subject=who),
        ]
        for request in attempts:
            with pytest.raises(Refused, match="the case is open"):
                register(request, rooms=rooms)
        with pytest.raises(Refused, match="the case is open"):
            rehearse(attempts[0], rooms=rooms)
        with pytest.raises(Refused, match="the case is open"):
            agree(tmp_path, rooms, who, "newer")
        with pytest.raises(Refused, match="the case is open"):
            train(RegisterRequest("kol-new", audio=(takes,), subject=who, consents=(newer,)), rooms=rooms)

        close_case(case.uid, reason="a new contract", rooms=rooms)
        with pytest.raises(Refused, match="before there is a newer one"):
            register(attempts[0], rooms=rooms)
        with pytest.raises(Refused, match="before there is a newer one"):
            register(attempts[2], rooms=rooms)
        with pytest.raises(Refused, match="no consent of the person"):
            train(RegisterRequest("kol-new", audio=(takes,), subject=who), rooms=rooms)
        assert set(rooms.vault.blobs) == stored

    with session(tmp_path, now=NOW + DAY) as rooms:
        agree(tmp_path, rooms, who, "newer")
        register(attempts[0], rooms=rooms)
        assert allowed(rooms, "kol-a") == set(USES)


def test_recordings_of_a_person_who_withdrew_are_recognised_whoever_they_are_said_to_be(
    tmp_path: Path,
) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)
        takes = tmp_path / "kol-a"
        mine = RegisterRequest("mine", weights=(weights(tmp_path / "m"),), audio=(takes,), own_voice=True)
        take_back(rooms, who)
        stored = set(rooms.vault.blobs)

        for attempt in (mine, replace(mine, own_voice=False, subject="somebody else")):
            with pytest.raises(Refused, match="who withdrew"):
                register(attempt, rooms=rooms)
        with pytest.raises(Refused, match="who withdrew"):
            train(RegisterRequest("mine", audio=(takes,), own_voice=True), rooms=rooms)
        assert set(rooms.vault.blobs) == stored


def test_doctor_misses_a_paper_that_is_gone(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        for digest in list(rooms.vault.blobs):
            rooms.vault.blobs.remove(digest)

        found = [finding.message for finding in examine(rooms, repair=False).findings]

        assert f"a paper that proves a consent of {who} is missing from the store" in found


def test_the_paper_of_a_consent_that_was_withdrawn_is_no_newer_consent(tmp_path: Path) -> None:
    given = RegisterRequest(
        "kol-a", weights=(weights(tmp_path / "w"),), subject="10042", consents=(paper(tmp_path),)
    )
    with session(tmp_path, now=NOW) as rooms:
        register(given, rooms=rooms)
        case = take_back(rooms, "10042").case
        close_case(case.uid, reason="a mistake", rooms=rooms)

    with session(tmp_path, now=NOW + DAY) as rooms:
        with pytest.raises(Refused, match="that was withdrawn"):
            agree(tmp_path, rooms, "10042", ends=date(2030, 1, 1))
        with pytest.raises(Refused, match="that was withdrawn"):
            register(replace(given, consent_until=date(2030, 1, 1)), rooms=rooms)
        with pytest.raises(Refused, match="consent was withdrawn"):
            restore_retired(rooms)


def restore_retired(rooms: Rooms) -> None:
    with rooms.registry.write() as uow:
        uow.voices.update(replace(uow.voices.get("kol-a"), state=State.RETIRED))
        uow.commit()
    restore("kol-a", rooms=rooms)


def test_ones_own_voice_can_be_withdrawn_too(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        done = register(
            RegisterRequest("mine", weights=(weights(tmp_path / "w"),), own_voice=True), rooms=rooms
        )
        assert done.subject is not None
        assert allowed(rooms, "mine") == set(USES)

        take_back(rooms, done.subject)

        assert allowed(rooms, "mine") == set()


def test_work_that_began_before_a_withdrawal_is_void(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        with rooms.registry.read() as uow:
            found = uow.subjects.by_pseudonym(who)
        assert found is not None
        take_back(rooms, who)
        stored = set(rooms.vault.blobs)

    with session(tmp_path, now=NOW + DAY) as rooms:
        agree(tmp_path, rooms, who, "newer")
        stored = set(rooms.vault.blobs)
        made = RegisterRequest("kol-a", weights=(weights(tmp_path / "w"),), subject=who)
        with pytest.raises(Refused, match="withdrawn meanwhile"):
            register(made, rooms=rooms, generations_before={found.uid: found.generation})
        assert set(rooms.vault.blobs) == stored


@pytest.mark.parametrize("received", [TODAY + DAY, date(2019, 1, 1)])
def test_a_request_of_an_impossible_day_is_refused(tmp_path: Path, received: date) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        with pytest.raises(UsageError):
            take_back(rooms, who, received=received)
        assert list_cases(rooms=rooms, everything=True).cases == ()


def test_a_person_on_whom_nothing_depends_has_a_case_that_is_done_at_once(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)

        done = take_back(rooms, who)

        assert done.done
        assert list_cases(rooms=rooms).cases == ()
        with pytest.raises(Refused, match="before there is a newer one"):
            voice(tmp_path, rooms, who)


def test_another_term_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "vlm.toml").write_text('case_term = "P45D"\n', encoding="utf-8")
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)

        assert take_back(rooms, who, received=date(2026, 11, 1)).case.due_on == date(2026, 12, 16)


def test_a_term_that_is_no_period_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "vlm.toml").write_text('case_term = "soon"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="case_term"), session(tmp_path, now=NOW):
        pass


# Cases, holds, purges


def test_a_case_closes_by_itself_when_the_last_thing_is_gone(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)
        case = take_back(rooms, who, reference="T-2231").case

        for verb in (PurgeVerb.PURGE_AUDIO, PurgeVerb.ERASE):
            assert show_case(case.uid[:12], rooms=rooms).listed.row.case.closed_at is None
            purge(preview(PurgeRequest("kol-a", verb, basis="withdrawal"), rooms=rooms), rooms=rooms)

        shown = show_case(case.uid[:12], rooms=rooms)
        assert shown.to_json()["outcome"] == "done"
        assert shown.steps == ()
        assert verify_trail(rooms=rooms).problems == ()
        assert [each.row.known for each in list_subjects(PeopleFilter(), rooms=rooms).people] == [False]


def test_the_paper_of_a_person_is_kept_as_evidence_and_the_purge_says_so(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who, ends=date(2026, 12, 31))
        voice(tmp_path, rooms, who)
        take_back(rooms, who)

        planned = preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO, basis="withdrawal"), rooms=rooms)

        kept = [node for node in planned.plan.kept if node.basis == "evidence of consent"]
        assert len(kept) == 1
        assert kept[0].until is not None


def test_a_hold_outranks_a_withdrawal_and_lifting_it_makes_it_due(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)
        hold("kol-a", reason="case 7", rooms=rooms)

        done = take_back(rooms, who)

        assert allowed(rooms, "kol-a") == set(), "held or not, nothing is done with the voice"
        assert done.to_json()["retained"] == [
            {"voice": "kol-a", "basis": "hold", "until": "until the hold is released"}
        ]
        assert {step.waits_for for step in done.steps} == {"vlm unhold kol-a"}
        with pytest.raises(Held):
            preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO), rooms=rooms)
        assert unhold("kol-a", rooms=rooms).due == (f"vlm subject case show {done.case.uid[:12]}",)
        assert {step.waits_for for step in show_case(done.case.uid, rooms=rooms).steps} == {""}


def test_a_hold_on_the_person_is_lifted_at_the_person(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)
        hold(who, reason="case 7", rooms=rooms)

        steps = take_back(rooms, who).steps

        assert {step.waits_for for step in steps} == {f"vlm unhold {who}"}


def test_a_hold_is_never_open_ended(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        assert hold(who, reason="case 7", rooms=rooms).review_on == TODAY + timedelta(days=365)
        assert hold(who, reason="case 8", rooms=rooms, review=TODAY + DAY).review_on == TODAY + DAY
        with pytest.raises(UsageError, match="after today"):
            hold(who, reason="case 9", rooms=rooms, review=TODAY)


def test_the_audit_names_a_case_that_is_overdue_and_a_hold_to_be_reviewed(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)
        take_back(rooms, who)
        hold("kol-a", reason="case 7", rooms=rooms, review=TODAY + 3 * DAY)

    def risks(moment: datetime) -> set[str]:
        with session(tmp_path, now=moment) as rooms:
            report = audit(rooms=rooms, commands=frozenset({"vlm subject show", "vlm unhold"}))
            return {finding.risk.risk for finding in report.findings}

    assert risks(NOW + DAY) & {"case-due", "case-overdue", "hold-review"} == set()
    assert {"case-due", "hold-review"} <= risks(NOW + 28 * DAY)
    assert "case-overdue" in risks(NOW + 31 * DAY)


@pytest.mark.parametrize("told", ["", "0000", "zzzzzzzz", "%%%%%%%%", "00000000", "x' or 'a'='a"])
def test_a_case_that_does_not_exist_is_not_found(tmp_path: Path, told: str) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)
        take_back(rooms, who)
        for ask in (lambda: show_case(told, rooms=rooms), lambda: close_case(told, reason="x", rooms=rooms)):
            with pytest.raises(NotFound):
                ask()


def test_a_case_is_closed_once_and_with_a_reason(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)
        case = take_back(rooms, who).case.uid
        with pytest.raises(UsageError):
            close_case(case, reason=" ", rooms=rooms)
        assert close_case(case, reason="why", rooms=rooms, dry_run=True).dry_run
        assert close_case(case, reason="the word of Ann Example", rooms=rooms).left > 0
        with pytest.raises(Refused, match="closed already"):
            close_case(case, reason="why", rooms=rooms)

    assert b"Ann Example" not in held_bytes(tmp_path)


def test_a_purge_for_a_withdrawal_ends_consents_for_all_voices_too(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who)
        voice(tmp_path, rooms, who)
        purge(
            preview(PurgeRequest("kol-a", PurgeVerb.PURGE_AUDIO, basis="withdrawal"), rooms=rooms),
            rooms=rooms,
        )

        with pytest.raises(Refused, match="consent was withdrawn"):
            restore("kol-a", rooms=rooms)


# What a person gets


def exported(folder: Path, rooms: Rooms, who: str, *, recordings: bool = True) -> zipfile.ZipFile:
    out = folder / f"export-{who}-{recordings}.zip"
    export_subject(who, out=out, rooms=rooms, with_recordings=recordings)
    assert out.stat().st_mode & 0o777 == 0o600
    return zipfile.ZipFile(out)


def test_an_export_holds_everything_of_the_person_and_nothing_of_another(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        mine, other = person(rooms, "Lin Example"), person(rooms, "Ann Other")
        agree(tmp_path, rooms, mine, "signed by Lin")
        agree(tmp_path, rooms, other, "signed by Ann")
        voice(tmp_path, rooms, mine, "kol-a", seed=1)
        voice(tmp_path, rooms, other, "kol-b", seed=2)
        hold("kol-a", reason="the case of Ann Other", rooms=rooms)

        with exported(tmp_path, rooms, mine) as archive:
            names = set(archive.namelist())
            record = json.loads(archive.read("record.json"))
            everything = b"".join(archive.read(name) for name in names)
            (clip,) = [name for name in names if name.startswith("recordings/")]
            heard = archive.read(clip)

        assert heard == next((tmp_path / "kol-a").iterdir()).read_bytes()
        assert record["id"] == "Lin Example"
        assert [each["name"] for each in record["voices"]] == ["kol-a"]
        assert [each["what"] for each in record["events"]] == ["subject.add", "consent", "register", "hold"]
        assert b"%PDF signed by Lin" in everything
        for secret in (b"Ann", b"kol-b", other.encode()):
            assert secret not in everything
        assert b"Lin Example" in everything
        left = rooms.settings.home / "work"
        assert list(left.iterdir()) == [], "what was decrypted is gone"


def test_recordings_are_exported_only_where_they_are_asked_for(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        voice(tmp_path, rooms, who)

        with exported(tmp_path, rooms, who, recordings=False) as archive:
            names, record = archive.namelist(), json.loads(archive.read("record.json"))

        assert not [name for name in names if name.startswith("recordings/")]
        assert any("not asked for" in line for line in record["not_included"])


def test_an_export_page_cannot_be_made_to_run_something(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms, "<script>alert(1)</script>")
        with exported(tmp_path, rooms, who) as archive:
            page = archive.read("index.html").decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_an_export_leaves_a_file_that_is_there_as_it_is(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        (tmp_path / "there.zip").write_bytes(b"mine")
        with pytest.raises(Refused, match="exists"):
            export_subject(who, out=tmp_path / "there.zip", rooms=rooms)
        assert (tmp_path / "there.zip").read_bytes() == b"mine"
        assert export_subject(who, out=tmp_path / "new.zip", rooms=rooms, dry_run=True).size_bytes == 0
        assert not (tmp_path / "new.zip").exists()


def test_what_may_be_done_with_each_voice_is_shown(tmp_path: Path) -> None:
    with session(tmp_path, now=NOW) as rooms:
        who = person(rooms)
        agree(tmp_path, rooms, who, scope="speak,publish")
        voice(tmp_path, rooms, who)

        (shown,) = show_subject(who, rooms=rooms).to_json()["voices"]  # type: ignore[misc]

        assert shown["allowed"] == ["speak", "publish"]
        assert set(shown["allowed"]) <= set(SCOPES)
