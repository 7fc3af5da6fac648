"""`vlm deprecate`, `vlm restore`."""

from __future__ import annotations

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, VoiceArgument, YesOption

NameArgument = VoiceArgument


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm deprecate kol-lin")(deprecate)
    app.command(epilog="Example: vlm restore kol-lin")(restore)


def deprecate(
    name: NameArgument,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Mark a voice as not for new work; it still speaks."""
    from lifecycle.services.states import deprecate as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = run(name, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())


def restore(
    name: NameArgument,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Bring a deprecated or retired voice back.

    It comes without what was purged, and its consent must hold today.
    """
    from lifecycle.services.states import restore as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    done = run(name, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())
