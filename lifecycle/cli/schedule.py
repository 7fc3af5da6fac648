"""`vlm schedule`: hand the nightly audit to a scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption

schedule_app = typer.Typer(help="Hand the nightly audit to a scheduler.", rich_markup_mode=None)

KindOption = Annotated[
    str, typer.Option("--as", metavar="WHAT", help="systemd, cron, launchd, kubernetes or github.")
]
AtOption = Annotated[
    str, typer.Option("--at", metavar="TIME", help="When, such as 03:00; UTC for the last two.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where the audit's files go; VLM_HOME/audit if left out."),
]
CommandOption = Annotated[
    str | None,
    typer.Option("--notify-command", metavar="CMD", help="Runs with what is new, as JSON on its input."),
]

ApplyOption = Annotated[
    str | None,
    typer.Option("--apply", metavar="POLICY", help="Apply this policy each night, before the audit."),
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(schedule_app, name="schedule", no_args_is_help=True)


@schedule_app.command("show", epilog="Example: vlm schedule show --as systemd --at 03:00")
def show(
    kind: KindOption,
    at: AtOption = "03:00",
    out: OutOption = None,
    notify_command: CommandOption = None,
    apply: ApplyOption = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="systemd: a unit of the system that runs as NAME."),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="REF", help="kubernetes: the image that holds vlm.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Write the files into DIR instead of printing them."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print what a scheduler needs to run the audit of this registry; it holds no secret."""
    from lifecycle.services.schedules.schedule import Wish, plan, write

    call = Invocation(json=json, quiet=quiet)
    made = plan(Wish(kind, at, out, notify_command, user, image, apply), call.settings())
    for remark in made.remarks:
        call.say(remark)
    written = () if to is None else write(made, to)
    call.end(
        {**made.to_json(), "written": [str(path) for path in written]},
        [f"wrote {path}" for path in written] if written else made.lines(),
        document=not written,
    )


@schedule_app.command("install", epilog="Example: vlm schedule install --as cron --at 03:00")
def install(
    kind: KindOption,
    at: AtOption = "03:00",
    out: OutOption = None,
    notify_command: CommandOption = None,
    apply: ApplyOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run the audit each night: as a timer of your systemd, a line of your crontab, a launch agent."""
    from lifecycle.services.schedules.schedule import Wish, plan
    from lifecycle.services.schedules.schedule import install as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    settings, wish = call.settings(), Wish(kind, at, out, notify_command, policy=apply)
    for remark in plan(wish, settings).remarks:
        call.say(remark)
    done = run(wish, settings, dry_run=dry_run)
    call.end(done.to_json(), done.lines())


@schedule_app.command("remove", epilog="Example: vlm schedule remove --as cron")
def remove(
    kind: KindOption,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take the audit back from a scheduler; what else it runs stays as it is."""
    from lifecycle.services.schedules.schedule import Wish
    from lifecycle.services.schedules.schedule import remove as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = run(Wish(kind), call.settings(), dry_run=dry_run)
    call.end(done.to_json(), done.lines())
