"""`vlm use`: what depends on a voice, so that it is not purged or erased."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, VoiceArgument

use_app = typer.Typer(
    help="Say what depends on a voice; what is in use is not purged.", rich_markup_mode=None
)

NameArgument = VoiceArgument
WhereOption = Annotated[
    str, typer.Option("--where", metavar="PLACE", help="What depends on it, such as k8s://prod/tts.")
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(use_app, name="use", no_args_is_help=True)


@use_app.command("add", epilog="Example: vlm use add kol-lin --where k8s://prod/tts --for 24h")
def add_use(
    name: NameArgument,
    where: WhereOption,
    term: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="How long, such as 24h or 7d; without it: until removed."),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Claim that something live depends on a voice.

    Until the claim ends nothing of the voice is purged or erased. Claiming again makes it longer, never shorter.
    """
    from lifecycle.services.use import add_use as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = run(name, where=where, term=term, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())


@use_app.command("remove", epilog="Example: vlm use remove kol-lin --where k8s://prod/tts")
def remove_use(
    name: NameArgument,
    where: WhereOption,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Drop a claim on a voice."""
    from lifecycle.services.use import remove_use as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = run(name, where=where, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())


@use_app.command("list", epilog="Example: vlm use list kol-lin")
def list_uses(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The voice; every voice if left out.")] = "",
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List what depends on a voice, or on any; expired claims are shown as such."""
    from lifecycle.services.use import list_uses as run

    call = Invocation(json=json, quiet=quiet)
    found = run(name or None, rooms=call.rooms())
    call.end(found.to_json(), found.lines())
