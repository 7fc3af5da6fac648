"""`vlm trail verify`: whether what happened is still what was written down."""

from __future__ import annotations

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption

trail_app = typer.Typer(help="Check the record of everything that happened.", rich_markup_mode=None)


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(trail_app, name="trail", no_args_is_help=True)


@trail_app.command("verify", epilog="Example: vlm trail verify")
def verify(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Re-compute the whole trail and say what that shows.

    Exit code 0: whole. 5: something was changed.
    """
    from lifecycle.services.trail import verify_trail

    call = Invocation(json=json, quiet=quiet)
    report = verify_trail(rooms=call.rooms(writable=False))
    call.end(report.to_json(), report.lines(), exit_code=report.exit_code)
