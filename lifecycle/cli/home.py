"""`vlm init`, `vlm config show`, `vlm doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, VerboseOption, YesOption

config_app = typer.Typer(help="Show the settings and where each comes from.", rich_markup_mode=None)


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm init")(init)
    app.add_typer(config_app, name="config", no_args_is_help=True)
    app.command(epilog="Example: vlm doctor")(doctor)


def init(
    here: Annotated[bool, typer.Option("--here", help="Keep the registry in ./.vlm of this folder.")] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a registry, once; an existing one is left as it is."""
    from pathlib import Path

    from lifecycle.services.home import initialise

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    result = initialise(call.settings(), here=Path.cwd() if here else None, dry_run=dry_run)
    first = f"would make {result.home}" if dry_run else f"made {result.home}"
    if not result.created:
        first = f"there is already a registry in {result.home}"
    call.end(
        {**result.to_json(), "dry_run": dry_run},
        [
            first,
            f"keys in {result.keys / result.installation}: keep a copy elsewhere, nothing opens without",
            "next: vlm register NAME --weights FILE      or see it all work: vlm demo",
        ],
    )


@config_app.command("show", epilog="Example: vlm config show --json")
def show_config(json: JsonOption = False) -> None:
    """Show every setting, its value and where it comes from."""
    from lifecycle.render.output import columns
    from lifecycle.settings import masked, scheme_of

    call = Invocation(json=json)
    settings = call.settings()
    shown = {key: _shown(getattr(settings, key)) for key in settings.sources}
    shown["notify"] = " ".join(map(scheme_of, settings.notify))
    call.end(
        {
            "settings": [
                {"name": key, "value": masked(value), "source": settings.sources[key]}
                for key, value in shown.items()
            ]
        },
        columns([[key, masked(value), settings.sources[key]] for key, value in shown.items()]),
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return "" if value is None else str(value)


def doctor(
    accept_older: Annotated[
        bool,
        typer.Option(
            "--accept-older", help="Go on with a copy that was put back, if nothing was erased since."
        ),
    ] = False,
    machines_gone: Annotated[
        bool,
        typer.Option(
            "--machines-gone", help="End the jobs of other machines too: those machines are gone for good."
        ),
    ] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Look for what a crash or a hand left behind, and repair it."""
    from lifecycle.render.output import columns
    from lifecycle.services.doctor import examine

    call = Invocation(json=json, quiet=quiet, verbose=verbose, dry_run=dry_run, yes=yes)
    rooms = call.rooms(writable=False)
    if accept_older and not dry_run:
        from lifecycle.services import put_back

        call.confirm(
            "what happened since this copy was made is given up, holds and consents included; the trail will say so"
        )
        put_back.accept_older(rooms=rooms)
    if machines_gone and not dry_run:
        from lifecycle.services.jobs import end_elsewhere

        call.confirm(
            "the work folders of every job of another machine are emptied, also of one that still runs"
        )
        end_elsewhere(rooms)
    report = examine(rooms, repair=not dry_run)
    lines = columns([[finding.state, finding.message, finding.next or ""] for finding in report.findings])
    told = {**report.to_json(), "dry_run": dry_run}
    call.end(told, [*lines, report.summary], exit_code=report.exit_code)
