"""`vlm hold`, `vlm unhold`: forbid deletions, and allow them again."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption

Target = Annotated[str, typer.Argument(metavar="NAME", help="A voice, or a subject's pseudonym.")]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog='Example: vlm hold kol-lin --reason "case 7"')(hold)
    app.command(epilog="Example: vlm unhold kol-lin")(unhold)
    app.command("release", hidden=True, epilog="Example: vlm release kol-lin")(unhold)


def hold(
    name: Target,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")],
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Forbid every deletion of a voice, or of a person."""
    from lifecycle.services.hold import hold as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = run(name, reason=reason, rooms=call.rooms(), dry_run=dry_run)
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
    done = run(name, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())
