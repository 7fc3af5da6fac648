"""The audit of a night: its files, and who is told; one at a time in a registry."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.errors import NotFound, Unavailable, UsageError, VlmError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.filters import ALL, VoiceFilter
from lifecycle.render.audit_junit import audit_junit
from lifecycle.render.audit_page import audit_page
from lifecycle.render.audit_prom import audit_prom
from lifecycle.render.audit_sarif import audit_sarif
from lifecycle.render.audit_sheet import Sheet, SheetRow
from lifecycle.services.audits.audit import audit
from lifecycle.services.audits.news import ID_DIGITS, gather, told
from lifecycle.services.audits.notify import Delivery, Notifier, notify_all
from lifecycle.services.audits.report import AuditReport, stamp
from lifecycle.services.retention.scheduled import AppliedSummary, apply_scheduled
from lifecycle.vault.files import locked, unavailable, write_durably
from lifecycle.watch.report import Tally
from lifecycle.watch.rules import RISKS

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

#: In the order in which they are written; the last one is what says that the set is whole.
FILES = ("audit.html", "audit.junit.xml", "audit.sarif", "audit.json", "vlm.prom")
METRICS = "vlm.prom"
#: So many findings stand one by one in the files, worst first; viewers of SARIF take 25,000 at most.
MAX_ROWS = 10_000


@dataclass(frozen=True)
class Nightly:
    """What a timer asks for.

    Attributes:
        out: The folder of the files; None for none.
        notifiers: Whom to tell of what is new.
        names: Messages may carry names of voices.
        policy: Apply this policy before the audit; None for none.
    """

    out: Path | None = None
    notifiers: Sequence[Notifier] = ()
    names: bool = False
    policy: str | None = None
    fail_on: str = "warning"
    filter: VoiceFilter = ALL
    group_by: str | None = None
    scrub: str = "all"


@dataclass(frozen=True)
class NightlyResult:
    """What a night gave."""

    audit: str
    report: AuditReport
    out: Path | None
    deliveries: tuple[Delivery, ...] = field(default=())
    applied: AppliedSummary | None = None

    @property
    def failed(self) -> list[Delivery]:
        """The notifications that did not arrive."""
        return [delivery for delivery in self.deliveries if not delivery.ok]

    @property
    def code(self) -> int:
        """The audit's exit code; where that were 0: 9 for a policy's purge that is not whole, 7 for a notification."""
        purged = 0 if self.applied is None else self.applied.exit_code
        return self.report.code or purged or (Unavailable.exit_code if self.failed else 0)

    @property
    def error(self) -> Unavailable | None:
        """What is wrong with the night, though its audit stands."""
        if not self.failed:
            return None
        first, number = self.failed[0], len(self.failed)
        which = (
            first.target
            if number == 1
            else f"{number} of {len(self.deliveries)} targets, such as {first.target}"
        )
        return Unavailable(
            f"the audit is done, but {which} could not be notified: {first.error}",
            hint="nobody is taken as told; the next night tries again"
            if number == len(self.deliveries)
            else None,
        )

    def to_json(self) -> dict[str, object]:
        """Return the night for programs."""
        body: dict[str, object] = {
            **self.report.to_json(),
            "audit": self.audit,
            "files": [] if self.out is None else [str(self.out / name) for name in FILES],
            "notifications": [delivery.to_json() for delivery in self.deliveries],
            "applied": None if self.applied is None else self.applied.to_json(),
        }
        if self.error is not None and self.code == self.error.exit_code:
            body["error"] = {"code": self.error.code, "message": self.error.message, "hint": self.error.hint}
        return body


def nightly(wanted: Nightly, *, rooms: Rooms, commands: Collection[str]) -> NightlyResult:
    """Audit, write the files, tell what is new.

    Args:
        commands: Every command that exists, see `services.audits.audit.audit`.

    Raises:
        Busy: Another audit by a timer runs on this registry.
        NotFound: There is no such policy.
        Unavailable: The folder cannot be made or written; nothing was looked at.
    """
    with locked(rooms.settings.home / "nightly.lock", what="the nightly audit", seconds=0):
        if wanted.out is not None:
            _folder(wanted.out)
        # First, so that the files do not name what is gone by the time they are read.
        applied = None if wanted.policy is None else _apply(wanted.policy, rooms)
        report = audit(
            rooms=rooms,
            commands=commands,
            fail_on=wanted.fail_on,
            scheduled=True,
            filter=wanted.filter,
            group_by=wanted.group_by,
            scrub=wanted.scrub,
        )
        identity = rooms.new_uid()
        sheet = None if wanted.out is None else sheet_of(report, audit=identity, rooms=rooms)
        if wanted.out is not None and sheet is not None:
            _write_reports(wanted.out, sheet, report, applied)
        deliveries = _tell(report, wanted, applied, audit=identity, rooms=rooms)
        if wanted.out is not None and sheet is not None:
            failed = sum(not delivery.ok for delivery in deliveries)
            _put(wanted.out / METRICS, audit_prom(sheet, sent=len(deliveries) - failed, failed=failed))
        return NightlyResult(identity, report, wanted.out, deliveries, applied)


def _apply(policy: str, rooms: Rooms) -> AppliedSummary:
    """Apply a policy as far as a timer may; what goes wrong there is told and stops no audit.

    Raises:
        NotFound: There is no such policy.
        UsageError: It is wrong.
    """
    try:
        return apply_scheduled(policy, rooms)
    except (NotFound, UsageError):
        raise
    except VlmError as error:
        return AppliedSummary(policy, refused=error.message, hint=error.hint)


def _tell(
    report: AuditReport, wanted: Nightly, applied: AppliedSummary | None, *, audit: str, rooms: Rooms
) -> tuple[Delivery, ...]:
    if not wanted.notifiers:
        return ()
    news = gather(report, audit=audit, rooms=rooms, names=wanted.names, applied=applied)
    if not news.any:
        return ()
    deliveries = notify_all(wanted.notifiers, news)
    hit("nightly.after_notify")
    if any(delivery.ok for delivery in deliveries) and rooms.writable:
        told(news, deliveries, rooms=rooms)
    return deliveries


def _folder(out: Path) -> None:
    """Make the folder where it is missing; others may enter it, since the metrics are for another program."""
    try:
        if not out.exists():
            out.mkdir(parents=True)
            out.chmod(0o755)
        if not out.is_dir():
            raise UsageError(f'--out is "{out}", which is not a folder')
        if not os.access(out, os.W_OK | os.X_OK):
            raise Unavailable(f'"{out}" cannot be written: permission denied', hint="vlm audit --help")
    except OSError as error:
        raise unavailable(out, error) from None


def _write_reports(out: Path, sheet: Sheet, report: AuditReport, applied: AppliedSummary | None) -> None:
    contents = {
        "audit.html": audit_page(sheet),
        "audit.junit.xml": audit_junit(sheet),
        "audit.sarif": audit_sarif(sheet),
    }
    for name, content in contents.items():
        _put(out / name, content)
        hit("nightly.after_file")
    _put(out / "audit.json", _json(sheet, report, contents, applied))


def _json(
    sheet: Sheet, report: AuditReport, others: dict[str, bytes], applied: AppliedSummary | None
) -> bytes:
    """Return what `vlm audit --json` says, with the digests of the files beside it.

    What a policy did stands there in numbers: its words may name a voice that is erased by now.
    """
    body = {
        "ok": True,
        **standing(report).to_json(),
        "audit": sheet.audit,
        "files": [
            {"name": name, "size": len(content), "digest": f"blake3:{blake3(content).hexdigest()}"}
            for name, content in others.items()
        ],
        "applied": None if applied is None else {**applied.to_json(), "outcomes": []},
    }
    return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"


def _put(path: Path, content: bytes) -> None:
    """Write a file; one that is there keeps its permissions, so that a group that may read it stays able to."""
    try:
        mode = stat.S_IMODE(path.lstat().st_mode) & 0o666
    except FileNotFoundError:
        mode = 0o644 if path.name == METRICS else 0o600
    write_durably(path, content)
    path.chmod(mode)


def standing(report: AuditReport) -> AuditReport:
    """Return the report about everything that stands, where a timer's is about what is new."""
    listed = tuple(finding for finding in report.findings if not finding.accepted)
    here: dict[tuple[str, str], int] = {}
    for finding in listed:
        key = (finding.risk.risk, finding.risk.severity.value)
        here[key] = here.get(key, 0) + 1

    def all_of(tally: Tally) -> Tally:
        stands = tally.found - tally.accepted
        there = here.get((tally.risk, tally.severity.value), 0)
        return replace(tally, reported=stands, not_listed=max(0, stands - there))

    return replace(report, listed=listed, tallies=tuple(all_of(tally) for tally in report.tallies))


def sheet_of(report: AuditReport, *, audit: str, rooms: Rooms) -> Sheet:
    """Return what the files tell: everything that stands and nobody accepted."""
    listed = standing(report).listed[:MAX_ROWS]
    with rooms.registry.read() as uow:
        ids = uow.alerts.ids(finding.risk.voice for finding in listed if finding.risk.voice)
        states, store_bytes = uow.alerts.states(), uow.alerts.stored_bytes()
    new: dict[str, int] = {}
    for tally in report.tallies:
        new[tally.severity.value] = new.get(tally.severity.value, 0) + tally.new
    return Sheet(
        audit=audit,
        at=report.at,
        tool=f"vlm {version('voice-lifecycle')}",
        voices=report.voices,
        rows=[
            SheetRow(
                voice=finding.risk.voice,
                uid=ids.get(finding.risk.voice, "")[:ID_DIGITS],
                owner=finding.owner or "",
                risk=finding.risk.risk,
                severity=finding.risk.severity.value,
                message=finding.risk.message,
                next=finding.risk.next,
                new=finding.new,
                since="" if finding.since is None else stamp(finding.since),
            )
            for finding in listed
        ],
        counts={
            (tally.severity.value, tally.risk): tally.found - tally.accepted
            for tally in report.tallies
            if tally.found > tally.accepted
        },
        new=new,
        states=states,
        accepted=report.accepted,
        rules=RISKS,
        seconds=report.seconds,
        store_bytes=store_bytes,
    )
