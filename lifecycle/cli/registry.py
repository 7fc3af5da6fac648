"""`vlm registry show`, `vlm registry move`."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption

registry_app = typer.Typer(
    help="Show where the registry lies; carry it into another database.", rich_markup_mode=None
)


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(registry_app, name="registry", no_args_is_help=True)


@registry_app.command("show", epilog="Example: vlm registry show")
def show(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show where the registry lies, and what it holds."""
    from lifecycle.services.registry_move import show as run

    call = Invocation(json=json, quiet=quiet)
    shown = run(rooms=call.rooms(writable=False))
    call.end(shown.to_json(), shown.lines())


@registry_app.command("move", epilog="Example: vlm registry move postgresql://vlm@db.example/vlm")
def move(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="A database of PostgreSQL; or: sqlite, the file in VLM_HOME.")
    ],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Carry the registry into another database, and compare every row."""
    from lifecycle.services.registry_move import move as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = run(url, rooms=call.rooms(writable=False), confirm=call.confirm, dry_run=dry_run)
    call.end(done.to_json(), done.lines())
