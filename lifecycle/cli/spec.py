"""`vlm spec`: what goes into a voice and what comes out."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm spec kol-lin --md")(spec)


def spec(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the voice.")],
    md: Annotated[bool, typer.Option("--md", help="Write it as a page in Markdown.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print a voice's I/O specification.

    Token map, sample rate, dimensions: what goes in and what comes out.
    """
    from lifecycle.services.spec import spec_of

    call = Invocation(json=json, quiet=quiet)
    found = spec_of(name, rooms=call.rooms())
    call.end(found.to_json(), found.markdown() if md else found.text.splitlines())
