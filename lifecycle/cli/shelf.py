"""`vlm list`, `vlm show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption, VerboseOption, VoiceArgument
from lifecycle.cli.filters import (
    GroupByOption,
    OwnerFilter,
    PolicyFilter,
    StateFilter,
    SubjectFilter,
    UpstreamFilter,
    voice_filter,
)

#: A terminal gets so many voices at once; a pipe and programs get all.
_TERMINAL = 200


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command("list", epilog="Example: vlm list --owner video --in-use")(list_all)
    app.command(epilog="Example: vlm show kol-lin")(show)


def list_all(
    owner: OwnerFilter = None,
    subject: SubjectFilter = None,
    state: StateFilter = None,
    upstream: UpstreamFilter = None,
    policy: PolicyFilter = None,
    in_use: Annotated[
        bool | None,
        typer.Option("--in-use/--not-in-use", help="Only voices that something live depends on, or nothing."),
    ] = None,
    group_by: GroupByOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="At most so many; without it a terminal gets 200, a pipe all."
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="NAME", help="Begin behind this name: the next page.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List the tombstones of erased voices too.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the voices with their states."""
    from lifecycle.services.shelf import list_voices

    call = Invocation(json=json, quiet=quiet)
    rooms = call.rooms()
    on_terminal = not json and sys.stdout.isatty()
    shelf = list_voices(
        rooms=rooms,
        everything=everything,
        filter=voice_filter(
            rooms=rooms, owner=owner, subject=subject, states=state, upstream=upstream, policy=policy
        ),
        in_use=in_use,
        after=after,
        limit=limit if limit is not None or not on_terminal else _TERMINAL,
        group_by=group_by,
    )
    call.end(shelf.to_json(), shelf.lines())


def show(
    name: VoiceArgument,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show a voice: state, files, consents, verdicts."""
    from lifecycle.services.shelf import show_voice

    call = Invocation(json=json, quiet=quiet, verbose=verbose)
    shown = show_voice(name, rooms=call.rooms())
    call.end(shown.to_json(), shown.lines(verbose=verbose))
