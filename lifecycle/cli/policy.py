"""`vlm policy`: how long things are kept, what is due, and doing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption
from lifecycle.cli.filters import OwnerFilter, StateFilter, SubjectFilter, UpstreamFilter, voice_filter

policy_app = typer.Typer(
    help="Say how long things are kept, see what is due, and do it.", rich_markup_mode=None
)
PolicyOption = Annotated[
    str | None, typer.Option("--policy", metavar="NAME", help="The policy; the default one without it.")
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(policy_app, name="policy", no_args_is_help=True)


@policy_app.command("list", epilog="Example: vlm policy list")
def list_all(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the policies, those that ship and your own."""
    from lifecycle.services.retention.explain import list_policies

    call = Invocation(json=json, quiet=quiet)
    found = list_policies(rooms=call.rooms())
    call.end(found.to_json(), found.lines())


@policy_app.command(epilog="Example: vlm policy validate mine.yaml")
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policies in YAML.")],
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read policies strictly, and say what is wrong in which line.

    No registry is needed. Every file is read, also after one that is wrong.
    """
    from lifecycle.services.retention.explain import validate as run

    call = Invocation(json=json, quiet=quiet)
    told = run(files, own=call.settings().user_config.parent / "policies")
    call.end(told.to_json(), told.lines(), exit_code=told.exit_code)


@policy_app.command(epilog="Example: vlm policy explain --voice kol-lin")
def explain(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A policy.")] = None,
    voice: Annotated[
        str | None, typer.Option("--voice", metavar="NAME", help="Say what applies to this voice, and why.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what a policy means, or what it makes of a voice.

    With --voice the voice's own policy speaks, or NAME instead of it.
    """
    from lifecycle.services.retention import explain as service

    call = Invocation(json=json, quiet=quiet)
    told: service.Explained | service.ExplainedVoice
    if voice is None:
        settings = call.settings()
        told = service.explain(name or settings.default_policy, own=settings.user_config.parent / "policies")
    else:
        told = service.explain_voice(voice, rooms=call.rooms(), policy=name)
    call.end(told.to_json(), told.lines())


@policy_app.command(epilog="Example: vlm policy plan --policy strict -o plan.json")
def plan(
    voices: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Only these voices.")] = None,
    policy: PolicyOption = None,
    owner: OwnerFilter = None,
    subject: SubjectFilter = None,
    state: StateFilter = None,
    upstream: UpstreamFilter = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the signed plan there too.")
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say exactly what applying a policy would do.

    The plan is signed and kept for 24 hours, and the notices that are due are given. Nothing is deleted.
    """
    from dataclasses import replace

    from lifecycle.services.retention.plan import make_plan
    from lifecycle.vault.files import write_durably

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    rooms = call.rooms()
    wanted = voice_filter(
        rooms=rooms, owner=owner, subject=subject, states=state, upstream=upstream, policy=None
    )
    wanted = replace(wanted, names=tuple(voices or ()))
    made = make_plan(rooms, policy, wanted, dry_run=dry_run)
    if output is not None and not dry_run:
        write_durably(output, made.envelope)
    call.end(made.to_json(), made.lines())


@policy_app.command(epilog="Example: vlm policy apply 3f2a9c1d")
def apply(
    told: Annotated[
        str, typer.Argument(metavar="PLAN", help="A plan's first digits, or the file that it was written to.")
    ],
    over_limit: Annotated[
        str | None,
        typer.Option("--over-limit", metavar="PLAN", help="Type the plan once more to exceed the limits."),
    ] = None,
    approved_by: Annotated[
        str | None, typer.Option("--approved-by", metavar="NAME", help="Who approved it; kept sealed.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Do what a plan says, each voice by itself.

    Refused whole where anything that decides what is due changed since. One that was stopped half way is finished.
    """
    from lifecycle.services.retention.apply import Permission
    from lifecycle.services.retention.apply import apply as run
    from lifecycle.services.retention.plan import plan_id_of

    call = Invocation(json=json, quiet=quiet, yes=yes, dry_run=dry_run)
    uid = told if told.isalnum() and not Path(told).is_file() else plan_id_of(Path(told))
    rooms = call.rooms()
    permission = Permission(over_limit=over_limit, approved_by=approved_by, empty=yes)
    would = run(uid, rooms=rooms, permission=permission, dry_run=True)
    if dry_run:
        call.end(would.to_json(), [*would.lines(), "nothing was changed (--dry-run)"])
    for line in would.lines():
        call.say(line)
    call.confirm("what is purged or erased is gone for good.", typed=would.plan[:8])
    done = run(uid, rooms=rooms, permission=permission)
    call.end(done.to_json(), done.lines(), exit_code=done.exit_code)
