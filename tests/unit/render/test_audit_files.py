"""The files of a night's audit: one content, four formats, each held against a reader of its own."""

import base64
import hashlib
import html
import json
import re
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from lifecycle.render.audit_junit import audit_junit
from lifecycle.render.audit_page import MAX_ROWS, audit_page
from lifecycle.render.audit_prom import audit_prom, escaped
from lifecycle.render.audit_sarif import audit_sarif
from lifecycle.render.audit_sheet import Sheet, SheetRow

RULES = {
    "consent-expired": "recordings are held after the consent ended",
    "no-owner": "nobody answers for it",
}
NASTY = "<script>alert(1)</script>\"'&]]>\x00\x1b[31m\u202e"


def row(
    voice: str = "voice-42", risk: str = "consent-expired", severity: str = "critical", **more: Any
) -> SheetRow:
    """One finding."""
    given = {
        "uid": "3f2a9c01d2e4",
        "owner": "video",
        "message": "consent ended",
        "next": "vlm show voice-42",
        "new": True,
    }
    return SheetRow(voice=voice, risk=risk, severity=severity, **{**given, **more})


def sheet(*rows: SheetRow, counts: Mapping[tuple[str, str], int] | None = None) -> Sheet:
    """An audit of two voices."""
    counted: dict[tuple[str, str], int] = {}
    for one in rows:
        counted[one.severity, one.risk] = counted.get((one.severity, one.risk), 0) + 1
    return Sheet(
        audit="ab" * 16,
        at=datetime(2026, 11, 24, 3, 0, tzinfo=UTC),
        tool="vlm 0.1.0",
        voices=2,
        rows=rows,
        counts=counts or counted,
        new={"critical": 1},
        states={"active": 1, "retired": 1},
        accepted=3,
        rules=RULES,
        seconds=1.5,
        store_bytes=4096,
    )


TWO = sheet(row(), row("old", "no-owner", "notice", new=False, owner=""))


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_fetches_nothing_and_allows_exactly_its_own_style_and_script():
    page = audit_page(TWO).decode()
    seen = Page(page.encode())

    (policy,) = [m["content"] for m in seen.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not {"src", "style", "onclick", "onload"} & {
        key for _, attributes in seen.tags for key in attributes
    }
    assert [link["href"] for link in seen.all("link")] == ["data:,"]
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_is_whole_and_names_its_parts():
    seen = Page(audit_page(TWO))

    assert seen.open == []
    assert seen.all("html") == [{"lang": "en"}]
    heads = seen.all("th")
    assert heads
    assert all(head == {"scope": "col"} for head in heads)
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {attributes.get("aria-labelledby") for _, attributes in seen.tags} - {None}
    assert named <= set(ids)
    assert "2 findings, the worst first" in seen.text["caption"]
    assert seen.all("form")[0]["hidden"] is None, "without the script there are no tools that do nothing"


def test_no_text_of_a_voice_becomes_markup():
    page = audit_page(sheet(row(NASTY, owner=NASTY, message=NASTY, next=NASTY, uid=NASTY))).decode()

    assert len(re.findall("<script", page)) == 1
    assert html.escape('<script>alert(1)</script>"') in page
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_page_of_many_findings_stays_small_and_says_what_it_leaves_out():
    rows = [row(f"voice-{n}") for n in range(MAX_ROWS + 7)]

    page = audit_page(sheet(*rows, counts={("critical", "consent-expired"): 1_000_000})).decode()

    assert page.count("data-severity") == MAX_ROWS
    assert f"{1_000_000 - MAX_ROWS:,} more are not on this page" in page
    assert len(page) < 2_000_000


def test_a_page_without_findings_says_so():
    page = audit_page(sheet()).decode()

    assert "Nothing is at risk" in page
    assert "<table" not in page


def test_junit_fails_what_is_urgent_and_skips_notices():
    root = ElementTree.fromstring(audit_junit(TWO))

    assert root.tag == "testsuites"
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"vlm audit", "voice-42", "old"}
    assert [child.tag for child in suites["voice-42"].iter("testcase")] == ["testcase"]
    failure = suites["voice-42"].find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "critical"
    assert "vlm show voice-42" in (failure.text or "")
    assert suites["old"].find("testcase/skipped") is not None
    for suite in suites.values():
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
    assert (root.get("tests"), root.get("failures")) == ("3", "1")


def test_junit_of_nothing_still_has_a_test_that_passed():
    root = ElementTree.fromstring(audit_junit(sheet()))

    assert [case.get("name") for case in root.iter("testcase")] == ["the audit ran"]
    assert not list(root.iter("failure"))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@example("\ufffe\uffff\x00\x7f\x85\u2028")
def test_any_name_gives_well_formed_xml_and_json(name):
    odd = sheet(row(name, message=name, next=name, owner=name))

    root = ElementTree.fromstring(audit_junit(odd))
    told = json.loads(audit_sarif(odd))

    assert len(list(root.iter("failure"))) == 1
    check_sarif(told)
    assert Page(audit_page(odd)).open == []


def check_sarif(log: dict[str, Any]) -> None:
    """Hold a log against what SARIF 2.1.0 requires of the parts that are used. Source: OASIS, sections 3.13 to 3.52."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    allowed = {"tool", "automationDetails", "invocations", "columnKind", "results", "properties"}
    assert set(run) == allowed
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    driver = run["tool"]["driver"]
    assert driver["name"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for rule in driver["rules"]:
        assert set(rule) == {
            "id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties",
        }  # fmt: skip
        assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["name"])
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
        for message in ("shortDescription", "fullDescription", "help"):
            assert rule[message]["text"]
        assert rule["shortDescription"]["text"].endswith(".")
    for invocation in run["invocations"]:
        assert invocation["executionSuccessful"] is True
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", invocation["endTimeUtc"])
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["kind"] == "fail"
        assert result["baselineState"] in {"new", "unchanged", "updated", "absent"}
        assert result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        (location,) = result["locations"]
        assert set(location) == {"physicalLocation", "logicalLocations"}
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert set(uri) <= set(string.ascii_letters + string.digits + "-._~/%"), "RFC 3986"
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert all(set(one) == {"name", "fullyQualifiedName", "kind"} for one in location["logicalLocations"])


def test_sarif_is_as_the_standard_requires():
    log = json.loads(audit_sarif(TWO))

    check_sarif(log)
    first, second = log["runs"][0]["results"]
    assert (first["level"], first["baselineState"]) == ("error", "new")
    assert (second["level"], second["baselineState"]) == ("note", "unchanged")
    assert "vlm show voice-42" in first["message"]["text"]


def test_a_finding_keeps_its_fingerprint_when_its_voice_is_renamed():
    def mark(voice: str) -> Any:
        return json.loads(audit_sarif(sheet(row(voice))))["runs"][0]["results"][0]["partialFingerprints"]

    assert mark("voice-42") == mark("voice-43")
    assert (
        mark("voice-42")
        != json.loads(audit_sarif(sheet(row(risk="no-owner"))))["runs"][0]["results"][0][
            "partialFingerprints"
        ]
    )


def metrics(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Read metrics as Prometheus does."""
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_metrics_are_read_back_by_the_reader_of_prometheus():
    read = metrics(audit_prom(TWO, sent=1, failed=2).decode())

    assert read["vlm_audit_risks"] == [
        ({"severity": "critical", "risk": "consent-expired"}, 1.0),
        ({"severity": "notice", "risk": "no-owner"}, 1.0),
    ]
    assert {labels["severity"]: n for labels, n in read["vlm_audit_findings"]} == {
        "critical": 1.0,
        "warning": 0.0,
        "notice": 1.0,
    }
    assert read["vlm_voices"] == [({"state": "active"}, 1.0), ({"state": "retired"}, 1.0)]
    assert read["vlm_store_bytes"] == [({}, 4096.0)]
    assert read["vlm_audit_last_success_timestamp_seconds"] == [({}, TWO.at.timestamp() + 1)]
    assert read["vlm_audit_notifications"] == [({"result": "sent"}, 1.0), ({"result": "failed"}, 2.0)]
    assert read["vlm_audit_info"] == [({"audit": "ab" * 16, "version": "vlm 0.1.0"}, 1.0)]


def test_metrics_name_no_voice_and_do_not_grow_with_voices():
    many = audit_prom(sheet(*[row(f"voice-{n}") for n in range(5000)]))

    assert b"voice-" not in many
    assert len(many) < 4000


@given(st.text(max_size=40))
def test_a_label_reads_back_as_it_was(value):
    value = value.replace("\r", " ")
    text = f'# TYPE m gauge\nm{{a="{escaped(value)}"}} 1\n'

    ((labels, _),) = metrics(text)["m"]

    assert labels["a"] == value


@pytest.mark.parametrize("number", [0, 1, 2])
def test_numbers_and_words_agree(number):
    page = audit_page(sheet(*[row(f"v{n}", "no-owner", "notice") for n in range(number)])).decode()

    assert {0: "Nothing is at risk", 1: "1 notice;", 2: "2 notices;"}[number] in page
