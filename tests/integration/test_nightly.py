"""The audit of a night on a real registry: its files, its lock, and who is told what, by real servers."""

from __future__ import annotations

import email
import io
import json
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from blake3 import blake3

from lifecycle.api import CURES, Lifecycle
from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.errors import Busy, NotFound, Unavailable, UsageError
from lifecycle.domain.subjects import Case
from lifecycle.domain.voices import Role
from lifecycle.registry.queries.notices import Notice
from lifecycle.services.audits import notify as sending
from lifecycle.services.audits.news import reminds
from lifecycle.services.audits.nightly import FILES, Nightly, NightlyResult, nightly
from lifecycle.services.audits.notify import Notifier, addresses, notifiers
from lifecycle.services.retention.plan import make_plan
from lifecycle.vault.files import locked
from tests.files import recordings, weights
from tests.policies import POLICY
from tests.rooms import session

ROOT = Path(__file__).parents[2]
# The anchor has seen the real time of day, so the first night is the next one.
NIGHT = (datetime.now(UTC) + timedelta(days=1)).replace(hour=3, minute=0, second=0, microsecond=0)
COMMANDS = frozenset(CURES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry with one voice whose person's consent has ended."""
    consent = tmp_path / "agreed.txt"
    consent.write_text("yes", encoding="utf-8")
    with session(tmp_path) as rooms:
        Lifecycle(rooms).register(
            "kol-lin",
            weights=[weights(tmp_path / "voice.safetensors")],
            audio=[recordings(tmp_path / "recordings")],
            consents=[consent],
            consent_until=date(2026, 6, 30),
            subject="10042",
            owner="video",
        )
    return tmp_path


def night(
    folder: Path, *, days: int = 0, out: str | None = "out", tell: Sequence[Notifier] = (), **more: Any
) -> NightlyResult:
    """One night's audit, some days after the first."""
    with session(folder, now=NIGHT + timedelta(days=days)) as rooms:
        wanted = Nightly(out=None if out is None else folder / out, notifiers=tell, **more)
        return nightly(wanted, rooms=rooms, commands=COMMANDS)


def ids_in(out: Path) -> set[str]:
    """The audit's id, from each file in its own way."""
    page = (out / "audit.html").read_text(encoding="utf-8")
    suites = ElementTree.fromstring((out / "audit.junit.xml").read_bytes())
    ran = suites.find(".//property[@name='audit']")
    sarif = json.loads((out / "audit.sarif").read_bytes())
    metrics = (out / "vlm.prom").read_text(encoding="utf-8")
    assert ran is not None
    return {
        re.findall(r"audit <code>([0-9a-f]{32})</code>", page)[0],
        str(ran.get("value")),
        sarif["runs"][0]["automationDetails"]["id"].removeprefix("vlm-audit/"),
        json.loads((out / "audit.json").read_bytes())["audit"],
        re.findall(r'audit="([0-9a-f]{32})"', metrics)[0],
    }


def test_a_night_leaves_five_files_of_one_audit(folder):
    done = night(folder)

    out = folder / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert ids_in(out) == {done.audit}
    assert done.code == 11


def test_the_json_file_is_what_the_command_says_and_vouches_for_the_others(folder):
    night(folder)

    told = json.loads((folder / "out" / "audit.json").read_bytes())
    schema = json.loads((ROOT / "lifecycle/schemas/audit.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(told)
    assert told["at"] == f"{NIGHT:%Y-%m-%dT%H:%M:%S}Z"
    assert {one["name"] for one in told["files"]} == {"audit.html", "audit.junit.xml", "audit.sarif"}
    for one in told["files"]:
        content = (folder / "out" / one["name"]).read_bytes()
        assert one["digest"] == f"blake3:{blake3(content).hexdigest()}"
        assert one["size"] == len(content)
    assert str(folder) not in json.dumps(told), "it names no place of this machine"


def test_a_quiet_night_still_shows_all_that_stands(folder):
    night(folder)

    done = night(folder, days=1)

    assert done.report.quiet
    assert done.code == 0
    told = json.loads((folder / "out" / "audit.json").read_bytes())
    (critical,) = [risk for risk in told["risks"] if risk["severity"] == "critical"]
    assert (critical["voice"], critical["risk"], critical["new"]) == ("kol-lin", "consent-expired", False)
    assert told["counts"]["critical"] == 1
    assert b"kol-lin" in (folder / "out" / "audit.html").read_bytes()
    assert 'vlm_audit_findings{severity="critical"} 1' in (folder / "out" / "vlm.prom").read_text()


def test_reports_are_for_their_owner_and_metrics_for_all(folder):
    night(folder)

    out = folder / "out"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()}
    assert modes.pop("vlm.prom") == 0o644
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    assert b"kol-lin" not in (out / "vlm.prom").read_bytes()


def test_a_file_keeps_the_permissions_that_somebody_gave_it(folder):
    night(folder)
    (folder / "out" / "audit.html").chmod(0o640)

    night(folder, days=1)

    assert stat.S_IMODE((folder / "out" / "audit.html").stat().st_mode) == 0o640


class Crash(BaseException):
    """What a kill is to everything but the operating system."""


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_set_that_was_not_finished_is_not_taken_for_a_whole_one(folder, passes):
    first = night(folder)
    left = iter(range(passes, -1, -1))

    def crash() -> None:
        if next(left) == 1:
            raise Crash

    failpoints.arm("nightly.after_file", crash)
    try:
        with pytest.raises(Crash):
            night(folder, days=1)
    finally:
        failpoints.arm(None)

    out = folder / "out"
    found = ids_in(out)
    assert len(found) == 2, "old and new files stand beside each other, and say so"
    assert first.audit in (out / "vlm.prom").read_text(), (
        "the time of the last success is that of a whole set"
    )
    told = json.loads((out / "audit.json").read_bytes())
    wrong = [
        f
        for f in told["files"]
        if f["digest"] != f"blake3:{blake3((out / f['name']).read_bytes()).hexdigest()}"
    ]
    assert len(wrong) == passes
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert ids_in(out) != {night(folder, days=2).audit}
    assert len(ids_in(out)) == 1, "the next night makes it whole"


def test_one_audit_at_a_time(folder):
    with locked(folder / "home" / "nightly.lock", what="the nightly audit"), pytest.raises(Busy):
        night(folder)

    assert not (folder / "out").exists()


def test_a_folder_that_is_a_file_is_refused_before_anything_is_looked_at(folder):
    (folder / "out").write_text("mine", encoding="utf-8")

    with pytest.raises(UsageError, match="not a folder"):
        night(folder)

    assert (folder / "out").read_text(encoding="utf-8") == "mine"
    with session(folder) as rooms, rooms.registry.read() as uow:
        assert "audit" not in [each.event.verb for each in uow.trail.stored()]


# ---- who is told


class Hook(ThreadingHTTPServer):
    """A web hook that remembers what it was told, and answers as the test wants."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.told: list[dict[str, Any]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_address[1]}/hooks/s3cr3t-t0ken"


class _Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A running web hook."""
    server = Hook()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def voice_id(folder: Path, name: str = "kol-lin") -> str:
    with session(folder) as rooms, rooms.registry.read() as uow:
        return uow.voices.get(name).uid


def test_a_hook_is_told_of_what_is_new_by_ids(folder, hook):
    done = night(folder, tell=notifiers([hook.url], None))

    (told,) = hook.told
    assert told["title"] == "vlm: 1 new critical"
    assert f"critical  consent-expired  1: {voice_id(folder)[:12]}" in told["message"]
    assert "vlm audit" in told["message"]
    assert done.audit[:12] in told["message"]
    for private in ("kol-lin", "10042", "video"):
        assert private not in json.dumps(told)
    assert [(d.target, d.ok, d.error) for d in done.deliveries] == [("json://***", True, None)]
    assert 'vlm_audit_notifications{result="sent"} 1' in (folder / "out" / "vlm.prom").read_text()


def test_names_are_told_only_where_that_was_asked_for(folder, hook):
    night(folder, tell=notifiers([hook.url], None), names=True)

    assert "consent-expired  1: kol-lin" in hook.told[0]["message"]


def test_what_was_told_is_not_told_again(folder, hook):
    night(folder, tell=notifiers([hook.url], None))

    done = night(folder, days=1, tell=notifiers([hook.url], None))

    assert len(hook.told) == 1
    assert done.deliveries == ()


def test_what_did_not_arrive_is_told_again_the_next_night(folder, hook):
    hook.status = 503
    failed = night(folder, tell=notifiers([hook.url], None))
    hook.status = 200

    done = night(folder, days=1, tell=notifiers([hook.url], None))

    assert [(d.ok, d.error) for d in failed.deliveries] == [(False, "it answered with status 503")]
    assert failed.code == 11, "the audit's result stands"
    assert [d.ok for d in done.deliveries] == [True]
    assert hook.told[1]["title"] == "vlm: 1 new critical"
    assert 'vlm_audit_notifications{result="failed"} 0' in (folder / "out" / "vlm.prom").read_text()


def test_a_night_whose_only_fault_is_a_notification_ends_with_7(folder, hook):
    hook.status = 500
    night(folder, tell=notifiers([hook.url], None))

    done = night(folder, days=1, tell=notifiers([hook.url], None))

    assert done.report.code == 0
    assert done.code == 7
    told = done.to_json()
    assert told["error"]["code"] == "unavailable"
    assert told["notifications"] == [
        {"target": "json://***", "ok": False, "error": "it answered with status 500"}
    ]
    assert "s3cr3t" not in json.dumps(told)
    assert ids_in(folder / "out") == {done.audit}


def test_one_that_cannot_be_reached_stops_no_other(folder, hook):
    ready = notifiers(["json://127.0.0.1:9/s3cr3t", hook.url], None)

    done = night(folder, tell=ready)

    assert [d.ok for d in done.deliveries] == [False, True]
    assert done.deliveries[0].error == "it could not be reached"
    assert len(hook.told) == 1
    assert night(folder, days=1, tell=ready).deliveries == (), "somebody was told"


def test_a_mail_arrives(folder):
    arrived: list[email.message.Message] = []

    class Box(Message):
        def handle_message(self, message: email.message.Message) -> None:
            arrived.append(message)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(Box(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=vlm@example.com&to=tts@example.com"
        done = night(folder, tell=notifiers([url], None))
    finally:
        server.stop()

    assert [d.ok for d in done.deliveries] == [True]
    (mail,) = arrived
    assert str(email.header.make_header(email.header.decode_header(mail["Subject"]))) == "vlm: 1 new critical"
    body = b"".join(part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart())
    assert b"consent-expired" in body
    assert b"kol-lin" not in body


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Make a program of a few lines; returns its command line."""

    def made(body: str) -> str:
        path = tmp_path / "tell me.py"
        path.write_text(
            f"#!{sys.executable}\nimport json, os, subprocess, sys, time\n{body}\n", encoding="utf-8"
        )
        path.chmod(0o700)
        return f"'{path}' --to 'a b' '$HOME'"

    return made


def test_a_command_gets_the_news_as_json_and_no_shell(folder, program):
    heard = folder / "heard.json"
    command = program(f"json.dump([sys.argv[1:], json.load(sys.stdin)], open({str(heard)!r}, 'w'))")

    done = night(folder, tell=notifiers([], command))

    assert [(d.target, d.ok) for d in done.deliveries] == [("command tell me.py", True)]
    words, told = json.loads(heard.read_text(encoding="utf-8"))
    assert words == ["--to", "a b", "$HOME"]
    assert (told["kind"], told["audit"], told["counts"]["critical"]) == ("vlm.audit", done.audit, 1)
    first = told["risks"][0]
    assert (first["id"], first["risk"], first["severity"]) == (
        voice_id(folder)[:12],
        "consent-expired",
        "critical",
    )
    assert "kol-lin" not in heard.read_text(encoding="utf-8")
    night(folder, days=1, tell=notifiers([], command))
    assert json.loads(heard.read_text(encoding="utf-8"))[1]["audit"] == done.audit, "it did not run again"


def test_a_command_gets_names_where_that_was_asked_for(folder, program):
    heard = folder / "heard.json"
    command = program(f"open({str(heard)!r}, 'w').write(sys.stdin.read())")

    night(folder, tell=notifiers([], command), names=True)

    first = json.loads(heard.read_text(encoding="utf-8"))["risks"][0]
    assert (first["voice"], first["owner"]) == ("kol-lin", "video")
    assert first["next"] == "vlm retire kol-lin --purge-audio"


def test_a_command_that_fails_is_told_with_its_words(folder, program):
    command = program("sys.stdin.read(); sys.stderr.write('no such room\\n' + 'x' * 10_000_000); sys.exit(3)")

    done = night(folder, tell=notifiers([], command))

    (delivery,) = done.deliveries
    assert delivery.error is not None
    assert delivery.error.startswith("it ended with 3: no such room x")
    assert len(delivery.error) < 400


def test_a_command_that_does_not_read_is_no_trouble(folder, program):
    done = night(folder, tell=notifiers([], program("sys.exit(0)")))

    assert [d.ok for d in done.deliveries] == [True]


def test_a_command_that_does_not_end_is_stopped_with_its_children(folder, program, monkeypatch):
    monkeypatch.setattr(sending, "COMMAND_SECONDS", 1)
    mark = folder / "child"
    command = program(
        f"child = subprocess.Popen(['sleep', '600']); open({str(mark)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )

    done = night(folder, tell=notifiers([], command))

    assert [d.error for d in done.deliveries] == ["it did not end within 1 s and was stopped"]
    state = Path(f"/proc/{mark.read_text()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    ("command", "error", "word"),
    [
        ("'never closed", UsageError, "words"),
        ("", UsageError, "empty"),
        ("/no/such/program --x", Unavailable, "not there"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_the_audit(command, error, word):
    with pytest.raises(error, match=word):
        notifiers([], command)


def test_an_address_of_no_kind_is_refused_without_showing_it():
    with pytest.raises(UsageError) as raised:
        notifiers(["json://127.0.0.1/x", "nonsense://user:s3cr3t@host/t0ken"], None)

    assert "address 2 (nonsense://***)" in raised.value.message
    assert "s3cr3t" not in raised.value.message


def test_without_apprise_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(Unavailable) as raised:
        notifiers(["json://127.0.0.1/x"], None)

    assert raised.value.hint == 'pip install "voice-lifecycle[notify]"'
    assert notifiers([], "true"), "a command needs no apprise"


def test_offline_means_no_address():
    with pytest.raises(Unavailable, match="offline"):
        notifiers(["json://127.0.0.1/x"], None, offline=True)


def test_addresses_come_from_files_and_input_so_that_no_secret_stands_in_a_list_of_processes(tmp_path):
    file = tmp_path / "addresses"
    file.write_text("# the team\njson://a/1\n\n  mailto://b  \njson://a/1\n", encoding="utf-8")

    found = addresses([f"@{file}", "-", "json://c"], ["json://unused"], stdin=io.StringIO("json://d\n"))

    assert found == ["json://a/1", "mailto://b", "json://d", "json://c"]
    assert addresses([], [f"@{file}"]) == ["json://a/1", "mailto://b"]
    with pytest.raises(UsageError, match="could not be read"):
        addresses([f"@{tmp_path / 'none'}"], [])


def test_every_address_in_the_guide_is_one_that_apprise_takes():
    apprise = pytest.importorskip("apprise")
    guide = (ROOT / "docs/howto/notify.md").read_text(encoding="utf-8")
    found = re.findall(r"^(?:    |)((?:[a-z]+)://\S+)$", guide, re.MULTILINE)

    assert len(found) >= 8
    assert [url for url in found if not apprise.Apprise().add(url)] == []


# ---- notices of policies, and requests of people


def give_notice(rooms: Rooms, voice_uid: str) -> None:
    notice = Notice(
        uid=rooms.new_uid(),
        voice_uid=voice_uid,
        policy="strict",
        rule="recordings",
        stage="P7D",
        due_at=NIGHT + timedelta(days=7),
        noticed_at=NIGHT - timedelta(hours=1),
    )
    with rooms.registry.write() as uow:
        uow.notices.add(notice)
        uow.commit()


def test_a_policys_notice_is_delivered_once_and_only_where_it_arrived(folder, hook):
    with session(folder, now=NIGHT) as rooms:
        with rooms.registry.read() as uow:
            uid = uow.voices.get("kol-lin").uid
        give_notice(rooms, uid)
    hook.status = 500
    night(folder, tell=notifiers([hook.url], None))
    with session(folder) as rooms, rooms.registry.read() as uow:
        assert [notice.delivered_at for notice in uow.notices.of_voice(uid)] == [None]
    hook.status = 200

    night(folder, days=1, tell=notifiers([hook.url], None))

    message = hook.told[-1]["message"]
    due = NIGHT.date() + timedelta(days=7)
    assert f'policy "strict", recordings: 1 thing of 1 voice from {due} on' in message
    with session(folder) as rooms, rooms.registry.read() as uow:
        (notice,) = uow.notices.of_voice(uid)
    assert notice.delivered_at == NIGHT + timedelta(days=1)
    assert night(folder, days=2, tell=notifiers([hook.url], None)).deliveries == ()


def test_a_request_that_comes_due_is_told_until_it_is_closed(folder, hook):
    case = "c" * 32
    with session(folder, now=NIGHT) as rooms, rooms.registry.write() as uow:
        (subject,) = uow.voices.get("kol-lin").subject_uids
        day = NIGHT.date()
        uow.cases.add(Case(case, subject, None, "withdrawal", day, day + timedelta(days=10), NIGHT))
        uow.commit()

    for days in range(13):
        night(folder, days=days, tell=notifiers([hook.url], None))

    told = [t["message"] for t in hook.told]
    assert "is due" not in told[0], "ten days are left"
    reminded = [re.findall(rf"is due {day + timedelta(days=10)}, (.+)", message) for message in told[1:]]
    assert reminded == [
        ["in 7 days"],
        ["in 3 days"],
        ["in 1 day"],
        ["today"],
        ["1 day ago"],
        ["2 days ago"],
    ]
    assert all(case[:12] in message and "10042" not in message for message in told[1:])


@pytest.mark.parametrize(
    ("today", "told_on", "expected"),
    [
        ("2026-12-01", None, False),
        ("2026-12-03", None, True),
        ("2026-12-04", "2026-12-03", False),
        ("2026-12-05", "2026-12-01", True),
        ("2026-12-10", "2026-12-10", False),
        ("2026-12-11", "2026-12-10", True),
        ("2026-12-12", "2026-12-11", True),
    ],
)
def test_a_case_is_told_of_on_its_days_and_each_night_once_it_is_late(today, told_on, expected):
    assert reminds(date(2026, 12, 10), date.fromisoformat(today), told_on=told_on) is expected


# ---- a policy by a timer

DAILY = POLICY.replace("delete_after: P1Y", "delete_after: P1D")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A registry whose one voice has recordings that a policy of its own lets go after a day."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "mine.yaml").write_text(DAILY, encoding="utf-8")
    with session(tmp_path) as rooms:
        Lifecycle(rooms).register(
            "me",
            weights=[weights(tmp_path / "voice.safetensors")],
            audio=[recordings(tmp_path / "recordings")],
            own_voice=True,
            policy="mine",
        )
        # A policy may not act on every voice at once.
        Lifecycle(rooms).register(
            "plain", weights=[weights(tmp_path / "plain.safetensors", seed=1)], policy="mine"
        )
    return tmp_path


def recordings_left(folder: Path) -> int:
    with session(folder, now=NIGHT + timedelta(days=9)) as rooms, rooms.registry.read() as uow:
        return sum(a.role is Role.AUDIO for a in uow.voices.artifacts(uow.voices.get("me").uid))


def test_a_policy_is_applied_only_where_that_was_asked_for(kept):
    night(kept, days=0)
    done = night(kept, days=2)

    assert done.applied is None
    assert done.to_json()["applied"] is None
    assert recordings_left(kept) == 2


def test_a_policy_that_needs_a_person_is_told_once_and_the_audit_stands(kept, hook):
    night(kept, days=0)

    first = night(kept, days=2, policy="mine", tell=notifiers([hook.url], None))
    night(kept, days=3, policy="mine", tell=notifiers([hook.url], None))

    assert first.applied is not None
    assert first.applied.refused is not None
    assert recordings_left(kept) == 2
    told = json.loads((kept / "out" / "audit.json").read_bytes())
    assert "nobody has planned" in told["applied"]["refused"]
    lines = [line for t in hook.told for line in t["message"].splitlines() if "was not applied" in line]
    assert lines == ['policy "mine" was not applied, it needs a person; look: vlm policy plan mine']


def test_a_policy_that_a_person_has_planned_is_applied_before_the_audit(kept, hook):
    night(kept, days=0)
    with session(kept, now=NIGHT + timedelta(days=1)) as rooms:
        make_plan(rooms, "mine")

    done = night(kept, days=2, policy="mine", tell=notifiers([hook.url], None))

    assert recordings_left(kept) == 0
    assert done.applied is not None
    assert done.to_json()["applied"]["done"] == 1
    assert 'policy "mine": 1 done, 0 kept though due' in hook.told[-1]["message"]
    written = json.loads((kept / "out" / "audit.json").read_bytes())
    assert (written["applied"]["done"], written["applied"]["outcomes"]) == (1, [])
    assert "recordings-past-policy" not in {risk["risk"] for risk in written["risks"]}
    schema = json.loads((ROOT / "lifecycle/schemas/audit.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(written)
    jsonschema.Draft202012Validator(schema).validate({"ok": True, **done.to_json()})


def test_a_policy_that_does_not_exist_is_said_before_anything_is_looked_at(kept):
    with pytest.raises(NotFound):
        night(kept, policy="yours")

    assert not (kept / "out" / "audit.json").exists()


def test_on_a_clock_in_2036_a_timer_applies_nothing(kept):
    night(kept, days=0)
    with session(kept, now=NIGHT + timedelta(days=1)) as rooms:
        make_plan(rooms, "mine")

    with session(kept, now=datetime(2036, 1, 1, tzinfo=UTC)) as rooms:
        done = nightly(Nightly(out=kept / "out", policy="mine"), rooms=rooms, commands=COMMANDS)
        with rooms.registry.read() as uow:
            left = sum(a.role is Role.AUDIO for a in uow.voices.artifacts(uow.voices.get("me").uid))

    assert done.applied is not None
    assert done.applied.refused is not None
    assert "clock" in {finding.risk.risk for finding in done.report.findings}
    assert left == 2


# ---- a clock that is wrong


def test_a_clock_in_2036_is_said_and_nothing_is_deleted(folder, hook):
    blobs = sorted(path for path in (folder / "home" / "blobs").rglob("*") if path.is_file())
    years = (datetime(2036, 1, 1, tzinfo=UTC) - NIGHT).days

    done = night(folder, days=years, tell=notifiers([hook.url], None))

    assert "clock" in {finding.risk.risk for finding in done.report.findings}
    assert "clock of the machine is not plausible" in hook.told[0]["message"]
    assert sorted(path for path in (folder / "home" / "blobs").rglob("*") if path.is_file()) == blobs
    assert voice_id(folder)


def test_a_file_that_voices_share_is_stored_once(tmp_path):
    shared, alone = weights(tmp_path / "shared.safetensors"), weights(tmp_path / "alone.safetensors", seed=1)
    with session(tmp_path) as rooms:
        registry = Lifecycle(rooms)
        for name, files in {"a": [shared], "b": [shared], "c": [shared, alone]}.items():
            registry.register(name, weights=files)
        with rooms.registry.read() as uow:
            stored = uow.alerts.stored_bytes()

    assert stored >= shared.stat().st_size + alone.stat().st_size
    blobs = [path for path in (tmp_path / "home" / "blobs").rglob("*") if path.is_file()]
    assert stored == sum(path.stat().st_size for path in blobs)
