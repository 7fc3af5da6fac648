"""`vlm spec`: what goes into a voice and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption, VoiceArgument, YesOption


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm spec kol-lin --md")(spec)


def spec(
    name: VoiceArgument,
    md: Annotated[bool, typer.Option("--md", help="Write it as a page in Markdown.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say whether the weights, configuration and specification agree.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file instead.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Print a voice's I/O specification.

    Token map, sample rate, frames, dimensions, front end, and the parts that it needs; each line says whether the
    weights show it. Nothing is loaded or run.
    """
    from lifecycle.services.specs.spec import spec_of, write_spec

    call = Invocation(json=json, quiet=quiet, yes=yes)
    if output is not None and output.exists():
        call.confirm(f'"{output}" exists and would be replaced')
    found = spec_of(name, rooms=call.rooms())
    lines = found.markdown() if md else found.text.splitlines()
    if output is not None:
        write_spec(output, lines)
        lines = [f'written to "{output}"']
    code = found.verdict.exit_code if check else 0
    call.end(
        found.to_json(),
        found.checked() if check else lines,
        exit_code=code,
        document=not check and output is None,
    )
