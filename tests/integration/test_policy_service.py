"""A policy on a real registry: planned, noticed, applied, refused, and finished after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.api import Lifecycle
from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.errors import IntegrityError, NotFound, Refused
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.uses import Claim
from lifecycle.domain.voices import State
from lifecycle.services.hold import hold, unhold
from lifecycle.services.purges.receipts import check_receipt
from lifecycle.services.registration.register import RegisterRequest, register
from lifecycle.services.retention.apply import Permission, apply
from lifecycle.services.retention.explain import due_at_once, explain_voice
from lifecycle.services.retention.files import load_policy
from lifecycle.services.retention.outcome import Applied
from lifecycle.services.retention.plan import PolicyPlan, make_plan, plan_id_of
from lifecycle.services.retention.scheduled import AppliedSummary, apply_scheduled
from lifecycle.services.retention.survey import survey
from lifecycle.services.retire import retire
from lifecycle.services.session import open_session
from tests.files import recordings, weights
from tests.policies import POLICY
from tests.rooms import change, session, settings_of

# The registry is made by a clock that tells the real time, so what is to be due lies ahead of it.
START = datetime(2031, 3, 1, 12, tzinfo=UTC)
DUE = datetime(2032, 3, 2, tzinfo=UTC)
MODEL = """\
  - id: model
    applies_to:
      classes: [model]
    time_base: retired_at
    if_time_base_missing: treat_as_oldest_known
    delete_after: P30D
    action: erase
"""
NAMES = ("ann", "bob", "cid")
PAIR = ("ann", "bob")


class Crash(BaseException):
    """What a kill is to everything but the operating system."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three voices with recordings under the policy, and one that never had any."""
    folder = tmp_path_factory.mktemp("policies")
    write(folder, POLICY)
    with session(folder, now=START) as rooms:
        for number, name in enumerate(NAMES):
            files = recordings(folder / f"takes-{name}", seed=number)
            model = weights(folder / f"{name}.safetensors", seed=number)
            request = RegisterRequest(
                name, weights=(model,), audio=(files,), own_voice=True, owner=f"team-{name}", policy="mine"
            )
            register(request, rooms=rooms)
        plain = weights(folder / "plain.safetensors", seed=99)
        register(RegisterRequest("plain", weights=(plain,), policy="mine"), rooms=rooms)
    pass_time(folder, DUE)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    for part in ("home", "keys", "policies"):
        shutil.copytree(template / part, tmp_path / part)
    return tmp_path


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm(None)


def write(folder: Path, text: str) -> None:
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "mine.yaml").write_text(text)


def pass_time(folder: Path, until: datetime) -> None:
    """Let the registry see a later day, as somebody who works with it every day does."""
    with session(folder, now=until) as rooms, rooms.registry.write() as uow:
        uow.trail.append("audit")
        uow.commit()


def planned(folder: Path, now: datetime = DUE, **wanted: object) -> PolicyPlan:
    with session(folder, now=now) as rooms:
        return make_plan(rooms, "mine", VoiceFilter(**wanted))  # type: ignore[arg-type]


def applied(folder: Path, plan: PolicyPlan, now: datetime = DUE, **more: object) -> Applied:
    with session(folder, now=now) as rooms:
        permission = Permission(over_limit=plan.short, **more)  # type: ignore[arg-type]
        return apply(plan.short, rooms=rooms, permission=permission)


def by_timer(folder: Path, now: datetime = DUE) -> AppliedSummary:
    with session(folder, now=now) as rooms:
        return apply_scheduled("mine", rooms)


def acts(plan: PolicyPlan) -> list[tuple[str, str]]:
    return [(each.voice, each.does.value) for each in plan.survey.acts]


def waits(plan: PolicyPlan) -> dict[str, str]:
    return {each.voice: each.status.value for each in plan.survey.waits}


def left(folder: Path, name: str) -> set[str]:
    """The classes of what a voice still has."""
    with session(folder) as rooms, rooms.registry.read() as uow:
        voice = uow.voices.find(name)
        return set() if voice is None else {a.data_class.value for a in uow.voices.artifacts(voice.uid)}


def verbs(folder: Path) -> list[str]:
    with session(folder) as rooms, rooms.registry.read() as uow:
        return [stored.event.verb for stored in uow.trail.stored()]


def in_use(rooms: Rooms, name: str) -> None:
    with rooms.registry.write() as uow:
        uow.uses.add(Claim(rooms.new_uid(), uow.voices.get(name).uid, "k8s://prod/tts", rooms.clock()))
        uow.commit()


def test_a_plan_says_what_applying_it_does_and_applying_it_does_that(folder: Path) -> None:
    plan = planned(folder)
    assert acts(plan) == [(name, "purge_audio") for name in NAMES]
    assert plan.survey.matched == 4

    done = applied(folder, plan)

    assert [(each.voice, each.action.value) for each in done.outcomes] == acts(plan)
    assert {each.result for each in done.outcomes} == {"done"}
    assert done.exit_code == 0
    for name in NAMES:
        assert left(folder, name) == {"model"}
    assert left(folder, "plain") == {"model"}
    assert verbs(folder)[-1] == "policy.applied"


def test_each_purge_leaves_a_receipt_whose_basis_is_the_policy(folder: Path) -> None:
    done = applied(folder, planned(folder, names=("ann",)))

    for each in done.outcomes:
        assert each.certificate is not None
        assert check_receipt(each.certificate).receipt.basis == "policy"


def test_an_instant_before_nothing_is_due(folder: Path) -> None:
    with session(folder, now=DUE) as rooms, rooms.registry.read() as uow:
        rules = load_policy("mine", own=folder / "policies")
        before = survey(rules, VoiceFilter(policy="mine"), uow=uow, now=DUE - timedelta(microseconds=1))
        after = survey(rules, VoiceFilter(policy="mine"), uow=uow, now=DUE)

    assert (len(before.acts), len(after.acts)) == (0, 3)


def test_a_plan_is_about_the_voices_that_are_meant(folder: Path) -> None:
    assert acts(planned(folder, names=("bob",))) == [("bob", "purge_audio")]
    assert acts(planned(folder, owner="team-cid")) == [("cid", "purge_audio")]
    assert acts(planned(folder, states=(State.RETIRED,))) == []
    with pytest.raises(NotFound):
        planned(folder, names=("nobody",))


def test_a_plan_is_the_same_twice(folder: Path) -> None:
    one, two = planned(folder), planned(folder)

    assert one.survey == two.survey
    assert one.uid != two.uid


def test_a_held_or_used_voice_stays_and_is_due_again_when_that_ends(folder: Path) -> None:
    with session(folder, now=DUE) as rooms:
        hold("ann", reason="case 7", rooms=rooms)
        in_use(rooms, "bob")

    plan = planned(folder)

    assert acts(plan) == [("cid", "purge_audio")]
    assert waits(plan) == {"ann": "held", "bob": "in_use"}
    applied(folder, plan)
    assert left(folder, "ann") == {"source", "model"}
    with session(folder, now=DUE) as rooms:
        unhold("ann", rooms=rooms)
    assert acts(planned(folder)) == [("ann", "purge_audio")]


def test_a_hold_that_comes_after_the_plan_refuses_the_whole_plan(folder: Path) -> None:
    plan = planned(folder)
    with session(folder, now=DUE) as rooms:
        hold("ann", reason="case 7", rooms=rooms)

    with pytest.raises(Refused, match="something that decides what is due changed"):
        applied(folder, plan)

    assert left(folder, "bob") == {"source", "model"}


@pytest.mark.parametrize("what", ["recordings", "use", "state", "policy", "registered"])
def test_whatever_decides_what_is_due_must_be_as_it_was(folder: Path, what: str) -> None:
    plan = planned(folder)
    with session(folder, now=DUE) as rooms:
        match what:
            case "recordings":
                more = recordings(folder / "more", seed=77)
                register(RegisterRequest("ann", audio=(more,), own_voice=True), rooms=rooms)
            case "use":
                in_use(rooms, "ann")
            case "state":
                retire("ann", rooms=rooms)
            case "policy":
                write(folder, POLICY.replace("P1Y", "P2M").replace("version: 1", "version: 2"))
            case "registered":
                # A new voice that is not due changes nothing of what was planned.
                new = weights(folder / "new.safetensors", seed=7)
                register(RegisterRequest("new", weights=(new,), policy="mine"), rooms=rooms)

    if what == "registered":
        assert len(applied(folder, plan).done) == 3
        return
    with pytest.raises(Refused, match="changed since plan"):
        applied(folder, plan)
    assert left(folder, "bob") == {"source", "model"}


def test_a_plan_is_applied_within_a_day_and_once(folder: Path) -> None:
    plan = planned(folder, names=("ann",))
    late = DUE + timedelta(hours=25)

    with pytest.raises(Refused, match="25 hours old"):
        applied(folder, plan, now=late)
    applied(folder, plan)
    with pytest.raises(Refused, match="was applied"):
        applied(folder, plan)


@pytest.mark.parametrize("hours", [-1, 24 * 365 * 4, 49])
def test_a_clock_that_cannot_be_right_plans_and_deletes_nothing(folder: Path, hours: int) -> None:
    plan = planned(folder)
    wrong = DUE + timedelta(hours=hours)

    with pytest.raises(Refused, match="the clock"):
        planned(folder, now=wrong)
    with pytest.raises(Refused, match="the clock"):
        applied(folder, plan, now=wrong)
    told = by_timer(folder, now=wrong)
    assert told.refused is not None
    assert told.refused.startswith("the clock")
    assert {name: left(folder, name) for name in NAMES} == {name: {"source", "model"} for name in NAMES}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_items_per_run: 5", "max_items_per_run: 2", "3 voices are more than max_items_per_run 2"),
        ("max_bytes_per_run: 1000000000", "max_bytes_per_run: 1", "bytes are more than max_bytes_per_run 1"),
        ("max_fraction_of_store: 1", "max_fraction_of_store: 0.5", "3 of 4 voices are more than"),
    ],
)
def test_a_plan_over_a_limit_is_refused_whole_unless_that_is_typed(
    folder: Path, before: str, after: str, words: str
) -> None:
    write(folder, POLICY.replace(before, after))
    plan = planned(folder)

    with session(folder, now=DUE) as rooms, pytest.raises(Refused, match=words):
        apply(plan.short, rooms=rooms)
    with session(folder, now=DUE) as rooms, pytest.raises(Refused, match=words):
        apply(plan.short, rooms=rooms, permission=Permission(over_limit="yes"))
    told = by_timer(folder)
    assert told.refused is not None
    assert words in told.refused
    assert left(folder, "ann") == {"source", "model"}

    assert len(applied(folder, plan).done) == 3


def test_acting_on_every_voice_or_on_none_needs_a_word_more(folder: Path) -> None:
    everyone = planned(folder, owner="team-ann")
    with session(folder, now=DUE) as rooms, pytest.raises(Refused, match="all 1 voices"):
        apply(everyone.short, rooms=rooms)
    nobody = planned(folder, owner="nobody")
    with session(folder, now=DUE) as rooms, pytest.raises(Refused, match="no voice at all"):
        apply(nobody.short, rooms=rooms)

    assert len(applied(folder, everyone).done) == 1
    assert applied(folder, nobody, empty=True).outcomes == ()


def test_many_voices_at_once_need_somebody_s_name(folder: Path) -> None:
    write(folder, POLICY + "approval:\n  needed_above: 2\n")
    plan = planned(folder)

    with pytest.raises(Refused, match="somebody's approval"):
        applied(folder, plan)
    told = by_timer(folder)
    assert told.refused is not None
    assert "approval" in told.refused

    assert len(applied(folder, plan, approved_by="the board").done) == 3
    with session(folder) as rooms, rooms.registry.read() as uow:
        begun = [s for s in uow.trail.stored() if s.event.verb == "policy.begun"]
        assert [(uow.trail.details(each) or {})["approved_by"] for each in begun] == ["the board"]


NOTICED = POLICY.replace("before: []", "before: [P30D, P7D]")


def test_nothing_is_done_before_its_notice_is_old_enough(folder: Path) -> None:
    write(folder, NOTICED)
    first = planned(folder)
    assert acts(first) == []
    assert waits(first) == dict.fromkeys(NAMES, "notice")
    assert [each.voice for each in first.noticed] == list(NAMES)
    assert planned(folder).noticed == ()

    week = DUE + timedelta(days=7)
    for day in range(1, 8):
        pass_time(folder, DUE + timedelta(days=day) - timedelta(seconds=1))
    assert acts(planned(folder, now=week - timedelta(seconds=1))) == []
    second = planned(folder, now=week)

    assert len(acts(second)) == 3
    assert len(applied(folder, second, now=week).done) == 3
    assert verbs(folder).count("policy.notice") == 6


def test_a_dry_run_gives_no_notice_and_stores_nothing(folder: Path) -> None:
    write(folder, NOTICED)
    before = verbs(folder)

    with session(folder, now=DUE) as rooms:
        plan = make_plan(rooms, "mine", dry_run=True)

    assert plan.uid == ""
    assert waits(plan) == dict.fromkeys(NAMES, "notice")
    assert verbs(folder) == before


def test_a_timer_applies_only_what_a_person_has_planned_once(folder: Path) -> None:
    told = by_timer(folder)
    assert told.refused is not None
    assert 'nobody has planned version 1 of policy "mine"' in told.refused
    assert left(folder, "ann") == {"source", "model"}

    planned(folder)
    done = by_timer(folder)

    assert done.refused is None
    assert done.applied is not None
    assert [each.voice for each in done.applied.done] == list(NAMES)
    assert done.to_json()["done"] == 3
    assert by_timer(folder).applied is None


def test_a_timer_waits_for_a_person_when_the_time_leapt(folder: Path) -> None:
    planned(folder)
    wrong = DUE + timedelta(days=3650)
    pass_time(folder, wrong)

    told = by_timer(folder, now=wrong + timedelta(hours=1))

    assert told.refused is not None
    assert "the time went from 2032-03-02 to 2042-02-28 at once" in told.refused
    assert left(folder, "ann") == {"source", "model"}
    # Whoever plans by hand sees the date.
    planned(folder, now=wrong + timedelta(hours=2))
    assert by_timer(folder, now=wrong + timedelta(hours=3)).refused is None


def test_a_version_means_one_thing_for_ever(folder: Path) -> None:
    planned(folder)
    write(folder, POLICY.replace("P1Y", "P2Y"))
    with pytest.raises(Refused, match="raise its version"):
        planned(folder)

    write(folder, POLICY.replace("P1Y", "P2M").replace("version: 1", "version: 2"))
    assert len(acts(planned(folder))) == 3
    write(folder, POLICY)
    with pytest.raises(Refused, match="version 2 was planned before"):
        planned(folder)


def test_a_longer_policy_gives_nothing_back_that_was_due(folder: Path) -> None:
    planned(folder)
    write(folder, POLICY.replace("P1Y", "P9Y").replace("version: 1", "version: 2"))

    plan = planned(folder)

    assert len(acts(plan)) == 3
    assert "version 1 allowed 1 year, and that still counts" in plan.survey.acts[0].decision.because
    assert len(applied(folder, plan).done) == 3


def test_a_longer_policy_keeps_what_was_not_due_longer(folder: Path) -> None:
    write(folder, POLICY.replace("P1Y", "P2Y"))
    planned(folder)
    write(folder, POLICY.replace("P1Y", "P9Y").replace("version: 1", "version: 2"))
    assert acts(planned(folder)) == []
    later = DUE + timedelta(days=400)
    pass_time(folder, later)

    assert acts(planned(folder, now=later)) == []


def test_grace_retires_a_voice_first(folder: Path) -> None:
    write(folder, POLICY + "    grace: P1D\n")
    plan = planned(folder)
    assert acts(plan) == [(name, "retire") for name in NAMES]
    applied(folder, plan)
    assert left(folder, "ann") == {"source", "model"}
    assert waits(planned(folder)) == dict.fromkeys(NAMES, "grace")

    # The day of the retirement, one day of grace, each to its end.
    over = datetime(2032, 3, 4, tzinfo=UTC)
    pass_time(folder, over - timedelta(hours=40))
    assert acts(planned(folder, now=over)) == [(name, "purge_audio") for name in NAMES]


def test_a_retired_model_is_erased_with_its_name(folder: Path) -> None:
    write(folder, POLICY.replace("P1Y", "P9Y") + MODEL)
    with session(folder, now=DUE) as rooms:
        retire("ann", rooms=rooms)
    later = DUE + timedelta(days=31)
    pass_time(folder, later)

    plan = planned(folder, now=later)
    assert acts(plan) == [("ann", "erase")]
    done = applied(folder, plan, now=later)

    assert [(each.voice, each.result) for each in done.outcomes] == [("ann", "done")]
    with session(folder) as rooms, rooms.registry.read() as uow:
        assert uow.voices.find("ann") is None
        assert uow.voices.count() == 4


def test_reviews_are_listed_and_never_done(folder: Path) -> None:
    write(folder, POLICY.replace("purge_audio", "review"))
    plan = planned(folder)

    assert waits(plan) == dict.fromkeys(NAMES, "review")
    assert applied(folder, plan).outcomes == ()


def test_a_policy_is_not_applied_before_the_day_it_is_enabled(folder: Path) -> None:
    write(folder, POLICY + "enabled_from: 2033-01-01\n")

    assert waits(planned(folder)) == dict.fromkeys(NAMES, "not_enabled")


def test_a_stored_plan_that_was_changed_is_not_believed(folder: Path) -> None:
    plan = planned(folder)
    change(folder, "UPDATE plans SET made_at = '2032-03-02T00:00:01.000000Z'")

    with pytest.raises(IntegrityError, match="differ"):
        applied(folder, plan)


def test_a_plan_in_a_file_is_found_and_a_changed_one_is_not(folder: Path) -> None:
    plan = planned(folder)
    file = folder / "plan.json"
    file.write_bytes(plan.envelope)
    assert plan_id_of(file) == plan.uid
    assert b"ann" not in file.read_bytes()

    file.write_bytes(plan.envelope.replace(b'"sig":"', b'"sig":"AAAA'))
    with pytest.raises(IntegrityError):
        plan_id_of(file)
    file.write_text("{}")
    with pytest.raises(IntegrityError):
        plan_id_of(file)
    with pytest.raises(NotFound):
        plan_id_of(folder / "none.json")


def test_what_applies_to_a_voice_is_said_with_the_day_and_the_reason(folder: Path) -> None:
    with session(folder, now=DUE) as rooms:
        said = "\n".join(explain_voice("ann", rooms=rooms).lines())
        assert 'purge_audio by rule "old": due since the end of 2032-03-01' in said
        assert "the oldest was registered 2031-03-01, and 1 year is allowed" in said
        assert due_at_once("ann", rooms=rooms) != []
        assert due_at_once("plain", rooms=rooms) == []
        hold("ann", reason="case 7", rooms=rooms)
        assert "a hold forbids it" in "\n".join(explain_voice("ann", rooms=rooms).lines())
        other = "\n".join(explain_voice("ann", rooms=rooms, policy="default").lines())
        assert "due at the end of 2036-03-01" in other


# Where applying can be stopped: before and after each of its own transactions, and inside a purge.
STOPS = [
    "policy.after_begun",
    "policy.after_action",
    "policy.before_done_commit",
    "purge.after_plan",
    "purge.after_commit",
    "purge.after_rows",
    "purge.after_receipt",
]


@pytest.mark.parametrize("point", STOPS)
def test_applying_again_finishes_what_a_crash_left(folder: Path, point: str) -> None:
    plan = planned(folder, names=PAIR)
    with pytest.raises(Crash):
        crashed(folder, plan, point)

    done = applied(folder, plan)

    assert [(each.voice, each.result) for each in done.outcomes] == [(name, "done") for name in PAIR]
    for name in PAIR:
        assert left(folder, name) == {"model"}
    assert verbs(folder).count("purge.committed") == 2
    with pytest.raises(Refused, match="was applied"):
        applied(folder, plan)


def crashed(folder: Path, plan: PolicyPlan, point: str) -> None:
    def stop() -> None:
        raise Crash

    rooms = open_session(settings_of(folder), clock=lambda: DUE)
    failpoints.arm(point, stop)
    try:
        apply(plan.short, rooms=rooms, permission=Permission(over_limit=plan.short))
    finally:
        failpoints.arm(None)
        rooms.registry.close()


def test_what_changed_while_a_plan_was_stopped_is_left_alone(folder: Path) -> None:
    plan = planned(folder, names=PAIR)
    with pytest.raises(Crash):
        crashed(folder, plan, "policy.after_action")
    with session(folder, now=DUE) as rooms:
        hold("bob", reason="case 7", rooms=rooms)

    done = applied(folder, plan)

    assert [(each.voice, each.result) for each in done.outcomes] == [
        ("ann", "done"),
        ("bob", "retained"),
    ]
    assert left(folder, "bob") == {"source", "model"}


def test_a_timer_finishes_what_a_timer_began(folder: Path) -> None:
    plan = planned(folder, names=PAIR)
    with pytest.raises(Crash):
        crashed(folder, plan, "purge.after_commit")

    told = by_timer(folder)

    assert told.applied is not None
    assert told.applied.plan == plan.uid
    assert len(told.applied.done) == 2


def test_a_crash_while_planning_leaves_no_plan_and_no_notice(folder: Path) -> None:
    write(folder, NOTICED)
    before = verbs(folder)

    def stop() -> None:
        raise Crash

    failpoints.arm("policy.before_plan_commit", stop)
    with session(folder, now=DUE) as rooms, pytest.raises(Crash):
        make_plan(rooms, "mine")
    failpoints.arm(None)

    assert verbs(folder) == before
    assert len(planned(folder).noticed) == 3


def test_an_audit_outlives_a_policy_that_is_gone_or_wrong(folder: Path) -> None:
    own = folder / "policies" / "mine.yaml"
    text = own.read_text(encoding="utf-8")
    found = {}
    for what, change_it in (
        ("is gone", own.unlink),
        ("cannot be read", lambda: own.write_text("a: [", "utf-8")),
    ):
        change_it()
        with session(folder, now=DUE) as rooms:
            report = Lifecycle(rooms).audit()
        found[what] = {each.risk.voice: each.risk for each in report.listed if each.risk.risk == "no-policy"}
        own.write_text(text, encoding="utf-8")

    for what, risks in found.items():
        assert set(risks) >= {"ann", "bob", "cid"}
        assert risks["ann"].message == f'policy "mine" {what}, so nothing is due by it'
    assert found["is gone"]["ann"].next == "vlm register ann --policy NAME"
    assert found["cannot be read"]["ann"].next == "vlm policy explain mine"
