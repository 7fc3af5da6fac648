"""`vlm hold`, `vlm unhold`: forbid deletions, and allow them again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption
from lifecycle.cli.complete import voices
from lifecycle.cli.people import from_input

Target = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A voice, or a subject's id or pseudonym; - reads it from input.",
        autocompletion=voices,
    ),
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog='Example: vlm hold kol-lin --reason "case 7"')(hold)
    app.command(epilog="Example: vlm unhold kol-lin")(unhold)
    app.command("release", hidden=True, epilog="Example: vlm release kol-lin")(unhold)


def hold(
    name: Target,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")],
    review: Annotated[
        datetime | None,
        typer.Option(
            "--review",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="By when somebody must look again; a year without it.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Forbid every deletion of a voice, or of a person."""
    from lifecycle.services.hold import hold as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    day = None if review is None else review.date()
    done = run(from_input(name) or "", reason=reason, rooms=call.rooms(), review=day, dry_run=dry_run)
    call.end(done.to_json(), done.lines())


def unhold(
    name: Target,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Lift every hold that lies on a voice, or on a person. `vlm release` is the same."""
    from lifecycle.services.hold import unhold as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = run(from_input(name) or "", rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())
