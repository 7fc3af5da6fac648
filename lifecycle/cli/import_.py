"""`vlm import`: many voices in one command: look at a folder, edit the table, import it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption, YesOption
from lifecycle.cli.people import (
    ContactOption,
    MoveOption,
    OwnerOption,
    OwnVoiceOption,
    PolicyOption,
    SubjectOption,
)

if TYPE_CHECKING:
    from lifecycle.services.imports.run import ImportOptions


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command("import", epilog="Example: vlm import /content --dry-run -o voices.csv")(import_)


def import_(
    path: Annotated[Path, typer.Argument(metavar="DIR|TABLE", help="A folder to look at, or a table (CSV).")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the proposed table, or each row's result."
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the table, and register nothing.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Read all files anew, those of finished rows too.")
    ] = False,
    goldens: Annotated[
        bool, typer.Option("--goldens", help="Record what each voice says today, where a runtime is here.")
    ] = False,
    move: MoveOption = False,
    subject: SubjectOption = None,
    own_voice: OwnVoiceOption = False,
    owner: OwnerOption = None,
    contact: ContactOption = None,
    policy: PolicyOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Find voices in a folder; register a table of them.

    With a folder and --dry-run nothing is changed and no registry is needed: weights, clips, texts and lockfiles are
    found, and -o writes a table to edit. --subject, --own-voice, --owner, --contact and --policy fill its rows.
    With a table every row becomes a voice, a version or additions; run it again after an interruption.
    """
    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes)
    cells = _cells(subject, own_voice=own_voice, owner=owner, contact=contact, policy=policy)
    if path.is_dir():
        _look(path, output, cells, call)
    else:
        from lifecycle.services.imports.run import ImportOptions

        if cells:
            from lifecycle.domain.errors import UsageError

            raise UsageError(
                f"--{next(iter(cells)).replace('_', '-')} fills the table of a folder; a table has its own columns",
                hint="vlm import --help",
            )
        options = ImportOptions(again=again, move=move, goldens=goldens, check=check or dry_run)
        _import(path, output, options, call)


def _cells(
    subject: str | None, *, own_voice: bool, owner: str | None, contact: str | None, policy: str | None
) -> dict[str, str]:
    from lifecycle.cli.people import from_input

    told = {"subject": from_input(subject), "own_voice": "yes" if own_voice else None}
    told |= {"owner": owner, "contact": contact, "policy": policy}
    return {name: text.strip() for name, text in told.items() if text}


def _look(folder: Path, output: Path | None, cells: dict[str, str], call: Invocation) -> None:
    import shlex

    from lifecycle.domain.errors import UsageError
    from lifecycle.render.progress import TerminalProgress
    from lifecycle.services.imports.propose import propose, table_of

    if not call.dry_run:
        raise UsageError(
            f'"{folder}" is a folder: look at it first, edit the table, then import that',
            hint=f"vlm import {shlex.quote(str(folder))} --dry-run -o voices.csv",
        )
    _refuse_existing(output, call)
    progress = TerminalProgress(quiet=call.quiet or call.json)
    found = propose(folder, settings=call.settings(), progress=progress, output=output, given=cells)
    if output is not None:
        _write(output, table_of(found))
    call.end(found.to_json(), found.lines())


def _import(table: Path, output: Path | None, options: ImportOptions, call: Invocation) -> None:
    from dataclasses import replace

    from lifecycle.services.imports.result import results_table
    from lifecycle.services.imports.run import import_table

    _refuse_existing(output, call)
    done = import_table(table, rooms=call.rooms(), options=options)
    if output is not None:
        _write(output, results_table(done.rows))
        done = replace(done, output=str(output))
    call.end(done.to_json(), done.lines(), exit_code=done.exit_code)


def _refuse_existing(output: Path | None, call: Invocation) -> None:
    """Never write over a table that somebody may have edited."""
    from lifecycle.domain.errors import Refused
    from lifecycle.vault.files import is_stream

    if output is not None and output.exists() and not call.yes and not is_stream(output):
        raise Refused(
            f'"{output}" is there already, and may hold edits', hint="name another file, or say --yes"
        )


def _write(output: Path, content: bytes) -> None:
    from lifecycle.services.imports.propose import write_file

    write_file(output, content)
