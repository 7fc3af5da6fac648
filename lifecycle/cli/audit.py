"""`vlm audit`, `vlm audit accept`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption

if TYPE_CHECKING:
    from lifecycle.services.audit import AuditReport

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
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on", help="From which severity on the exit code says so: critical, warning, never."
        ),
    ] = "warning",
    new: Annotated[
        bool, typer.Option("--new", help="List only what the previous audit did not find.")
    ] = False,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="For a timer: as --new, and quiet where nothing is new.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Hash every stored file again, look at every voice, and say which are at risk and what to do first."""
    if context.invoked_subcommand is not None:
        return
    from lifecycle.services.audit import audit as run

    call = Invocation(json=json, quiet=quiet or scheduled)
    found = run(
        rooms=call.rooms(),
        commands=frozenset(_commands(context.find_root().command, "vlm")),
        fail_on=fail_on,
        only_new=new,
        scheduled=scheduled,
    )
    lines = [] if found.quiet else _lines(found, new=new or scheduled)
    call.end(found.to_json(), lines, exit_code=found.code)


def _commands(command: Any, path: str) -> Iterator[str]:
    """Yield every command that exists, such as "vlm golden record"."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")


def _lines(found: AuditReport, *, new: bool) -> list[str]:
    from lifecycle.render.output import columns, duration, styled

    styles = {"critical": "bad", "warning": "warn", "notice": "dim"}
    rows = [
        [styled(group.severity.value, styles[group.severity.value]), group.who, group.message, group.next]
        for group in found.groups
    ]
    counts = [(found.count(severity), severity.value) for severity in _severities()]
    told = [f"{n} {word}{'s' if word != 'critical' and n != 1 else ''}" for n, word in counts if n]
    nothing = "nothing new" if new else "nothing at risk"
    line = f"{found.voices} voice{'' if found.voices == 1 else 's'}: {', '.join(told) or nothing}"
    if found.accepted:
        risks = f"{found.accepted} risk{'' if found.accepted == 1 else 's'}"
        until = f" until {found.accepted_until:%Y-%m-%d}" if found.accepted_until else ""
        line += f"; {risks} accepted{until}"
    return [*columns(rows), f"{line}; audited in {duration(found.seconds)}"]


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
    from lifecycle.services.audit import accept

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = accept(risk, name, until=until.date(), reason=reason, rooms=call.rooms(), dry_run=dry_run)
    verb = "would accept" if dry_run else "accepted"
    call.end(
        {**done.to_json(), "dry_run": dry_run},
        [f"{verb} {risk} of {name or 'every voice'} until {until:%Y-%m-%d}"],
    )
