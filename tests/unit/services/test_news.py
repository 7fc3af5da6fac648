"""What a night tells: exact numbers, short messages, no names."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.risks import Risk, Severity
from lifecycle.registry.queries.alerts import DueNotice
from lifecycle.services.audits.news import MAX_FINDINGS, MAX_IDS, News, _counts
from lifecycle.services.audits.report import AuditReport, Scrub, Scrubbed
from lifecycle.watch.report import Finding, Tally

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def finding(voice: str, risk: str = "consent-expired", severity: Severity = Severity.CRITICAL) -> Finding:
    return Finding(Risk(voice, risk, severity, f"{voice} is at risk", f"vlm show {voice}"))


def news(*findings: Finding, **more: object) -> News:
    counts: dict[tuple[Severity, str], int] = {}
    for one in findings:
        key = (one.risk.severity, one.risk.risk)
        counts[key] = counts.get(key, 0) + 1
    made = News("ab" * 16, NOW, 9, findings, counts, {f.risk.voice: "cd" * 16 for f in findings}, (), ())
    return replace(made, **more)  # type: ignore[arg-type]


def test_notices_of_severity_alone_are_no_news():
    assert not news(finding("kol", "no-owner", Severity.NOTICE)).any
    assert not news().any
    assert news(finding("kol")).any
    assert news(notices=[DueNotice("strict", "old", NOW, 3, 1)]).any


def test_a_million_findings_make_one_short_message_with_the_exact_number():
    many = [finding(f"kol-{n}") for n in range(20)]
    told = news(*many, counts={(Severity.CRITICAL, "consent-expired"): 1_000_000})

    assert told.title() == "vlm: 1000000 new critical"
    assert f"and {1_000_000 - MAX_IDS} more" in told.text()
    assert told.to_json()["left_out"] == 1_000_000 - 20


def test_what_is_new_is_counted_though_it_is_not_listed():
    tally = Tally("consent-expired", Severity.CRITICAL, found=50_000, accepted=0, new=50_000, reported=50_000)
    report = AuditReport((), (), (tally,), 1, 0.1, NOW, 11, None, False, Scrubbed(Scrub.NONE))

    assert _counts([finding("a"), finding("b")], report) == {(Severity.CRITICAL, "consent-expired"): 50_000}


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=64), st.sampled_from(["a", "b", "c"])), max_size=60),
    st.lists(st.text(min_size=1, max_size=64), max_size=60),
    st.booleans(),
)
def test_a_message_fits_into_every_chat(findings, policies, names):
    told = news(
        *[finding(voice, f"{risk}-{n}") for n, (voice, risk) in enumerate(findings)],
        notices=[DueNotice(policy, "rule", NOW, 1, 1) for policy in policies],
        names=names,
    )

    assert len(told.text().encode()) + len(told.title().encode()) < 2048


def test_the_json_of_very_many_is_bounded_and_says_what_it_leaves_out():
    told = news(*[finding(f"kol-{n}") for n in range(MAX_FINDINGS + 5)]).to_json()

    assert len(told["risks"]) == MAX_FINDINGS  # type: ignore[arg-type]
    assert told["left_out"] == 5


def test_names_stay_out_of_everything():
    told = news(finding("kol-secret"), finding("", "clock"))

    assert "kol-secret" not in told.text() + told.title() + repr(told.to_json())
    assert "this installation" in told.text()
    assert told.to_json()["clock_plausible"] is False
