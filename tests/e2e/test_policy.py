"""`vlm policy`: what is due is planned, shown, confirmed and done, and every refusal says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Vlm
from tests.e2e.test_json_schemas import check, fails
from tests.files import recordings, weights

POLICY = """\
apiVersion: vlm/1
kind: RetentionPolicy
id: mine
version: 1
extends: default
owner: video
timezone: UTC
notice:
  before: []
limits:
  max_items_per_run: 1
  max_bytes_per_run: 1000000000
  max_fraction_of_store: 1
  verify_seconds: 60
  verify_memory_mb: 4096
rules:
  - id: old-recordings
    applies_to:
      classes: [source]
    time_base: recorded_at
    if_time_base_missing: refuse
    delete_after: P1Y
    action: purge_audio
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """Two voices with recordings of long ago under a policy of the user's own, one of them undated."""
    vlm = Vlm(tmp_path_factory.mktemp("policies"))
    vlm.ok("init")
    (vlm.folder / "policies").mkdir()
    (vlm.folder / "policies" / "mine.yaml").write_text(POLICY)
    for seed, (name, *dated) in enumerate((("old", "--recorded-on", "2020-02-29"), ("undated",))):
        files = recordings(vlm.folder / name, seed=seed)
        model = weights(vlm.folder / f"{name}.safetensors", seed=seed)
        vlm.ok(
            "register", name, "--weights", model, "--audio", files, "--own-voice", "--policy", "mine", *dated
        )
    return vlm


@pytest.fixture
def voices(template: Vlm, tmp_path: Path) -> Vlm:
    """A copy of that registry."""
    for part in ("home", "keys", "policies"):
        shutil.copytree(template.folder / part, tmp_path / part)
    return Vlm(tmp_path)


def test_a_policy_is_planned_shown_confirmed_and_applied(voices: Vlm) -> None:
    listed = check("policy-list", voices.run("policy", "list", "--json"))
    assert {each["name"]: each["voices"] for each in listed["policies"]} == {
        "default": 0,
        "mine": 2,
        "research": 0,
        "strict": 0,
    }
    dry = check("policy-plan", voices.run("policy", "plan", "--policy", "mine", "--dry-run", "--json"))
    assert dry["plan"] is None
    plan = check("policy-plan", voices.run("policy", "plan", "--policy", "mine", "-o", "plan.json", "--json"))
    (action,) = plan["actions"]
    assert (action["voice"], action["due_on"], action["size"] > 0) == ("old", "2021-02-28", True)
    assert [(each["voice"], each["status"]) for each in plan["waiting"]] == [("undated", "undated")]

    fails(voices.run("policy", "apply", plan["plan"], "--json"), 4, "refused")
    would = check("policy-apply", voices.run("policy", "apply", "plan.json", "--dry-run", "--json"))
    assert [each["result"] for each in would["outcomes"]] == ["would"]
    done = check("policy-apply", voices.run("policy", "apply", "plan.json", "--yes", "--json"))

    assert [(each["voice"], each["result"]) for each in done["outcomes"]] == [("old", "done")]
    assert voices.ok("certificate", "verify", done["outcomes"][0]["certificate"]).code == 0
    shown = voices.ok("show", "old", "--json").json
    assert shown["state"] == "retired"
    fails(voices.run("policy", "apply", plan["plan"], "--yes", "--json"), 4, "refused")
    voices.ok("trail", "verify")


def test_people_read_what_will_happen_and_what_happened(voices: Vlm) -> None:
    said = voices.ok("policy", "plan", "--policy", "mine").out
    assert 'policy "mine" version 1: 2 voices looked at, 1 to act on' in said
    assert "purge_audio  old" in said
    assert "nobody knows when it was recorded" in said
    plan = said.split("plan ")[1][:8]

    refused = voices.run("policy", "apply", plan)
    assert refused.code == 4
    assert "--yes" in refused.err
    done = voices.ok("policy", "apply", plan, "--yes")

    assert "1 done, 0 retained" in done.out
    assert "purged the recordings of old" in done.out
    assert "not reached:" in done.out
    assert "certificate:" in done.out


def test_what_is_held_or_used_is_kept_and_said(voices: Vlm) -> None:
    voices.ok("hold", "old", "--reason", "case 7")
    held = voices.ok("policy", "plan", "--policy", "mine", "--json").json
    assert held["actions"] == []
    assert ("old", "held") in [(each["voice"], each["status"]) for each in held["waiting"]]
    voices.ok("unhold", "old")
    voices.ok("use", "add", "old", "--where", "k8s://prod/tts")

    said = voices.ok("policy", "plan", "--policy", "mine").out

    assert "in use at k8s://prod/tts" in said
    explained = check("policy-explain", voices.run("policy", "explain", "--voice", "old", "--json"))
    assert explained["findings"][0]["status"] == "in_use"


def test_an_inventory_that_changed_is_refused(voices: Vlm) -> None:
    plan = voices.ok("policy", "plan", "--policy", "mine", "--json").json["plan"]
    voices.ok("hold", "old", "--reason", "case 7")

    refused = voices.run("policy", "apply", plan, "--yes", "--json")

    fails(refused, 4, "refused")
    assert "changed since plan" in refused.json["error"]["message"]


def test_a_policy_is_validated_without_a_registry(bare_vlm: Vlm) -> None:
    good, wrong, gone = (
        bare_vlm.folder / "mine.yaml",
        bare_vlm.folder / "wrong.yaml",
        bare_vlm.folder / "gone.yaml",
    )
    good.write_text(POLICY)
    wrong.write_text(POLICY.replace("id: mine", "id: wrong").replace("delete_after", "delete_aftr"))

    assert check("policy-validate", bare_vlm.run("policy", "validate", good, "--json"))["files"][0]["valid"]
    told = bare_vlm.run("policy", "validate", wrong, good)
    assert told.code == 2
    assert 'wrong.yaml", line 22: "delete_aftr" is not a key here' in told.out
    assert 'mine.yaml" is policy "mine" version 1' in told.out
    as_json = bare_vlm.run("policy", "validate", wrong, good, "--json")
    check("policy-validate", as_json, code=2)
    assert [each["valid"] for each in as_json.json["files"]] == [False, True]
    fails(bare_vlm.run("policy", "validate", gone, "--json"), 3, "not_found")


def test_a_policy_is_explained_in_sentences(vlm: Vlm) -> None:
    told = check("policy-explain", vlm.run("policy", "explain", "strict", "--json"))
    assert told["extends"] == ["default"]
    said = vlm.ok("policy", "explain").out
    assert "old-recordings: active/deprecated/retired voices with source: 5 years after" in said
    assert "vlm policy plan --policy default" in said
    fails(vlm.run("policy", "explain", "nothing", "--json"), 3, "not_found")


def test_a_wrong_policy_is_listed_with_its_problem_and_never_planned(voices: Vlm) -> None:
    path = voices.folder / "policies" / "mine.yaml"
    path.write_text(POLICY.replace("P1Y", "-P1Y"))

    (mine,) = [
        each for each in voices.ok("policy", "list", "--json").json["policies"] if each["name"] == "mine"
    ]
    assert "line 22" in mine["problem"]
    refused = voices.run("policy", "plan", "--policy", "mine", "--json")

    assert refused.code == 2
    assert "is not a period" in refused.json["error"]["message"]


def test_a_policy_that_makes_things_due_at_once_is_said_when_it_is_given(voices: Vlm) -> None:
    text = (
        POLICY.replace("id: mine", "id: sharp")
        .replace("refuse", "treat_as_oldest_known")
        .replace("P1Y", "P0D")
    )
    (voices.folder / "policies" / "sharp.yaml").write_text(text)

    told = voices.ok("register", "old", "--policy", "sharp", "--json").json

    assert any('by policy "sharp" purge_audio of old is due' in each for each in told["warnings"])


def test_the_audit_names_what_is_due_and_the_plan_is_what_to_do(voices: Vlm) -> None:
    risks = voices.run("audit", "--json", "--fail-on", "never").json["risks"]

    (found,) = [each for each in risks if each["risk"] == "recordings-past-policy"]
    assert found["voice"] == "old"
    assert found["next"] == "vlm policy plan --policy mine"
    assert "2021-02-28" in found["message"]


def test_a_plan_in_a_file_holds_no_name(voices: Vlm) -> None:
    voices.ok("policy", "plan", "old", "--policy", "mine", "-o", "plan.json")

    content = Path(voices.folder / "plan.json").read_bytes()

    assert json.loads(content)["payloadType"]
    assert b"old" not in content.replace(b"treat_as_oldest", b"")
