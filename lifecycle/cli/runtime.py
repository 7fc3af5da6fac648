"""`vlm runtime add`, `vlm runtime list`, `vlm runtime remove`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, OfflineOption, QuietOption, YesOption

if TYPE_CHECKING:
    from lifecycle.runtimes.environments import Runtimes
    from lifecycle.runtimes.model import RuntimePlan

runtime_app = typer.Typer(help="Keep torch environments, one for each version.", rich_markup_mode=None)


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(runtime_app, name="runtime", no_args_is_help=True)


def _room(call: Invocation) -> Runtimes:
    from lifecycle.render.progress import TerminalProgress
    from lifecycle.runtimes.environments import Runtimes

    return Runtimes(call.settings(), progress=TerminalProgress(quiet=call.quiet or call.json))


@runtime_app.command("add", epilog="Example: vlm runtime add 2.13.0")
def add_runtime(
    version: Annotated[
        str,
        typer.Argument(help="2.13.0, 2.13 (its newest patch), 2.x or newest; the default torch if left out."),
    ] = "",
    python: Annotated[
        str | None, typer.Option("--python", help="The Python to build on: a path, or 3.12.")
    ] = None,
    offline: OfflineOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make an environment with one torch.

    Size and source are said before anything is fetched.
    """
    from lifecycle.services.runtime import Added

    call = Invocation(json=json, quiet=quiet, yes=yes, dry_run=dry_run, offline=offline)
    room = _room(call)
    plan = room.plan(version or call.settings().default_torch, python=python)
    if plan.existing is not None:
        found = Added(plan.existing, plan.as_dict(), created=False)
        call.end(
            {**found.to_json(), "dry_run": dry_run},
            [f"torch {plan.torch} is already there: {plan.existing.id}"],
        )
    call.say(_announcement(plan))
    if dry_run:
        told = Added(None, plan.as_dict(), created=False)
        call.end({**told.to_json(), "dry_run": True}, [f"would {step}" for step in plan.steps])
    if plan.download_bytes != 0:
        call.confirm(f"torch {plan.torch} comes over the network from: {plan.source}")
    runtime = room.add(plan, show=sys.stderr.isatty() and not (quiet or json))
    done = Added(runtime, plan.as_dict(), created=True)
    call.end(
        {**done.to_json(), "dry_run": False},
        [f"added torch {runtime.torch} ({runtime.build}) on Python {runtime.python}: {runtime.id}"],
    )


def _announcement(plan: RuntimePlan) -> str:
    from lifecycle.render.output import megabytes

    if plan.download_bytes == 0:
        size = "nothing to download for torch"
    elif plan.download_bytes is None:
        size = "the index does not say how large the download is"
    else:
        size = f"to download: {megabytes(plan.download_bytes)}"
    return f"torch {plan.torch} for Python {plan.python.text}; {size}; source: {plan.source}"


@runtime_app.command("list", epilog="Example: vlm runtime list --json")
def list_runtimes(json: JsonOption = False) -> None:
    """List the torch environments with their sizes on disk."""
    from lifecycle.render.output import columns, megabytes
    from lifecycle.services.runtime import rows

    call = Invocation(json=json)
    settings = call.settings()
    found = rows(_room(call), default_torch=settings.default_torch)
    lines = columns(
        [
            [
                row.runtime.torch,
                row.runtime.build,
                f"Python {row.runtime.python}",
                megabytes(row.size_bytes),
                "default" if row.is_default else "",
                row.runtime.id,
            ]
            for row in found
        ]
    )
    empty = [
        f"no runtimes in {settings.runtimes}",
        f"make one with: vlm runtime add {settings.default_torch}",
    ]
    call.end(
        {"runtimes": [dict(row.to_json()) for row in found], "folder": str(settings.runtimes)}, lines or empty
    )


@runtime_app.command("remove", epilog="Example: vlm runtime remove 2.6.0")
def remove_runtimes(
    versions: Annotated[list[str], typer.Argument(help="Versions, or ids as the list shows them.")],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete torch environments; `vlm runtime add` makes them again."""
    from lifecycle.render.output import megabytes
    from lifecycle.services.runtime import remove

    call = Invocation(json=json, quiet=quiet, yes=yes, dry_run=dry_run)
    room = _room(call)
    planned = remove(room, versions, dry_run=True)
    if not dry_run:
        names = ", ".join(runtime.id for runtime, _freed in planned)
        call.confirm(f"this deletes {names} and frees {megabytes(sum(freed for _runtime, freed in planned))}")
        planned = remove(room, versions)
    verb = "would remove" if dry_run else "removed"
    call.end(
        {
            "removed": [
                {"id": runtime.id, "torch": runtime.torch, "freed_bytes": freed} for runtime, freed in planned
            ],
            "dry_run": dry_run,
        },
        [f"{verb} {runtime.id}, {megabytes(freed)}" for runtime, freed in planned],
    )
