"""`vlm backup create`, `check`, `restore`, `list`, `prune`: second copies of a registry and of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption

backup_app = typer.Typer(help="Keep second copies of the registry and of its keys.", rich_markup_mode=None)

DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")]
SnapshotOption = Annotated[
    str | None, typer.Option("--snapshot", metavar="ID", help="One snapshot: its name or last 8 digits.")
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.add_typer(backup_app, name="backup", no_args_is_help=True)


@backup_app.command("create", epilog="Example: vlm backup create /mnt/disk/vlm --keys-to /media/stick")
def create(
    target: DirArgument,
    keys_to: Annotated[
        Path | None,
        typer.Option("--keys-to", metavar="DIR2", help="Also copy the keys, to a folder apart from DIR."),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Back the registry up while it is used; only new files are copied.

    The keys are never part of it. Exit code 5: a file of the registry is missing, the rest was backed up.
    """
    from lifecycle.services.backups.create import create_backup

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = create_backup(target, keys_to=keys_to, rooms=call.rooms(), dry_run=dry_run)
    call.end(done.to_json(), done.lines(), exit_code=done.exit_code)


@backup_app.command("check", epilog="Example: vlm backup check /mnt/disk/vlm --read-data --keys /media/stick")
def check(
    target: DirArgument,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read every file; else names and sizes are compared.")
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="DIR2", help="A copy of the keys; VLM_KEYS if it is left out."),
    ] = None,
    snapshot: SnapshotOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check signatures, databases, trail and files, and that the keys open what is sealed.

    Works without the registry. Exit code 0: whole. 5: damaged, each finding named.
    """
    from lifecycle.render.progress import TerminalProgress
    from lifecycle.services.backups.check import CheckRequest, check_backup
    from lifecycle.services.backups.memory import CHECKED, remember

    call = Invocation(json=json, quiet=quiet)
    settings = call.settings()
    asked = CheckRequest(target, snapshot, read_data, keys=keys or settings.keys, required=keys is not None)
    report = check_backup(asked, progress=TerminalProgress(quiet=quiet or json))
    if not report.problems:
        whole = [each.uid for each in report.snapshots]
        remember(CHECKED, whole, installation=report.installation, settings=settings)
    call.end(report.to_json(), report.lines(), exit_code=report.exit_code)


@backup_app.command("restore", epilog="Example: vlm backup restore /mnt/disk/vlm --keys /media/stick")
def restore(
    target: DirArgument,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="HOME", help="An empty folder; VLM_HOME if it is left out.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="DIR2", help="A copy of the keys, where VLM_KEYS has none."),
    ] = None,
    snapshot: SnapshotOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a registry of a snapshot again, in an empty folder.

    Every file is verified while it is copied. Keys in VLM_KEYS always count: what was erased since stays closed.
    """
    from lifecycle.render.progress import TerminalProgress
    from lifecycle.services.backups.restore import RestoreRequest, restore_backup

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    settings = call.settings()
    asked = RestoreRequest(target, to or settings.home, snapshot, keys)
    progress = TerminalProgress(quiet=quiet or json)
    done = restore_backup(asked, settings=settings, progress=progress, dry_run=dry_run)
    call.end(done.to_json(), done.lines())


@backup_app.command("list", epilog="Example: vlm backup list /mnt/disk/vlm")
def list_snapshots(target: DirArgument, json: JsonOption = False) -> None:
    """List the snapshots of a backup, oldest first."""
    from lifecycle.services.backups.prune import list_backup

    call = Invocation(json=json)
    found = list_backup(target)
    call.end(found.to_json(), found.lines())


@backup_app.command("prune", epilog="Example: vlm backup prune /mnt/disk/vlm --keep 7")
def prune(
    target: DirArgument,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="How many of the newest stay.")],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove old snapshots, and the files that only they needed."""
    from lifecycle.services.backups.memory import PRUNED, remember
    from lifecycle.services.backups.prune import prune_backup

    call = Invocation(json=json, quiet=quiet, yes=yes, dry_run=dry_run)
    planned = prune_backup(target, keep=keep, dry_run=True)
    if not dry_run and (planned.removed or planned.freed_files):
        for line in () if yes else planned.lines():
            call.say(line)
        call.confirm("they are removed for good")
        planned = prune_backup(target, keep=keep)
        remember(PRUNED, planned.uids, installation=planned.installation, settings=call.settings())
    call.end({**planned.to_json(), "dry_run": dry_run}, planned.lines())
