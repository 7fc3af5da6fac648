"""`vlm list`, `vlm show`."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption, VerboseOption, VoiceArgument


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command("list", epilog="Example: vlm list --json")(list_all)
    app.command(epilog="Example: vlm show kol-lin")(show)


def list_all(
    everything: Annotated[
        bool, typer.Option("--all", help="List the tombstones of erased voices too.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the voices with their states."""
    from lifecycle.services.shelf import list_voices

    call = Invocation(json=json, quiet=quiet)
    shelf = list_voices(rooms=call.rooms(), everything=everything)
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
