"""`vlm audit`, `vlm audit accept`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption
from lifecycle.cli.filters import (
    GroupByOption,
    OwnerFilter,
    PolicyFilter,
    StateFilter,
    SubjectFilter,
    UpstreamFilter,
    voice_filter,
)
from lifecycle.cli.index import PATHS
from lifecycle.domain.errors import UsageError

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.services.audits.audit import AuditReport
    from lifecycle.services.audits.nightly import Nightly
    from lifecycle.services.audits.notify import Notifier

audit_app = typer.Typer(
    help="Find the voices at risk, and the first thing to do.",
    rich_markup_mode=None,
)


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(audit_app, name="audit")


@audit_app.callback(invoke_without_command=True, epilog="Example: vlm audit --fail-on critical")
def audit(
    context: typer.Context,
    owner: OwnerFilter = None,
    subject: SubjectFilter = None,
    state: StateFilter = None,
    upstream: UpstreamFilter = None,
    policy: PolicyFilter = None,
    group_by: GroupByOption = None,
    scrub: Annotated[
        str,
        typer.Option(
            "--scrub", metavar="WHICH", help="Stored files to read again: all, due (whose turn it is), none."
        ),
    ] = "all",
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on", help="From which severity on the exit code says so: critical, warning, never."
        ),
    ] = "warning",
    new: Annotated[bool, typer.Option("--new", help="List only what no audit found before.")] = False,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="For a timer: as --new, and quiet where nothing is new.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="With --scheduled: write JSON, a page, JUnit, SARIF and metrics there.",
        ),
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            "--notify",
            metavar="URL",
            help="With --scheduled: tell what is new there; @FILE or - reads addresses. Repeatable.",
        ),
    ] = None,
    notify_command: Annotated[
        str | None,
        typer.Option(
            "--notify-command",
            metavar="CMD",
            help="With --scheduled: run this with what is new as JSON on its input; no shell.",
        ),
    ] = None,
    notify_names: Annotated[
        bool, typer.Option("--notify-names", help="Let notifications name voices instead of random ids.")
    ] = False,
    apply: Annotated[
        str | None,
        typer.Option(
            "--apply",
            metavar="POLICY",
            help="With --scheduled: apply this policy first; notices and limits hold.",
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Hash every stored file again, look at every voice, and say which are at risk and what to do first."""
    if context.invoked_subcommand is not None:
        return
    call = Invocation(json=json, quiet=quiet or scheduled)
    if not scheduled:
        _only_scheduled(
            out=out, notify=notify, notify_command=notify_command, notify_names=notify_names, apply=apply
        )
    # From the index: asking the program itself would import every family only to list its commands.
    commands = frozenset(PATHS)
    if scheduled:
        told = _notifiers(notify, notify_command, call)
    rooms = call.rooms()
    which = voice_filter(
        rooms=rooms, owner=owner, subject=subject, states=state, upstream=upstream, policy=policy
    )
    if scheduled:
        from lifecycle.services.audits.nightly import Nightly

        wanted = Nightly(
            out=None if out is None else out.expanduser().absolute(),
            notifiers=told,
            names=notify_names,
            policy=apply,
            fail_on=fail_on,
            filter=which,
            group_by=group_by,
            scrub=scrub,
        )
        _end_night(wanted, call=call, rooms=rooms, commands=commands)
    from lifecycle.services.audits.audit import audit as run

    found = run(
        rooms=rooms,
        commands=commands,
        fail_on=fail_on,
        only_new=new,
        filter=which,
        group_by=group_by,
        scrub=scrub,
    )
    call.end(
        {**found.to_json(), "audit": None, "files": [], "notifications": [], "applied": None},
        _lines(found, new=new),
        exit_code=found.code,
    )


def _only_scheduled(**given: object) -> None:
    """Refuse what a timer alone may ask for."""
    for name, value in given.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with --scheduled", hint="vlm audit --scheduled --out DIR")


def _notifiers(notify: list[str] | None, command: str | None, call: Invocation) -> Sequence[Notifier]:
    """Make everything ready before the audit begins, so that nothing is looked at in vain."""
    from lifecycle.services.audits.notify import addresses, notifiers

    settings = call.settings()
    return notifiers(addresses(notify or (), settings.notify), command, offline=settings.offline)


def _end_night(wanted: Nightly, *, call: Invocation, rooms: Rooms, commands: frozenset[str]) -> NoReturn:
    from lifecycle.render.output import print_error, say
    from lifecycle.services.audits.nightly import nightly

    done = nightly(wanted, rooms=rooms, commands=commands)
    lines = [] if done.report.quiet else _lines(done.report, new=True)
    if done.applied is not None and done.applied.refused is not None and not call.json:
        for line in done.applied.lines():
            say(line)
    elif done.applied is not None and done.applied.applied is not None:
        lines = [*done.applied.lines(), *lines]
    if done.error is not None and not call.json:
        print_error(done.error, as_json=False)
    call.end(done.to_json(), lines, exit_code=done.code)


def _lines(found: AuditReport, *, new: bool) -> list[str]:
    from lifecycle.render.output import columns, duration, styled

    styles = {"critical": "bad", "warning": "warn", "notice": "dim"}
    rows = [
        [styled(group.severity.value, styles[group.severity.value]), group.who, group.message, group.next]
        for group in found.groups
    ]
    told = _numbers({severity.value: found.count(severity) for severity in _severities()})
    nothing = "nothing new" if new else "nothing at risk"
    line = f"1 voice: {told or nothing}" if found.voices == 1 else f"{found.voices} voices: {told or nothing}"
    if found.accepted:
        risks = f"{found.accepted} risk{'' if found.accepted == 1 else 's'}"
        until = f" until {found.accepted_until:%Y-%m-%d}" if found.accepted_until else ""
        line = f"{line}; {risks} accepted{until}"
    read = found.scrubbed
    if read.mode.value == "none":
        line = f"{line}; no stored file was read again"
    elif read.hashed < read.files:
        line = f"{line}; {read.hashed} of {read.files} stored files read again"
    return [*columns(rows), *_sections(found), f"{line}; audited in {duration(found.seconds)}"]


def _sections(found: AuditReport) -> list[str]:
    """Return the numbers by owner, subject, state, upstream or policy, where that was asked for."""
    from lifecycle.render.output import columns

    if found.group_by is None:
        return []
    rows = [
        [
            section.key or f"no {found.group_by}",
            f"{section.voices} voice{'' if section.voices == 1 else 's'}",
            _numbers({"critical": section.critical, "warning": section.warning, "notice": section.notice})
            or "nothing",
        ]
        for section in found.sections
    ]
    return ["", f"by {found.group_by}", *columns(rows), ""]


def _numbers(counts: Mapping[str, int]) -> str:
    """Return numbers with their words, such as "2 critical, 1 warning"."""
    return ", ".join(
        f"{n} {word}{'s' if word != 'critical' and n != 1 else ''}" for word, n in counts.items() if n
    )


def _severities() -> list[Any]:
    from lifecycle.domain.risks import Severity

    return list(Severity)


@audit_app.command(
    "accept", epilog='Example: vlm audit accept no-owner kol-lin --until 2027-01-31 --reason "asked for"'
)
def accept_risk(
    risk: Annotated[
        str, typer.Argument(metavar="RISK", help="The risk's word, as the audit's JSON names it.")
    ],
    until: Annotated[
        datetime,
        typer.Option(
            "--until", formats=["%Y-%m-%d"], metavar="DATE", help="The last day, such as 2027-01-31."
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The voice; every voice if left out.")
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Live with a risk until a day.

    It is counted from then on and not listed.
    """
    from lifecycle.services.audits.audit import accept

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = accept(risk, name, until=until.date(), reason=reason, rooms=call.rooms(), dry_run=dry_run)
    whose, day = name or "every voice", f"{until:%Y-%m-%d}"
    did = f"accepted {risk} of {whose} until {day}"
    call.end(
        {**done.to_json(), "dry_run": dry_run},
        [f"would accept {risk} of {whose} until {day}" if dry_run else did],
    )
