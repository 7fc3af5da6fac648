"""`vlm inspect`: what a file is, told without executing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm inspect voice.pth --json")(inspect)


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint, export, lockfile or recording.")
    ],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    digests: Annotated[bool, typer.Option("--digests", help="Hash every tensor (with --json).")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell what a file is, and whether loading it is safe.

    The file is not loaded: it is read to its end, and nothing of it is executed.

    Exit code 0: read to its end and safe. 6: unsafe, or not read.
    """
    from lifecycle.domain.errors import UnreadableFile
    from lifecycle.services.inspect import inspect_file

    call = Invocation(json=json, quiet=quiet)
    report = inspect_file(file, digests=digests)
    if report.inspection.safe is None and not json:
        raise UnreadableFile(report.inspection.error or "the file was not read")
    call.end(report.to_json(), report.lines(tensors=tensors), exit_code=report.exit_code)
