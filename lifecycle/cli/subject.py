"""`vlm subject`: people, what they agreed to, and what they asked for."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption
from lifecycle.cli.people import from_input

subject_app = typer.Typer(
    help="Keep people, what they agreed to, and what they asked for.", rich_markup_mode=None
)
case_app = typer.Typer(help="Follow requests that must be answered by a day.", rich_markup_mode=None)

WhoArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An id or pseudonym; - reads it from standard input.")
]
CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Id of the case, as it is listed.")]
AfterOption = Annotated[
    str | None, typer.Option("--after", metavar="LAST", help="Go on behind this line of the page before.")
]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", help="Lines on a page.")]
DAY = ["%Y-%m-%d"]


def add(app: typer.Typer) -> None:
    """Register the family."""
    subject_app.add_typer(case_app, name="case", no_args_is_help=True)
    app.add_typer(subject_app, name="subject", no_args_is_help=True)


@subject_app.command("add", epilog="Example: vlm subject add 10042 --contact lin@example.org")
def add_person(
    who: WhoArgument,
    contact: Annotated[
        str | None,
        typer.Option(
            "--contact", metavar="TEXT", help="How to reach them; kept sealed; - reads it from input."
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Make a person known, and print their pseudonym.

    The id is kept sealed and found by a keyed tag; everywhere else stands the pseudonym.
    """
    from lifecycle.services.people.subjects import add_subject

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = add_subject(
        from_input(who) or "", contact=from_input(contact), rooms=call.rooms(), dry_run=dry_run
    )
    call.end(done.to_json(), done.lines())


@subject_app.command("list", epilog="Example: vlm subject list --consent-ends-before 2027-01-01")
def list_people(
    voice: Annotated[
        str | None, typer.Option("--voice", metavar="NAME", help="Only whose this voice is.")
    ] = None,
    open_case: Annotated[bool, typer.Option("--open-case", help="Only with a case that is open.")] = False,
    held: Annotated[bool, typer.Option("--held", help="Only with a hold on them or on a voice.")] = False,
    without_consent: Annotated[
        bool, typer.Option("--without-consent", help="Only without a consent that holds today.")
    ] = False,
    ends_before: Annotated[
        datetime | None,
        typer.Option(
            "--consent-ends-before", metavar="DATE", formats=DAY, help="Only with a consent that ends."
        ),
    ] = None,
    after: AfterOption = None,
    limit: LimitOption = 100,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List people: voices, consent, open cases, holds."""
    from datetime import UTC

    from lifecycle.services.people.shelf import PeopleFilter, list_subjects

    call = Invocation(json=json, quiet=quiet)
    end = None if ends_before is None else ends_before.replace(tzinfo=UTC)
    wanted = PeopleFilter(voice, open_case, held, without_consent, end)
    page = list_subjects(wanted, rooms=call.rooms(), after=after, limit=limit)
    call.end(page.to_json(), page.lines())


@subject_app.command("show", epilog="Example: vlm subject show s-7f3a1c9e")
def show_person(
    who: WhoArgument,
    reveal: Annotated[bool, typer.Option("--reveal", help="Open the sealed id and contact too.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show a person: voices, consents, cases, holds."""
    from lifecycle.services.people.shelf import show_subject

    call = Invocation(json=json, quiet=quiet)
    shown = show_subject(from_input(who) or "", rooms=call.rooms(), reveal=reveal)
    call.end(shown.to_json(), shown.lines())


@subject_app.command(
    "consent",
    epilog="Example: vlm subject consent s-7f3a1c9e --evidence signed.pdf --scope speak,train --until 2027-12-31",
)
def add_consent(
    who: WhoArgument,
    evidence: Annotated[
        Path, typer.Option("--evidence", metavar="FILE", help="The paper that proves it; kept sealed.")
    ],
    scope: Annotated[
        str,
        typer.Option(
            "--scope", metavar="WORDS", help="speak, train, convert, export, publish, by commas; or all."
        ),
    ] = "all",
    begins: Annotated[
        datetime | None,
        typer.Option("--from", metavar="DATE", formats=DAY, help="First day, in UTC; now without it."),
    ] = None,
    ends: Annotated[
        datetime | None,
        typer.Option(
            "--until", metavar="DATE", formats=DAY, help="Last day, in UTC; until withdrawn without it."
        ),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option("--voice", metavar="NAME", help="For this voice only; without it for all of theirs."),
    ] = None,
    renew: Annotated[
        str | None,
        typer.Option(
            "--renew", metavar="CONSENT", help="Take the place of this consent, by its id, or of the last."
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Record what a person agreed to, for how long.

    Renewing keeps both on record; a withdrawal is never undone by an older paper.
    """
    from lifecycle.services.people.consent import ConsentRequest
    from lifecycle.services.people.consent import add_consent as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    request = ConsentRequest(from_input(who) or "", evidence, scope, _day(begins), _day(ends), voice, renew)
    done = run(request, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())


@subject_app.command(
    "withdraw", epilog="Example: vlm subject withdraw s-7f3a1c9e --received 2026-11-24 --dry-run"
)
def withdraw(
    who: WhoArgument,
    received: Annotated[
        datetime,
        typer.Option("--received", metavar="DATE", formats=DAY, help="The day on which the request arrived."),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="TEXT",
            help="What the request is called; kept sealed; - reads it from input.",
        ),
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", metavar="NAME", help="For this voice only.")] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take a person's consent back: nothing is done with their voice from then on.

    Opens a case with the day by which the rest must be done, and says what that is. Nothing is destroyed yet.
    """
    from lifecycle.services.people.withdraw import WithdrawRequest
    from lifecycle.services.people.withdraw import withdraw as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    request = WithdrawRequest(from_input(who) or "", received.date(), from_input(reference), voice)
    rooms = call.rooms()
    if not dry_run and not yes:
        planned = run(request, rooms=rooms, dry_run=True)
        for line in planned.lines():
            # Nobody asked for a dry run: what will be is shown before the question.
            if not line.endswith("(--dry-run)"):
                call.say(line)
        call.confirm("withdraw it now?")
    done = run(request, rooms=rooms, dry_run=dry_run)
    call.end(done.to_json(), done.lines())


@subject_app.command("export", epilog="Example: vlm subject export s-7f3a1c9e -o lin.zip --with-recordings")
def export(
    who: WhoArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The zip file to write.")],
    with_recordings: Annotated[
        bool, typer.Option("--with-recordings", help="Their recordings and clips too, decrypted.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Give a person what is held about them.

    A zip for the owner alone: a page to read, the same as JSON, the consents with their papers, receipts.
    """
    from lifecycle.services.people.export import export_subject

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = export_subject(
        from_input(who) or "",
        out=out,
        rooms=call.rooms(),
        with_recordings=with_recordings,
        force=force,
        dry_run=dry_run,
    )
    call.end(done.to_json(), done.lines())


@case_app.command("list", epilog="Example: vlm subject case list --due-by 2026-12-31")
def list_requests(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    due_by: Annotated[
        datetime | None,
        typer.Option("--due-by", metavar="DATE", formats=DAY, help="Only what is due by this day."),
    ] = None,
    after: AfterOption = None,
    limit: LimitOption = 100,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List cases, the one that is due first on top."""
    from lifecycle.services.people.cases import list_cases

    call = Invocation(json=json, quiet=quiet)
    page = list_cases(
        rooms=call.rooms(), everything=everything, due_by=_day(due_by), after=after, limit=limit
    )
    call.end(page.to_json(), page.lines())


@case_app.command("show", epilog="Example: vlm subject case show 4be1f06a7c12")
def show_request(case: CaseArgument, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show a case, and what is left to do about it."""
    from lifecycle.services.people.cases import show_case

    call = Invocation(json=json, quiet=quiet)
    shown = show_case(case, rooms=call.rooms())
    call.end(shown.to_json(), shown.lines())


@case_app.command("close", epilog='Example: vlm subject case close 4be1f06a7c12 --reason "a new contract"')
def close_request(
    case: CaseArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")],
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Close a case by hand.

    It closes by itself when all that depended on the person is gone. What was withdrawn stays withdrawn.
    """
    from lifecycle.services.people.cases import close_case

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = close_case(case, reason=reason, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()
