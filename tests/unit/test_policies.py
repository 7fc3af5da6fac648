"""Policies are read strictly: what is misspelt, doubled, missing or contradictory is an error with its line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.policies import Action, IfMissing, Limits, Period, Policy, TimeBase
from lifecycle.domain.policy_reader import _KEYS, _RULE_KEYS, policy_of, read_draft
from lifecycle.domain.voices import DataClass, State
from lifecycle.services.retention.files import load_policy, policy_folder, read_policy

ROOT = Path(__file__).parents[2]
GOOD = """\
apiVersion: vlm/1
kind: RetentionPolicy
id: mine
version: 3
owner: video
legal_basis: contract 12
timezone: Europe/Berlin
dry_run_first: false
notice:
  before: [P30D, P7D]
limits:
  max_items_per_run: 5
  max_bytes_per_run: 1000
  max_fraction_of_store: 0.5
  verify_seconds: 60
  verify_memory_mb: 4096
audit:
  consent_due_days: 30
  verify_every_days: 90
rules:
  - id: old
    applies_to:
      classes: [source]
    time_base: recorded_at
    if_time_base_missing: refuse
    retain_min: P1M
    delete_after: P1Y
    grace: P7D
    action: purge_audio
"""
LINE_OF = {line.strip(): number for number, line in enumerate(GOOD.splitlines(), 1)}


def read(text: str) -> Policy:
    return policy_of([read_draft(text, name="mine", source="mine.yaml")])


@pytest.mark.parametrize("path", sorted(policy_folder().glob("*.yaml")), ids=lambda p: p.stem)
def test_every_policy_that_ships_is_read_and_every_line_is_commented(path):
    policy = load_policy(path.stem)

    assert policy.name == path.stem
    assert policy.rules
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert [line for line in lines if " # " not in line] == []


def test_every_key_is_described():
    page = (ROOT / "docs" / "reference" / "policy.md").read_text()
    inner = {"classes", "states", "owners", "before", "needed_above", "max_items_per_run"}

    assert [key for key in {*_KEYS, *_RULE_KEYS, *inner} if f"`{key}`" not in page] == []


def test_a_policy_says_what_it_says():
    policy = read(GOOD + "approval:\n  needed_above: 2\nenabled_from: 2027-01-01\n")

    (rule,) = policy.rules
    assert (rule.time_base, rule.if_time_base_missing) == (TimeBase.RECORDED, IfMissing.REFUSE)
    assert (rule.retain_min, rule.delete_after, rule.grace) == (
        Period(months=1),
        Period(years=1),
        Period(days=7),
    )
    assert rule.action is Action.PURGE_AUDIO
    assert rule.applies_to.classes == (DataClass.SOURCE,)
    assert rule.applies_to.states == (State.ACTIVE, State.DEPRECATED, State.RETIRED)
    assert policy.notices == (Period(days=30), Period(days=7))
    assert policy.limits == Limits(5, 1000, Decimal("0.5"), 60, 4096)
    assert (policy.needed_above, policy.enabled_from) == (2, date(2027, 1, 1))


@pytest.mark.parametrize(
    ("before", "after", "at", "words"),
    [
        ("delete_after:", "delete_aftr:", "delete_after: P1Y", '"delete_aftr" is not a key'),
        ("owner: video", "owner: video\nowner: audio", "owner: video+1", '"owner" stands twice'),
        ("P1Y", "-P30D", "delete_after: P1Y", "is not a period"),
        ("P1Y", "P-1Y", "delete_after: P1Y", "is not a period"),
        ("P1Y", "12 months", "delete_after: P1Y", "is not a period"),
        ("P1Y", "[P1Y]", "delete_after: P1Y", "is not a period"),
        ("recorded_at", "mtime", "time_base: recorded_at", "one of these words"),
        ("[source]", "[source, label]", "classes: [source]", "one of these words"),
        ("[source]", "[source, source]", "classes: [source]", "stands twice"),
        ("[source]", "[]", "classes: [source]", "a list of 1"),
        ("[source]", "[source]\n      consent_scope: [sale]", "classes: [source]+1", "one of speak"),
        ("purge_audio", "shred", "action: purge_audio", "one of these words"),
        ("Europe/Berlin", "Berlin", "timezone: Europe/Berlin", "a time zone"),
        ("Europe/Berlin", "../../etc/passwd", "timezone: Europe/Berlin", "a time zone"),
        ("false", "maybe", "dry_run_first: false", "true or false"),
        ("version: 3", "version: three", "version: 3", "a whole number"),
        ("version: 3", "version: 0", "version: 3", "a whole number"),
        ("0.5", "0", "max_fraction_of_store: 0.5", "a fraction"),
        ("0.5", "1.5", "max_fraction_of_store: 0.5", "a fraction"),
        ("id: mine", "id: yours", "id: mine", "the file is called"),
        ("vlm/1", "vlm/2", "apiVersion: vlm/1", 'only "vlm/1"'),
        ("    action: purge_audio\n", "", "delete_after: P1Y", "belong together"),
        ("    delete_after: P1Y\n", "", "- id: old", "belong together"),
        ("[source]", "[evidence]", "action: purge_audio", "evidence is only retained"),
        ("    action: purge_audio", "    action: retire", "grace: P7D", "grace needs an action"),
        ("recorded_at\n    if_time_base_missing: refuse", "recorded_at", "- id: old", "is missing"),
        ("recorded_at", "registered_at", "if_time_base_missing: refuse", "is never missing"),
        ("timezone: Europe/Berlin\n", "", "apiVersion: vlm/1", '"timezone" is missing'),
        ("  verify_seconds: 60\n", "", "max_items_per_run: 5", '"verify_seconds" is missing'),
        ("owner: video", "owner:", "owner: video", "a line of at most"),
        ("owner: video", "owner: !!python/object:os.system x", "owner: video", "a line of at most"),
        ("rules:\n", "rules: 7\nx:\n", "rules:", "a list of 1 to 100 rules"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_and_the_line(before, after, at, words):
    assert before in GOOD
    text, _, shift = at.partition("+")
    line = LINE_OF[text] + int(shift or 0)

    with pytest.raises(UsageError) as caught:
        read(GOOD.replace(before, after, 1))

    assert words in caught.value.message
    assert f'"mine.yaml", line {line}:' in caught.value.message


def test_an_action_in_an_impossible_state_is_an_error():
    erasing = GOOD.replace("purge_audio", "erase").replace("[source]", "[model]\n      states: [active]")

    with pytest.raises(UsageError, match='"erase" never happens to a voice that is active'):
        read(erasing)


def test_what_is_not_yaml_or_empty_is_an_error():
    with pytest.raises(UsageError, match=r"line \d+: it is not YAML"):
        read(GOOD + "x: [1\n")
    with pytest.raises(UsageError, match="empty"):
        read("# nothing\n")
    with pytest.raises(UsageError, match="a table of keys"):
        read("- a\n- b\n")


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text):
    with pytest.raises(UsageError):
        read(text)


@given(st.sampled_from(GOOD.splitlines()), st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_line_that_was_replaced_by_anything_is_read_or_refused(line, other):
    text = GOOD.replace(line, other, 1)
    try:
        policy = read(text)
    except UsageError:
        return
    assert policy.digest() == read(text).digest()


def test_comments_and_the_order_of_keys_do_not_change_what_a_policy_is():
    moved = GOOD.replace("owner: video\n", "") + "owner: video   # who answers\n"

    assert read(moved).digest() == read(GOOD).digest()
    assert read(GOOD.replace("P1Y", "P2Y")).digest() != read(GOOD).digest()


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text)


HEAD = "apiVersion: vlm/1\nkind: RetentionPolicy\nid: {id}\nversion: 1\n"


def test_a_policy_extends_another_by_key_and_by_rule(tmp_path):
    write(tmp_path, "mine", GOOD)
    more = (
        "rules:\n  - id: old\n    applies_to: {classes: [source]}\n    time_base: registered_at\n"
        "    delete_after: P2Y\n    action: purge_audio\n"
        "  - id: idle\n    applies_to: {classes: [model]}\n    time_base: last_used_at\n"
        "    if_time_base_missing: treat_as_oldest_known\n    delete_after: P1Y\n    action: retire\n"
    )
    write(tmp_path, "more", HEAD.format(id="more") + "extends: mine\nowner: audio\n" + more)

    policy = load_policy("more", own=tmp_path)

    assert (policy.owner, policy.timezone, policy.lineage) == ("audio", "Europe/Berlin", ("more:1", "mine:3"))
    assert {rule.id: str(rule.delete_after) for rule in policy.rules} == {"old": "P2Y", "idle": "P1Y"}


def test_a_cycle_is_an_error_with_the_file_and_the_line(tmp_path):
    for name, base in (("a", "b"), ("b", "c"), ("c", "a")):
        write(tmp_path, name, HEAD.format(id=name) + f"extends: {base}\n")

    with pytest.raises(UsageError, match=r'c.yaml", line 5: a cycle: a extends b extends c extends a'):
        load_policy("a", own=tmp_path)
    write(tmp_path, "self", HEAD.format(id="self") + "extends: self\n")
    with pytest.raises(UsageError, match="a cycle"):
        load_policy("self", own=tmp_path)


def test_a_base_that_does_not_exist_is_an_error_with_those_that_do(tmp_path):
    write(tmp_path, "mine", HEAD.format(id="mine") + "extends: nobody\n")

    with pytest.raises(UsageError, match=r'line 5: there is no policy "nobody"; there are: .*default'):
        read_policy(tmp_path / "mine.yaml", own=tmp_path)


def test_a_policy_that_does_not_exist_is_not_found_with_those_that_do():
    with pytest.raises(NotFound) as caught:
        load_policy("strictest")

    assert "default" in (caught.value.hint or "")


def test_a_policy_s_name_cannot_leave_its_folder():
    with pytest.raises(UsageError):
        load_policy("../default")


def test_the_packaged_folder_comes_before_the_checkout(tmp_path):
    package = tmp_path / "lifecycle"
    checkout = tmp_path / "policies"
    checkout.mkdir(parents=True)
    (checkout / "default.yaml").write_text(GOOD)
    assert policy_folder(package) == checkout

    packaged = package / "_data" / "policies"
    packaged.mkdir(parents=True)
    (packaged / "default.yaml").write_text(GOOD)
    assert policy_folder(package) == packaged


def test_a_user_s_own_policy_is_read_by_its_name(tmp_path):
    write(tmp_path, "mine", GOOD)

    assert load_policy("mine", own=tmp_path).version == 3


def test_the_default_keeps_what_it_always_kept():
    policy = load_policy("default")

    assert policy.keep_evidence == Period(years=3)
    assert {rule.id: str(rule.delete_after) for rule in policy.rules if rule.action} == {
        "old-recordings": "P5Y",
        "withdrawn-consent": "P14D",
        "retired-model": "P90D",
    }


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("P1M", "2026-01-31", "2026-02-28"),
        ("P18M", "2026-11-24", "2028-05-24"),
        ("P1Y", "2024-02-29", "2025-02-28"),
        ("P4Y", "2024-02-29", "2028-02-29"),
        ("P36M", "2024-02-29", "2027-02-28"),
        ("P1095D", "2024-02-29", "2027-02-28"),
        ("P36M", "2023-03-01", "2026-03-01"),
        ("P1095D", "2023-03-01", "2026-02-28"),
        ("P2W", "2026-12-25", "2027-01-08"),
        ("P1Y2M3D", "2026-01-01", "2027-03-04"),
    ],
)
def test_periods_follow_the_calendar(period, start, end):
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)

    assert Period.parse(period).after(moment).date().isoformat() == end
    assert Period.parse(period).after_date(moment.date()).isoformat() == end


@given(st.builds(Period, st.integers(0, 999), st.integers(0, 9999), st.integers(0, 99999)))
def test_a_period_is_read_back_as_it_was_written(period):
    assert Period.parse(str(period)) == period


@given(
    st.dates(date(1970, 1, 1), date(2200, 1, 1)),
    st.builds(Period, st.integers(0, 50), st.integers(0, 99), st.integers(0, 999)),
    st.builds(Period, st.integers(0, 5), st.integers(0, 9), st.integers(0, 99)),
)
def test_a_longer_period_never_ends_earlier_and_never_before_its_fewest_days(day, period, more):
    longer = Period(period.years + more.years, period.months + more.months, period.days + more.days)

    assert longer.after_date(day) >= period.after_date(day)
    assert (period.after_date(day) - day).days >= period.least_days - 3 * (period.years + period.months > 0)


@pytest.mark.parametrize("text", ["P", "", "1Y", "P-1D", "PT5H", "P1D1Y", "p1d"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(ValueError, match="not a period"):
        Period.parse(text)
