"""Options that `vlm register` and `vlm train` share: whose voice it is, what they agreed to, who answers for it."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

SubjectOption = Annotated[
    str | None,
    typer.Option(
        "--subject", metavar="ID", help="Whose voice it is: an id or pseudonym; - reads it from input."
    ),
]
ConsentOption = Annotated[
    list[Path] | None,
    typer.Option("--consent", metavar="FILE", help="Evidence of the person's consent; repeatable."),
]
ConsentUntilOption = Annotated[
    datetime | None,
    typer.Option(
        "--consent-until", metavar="DATE", formats=["%Y-%m-%d"], help="Last day of the consent, in UTC."
    ),
]
ConsentFromOption = Annotated[
    datetime | None,
    typer.Option(
        "--consent-from", metavar="DATE", formats=["%Y-%m-%d"], help="First day of the consent, in UTC."
    ),
]
ConsentScopeOption = Annotated[
    str | None,
    typer.Option(
        "--consent-scope",
        metavar="WORDS",
        help="What it agrees to: speak, train, convert, export, publish, by commas; or all.",
    ),
]
OwnVoiceOption = Annotated[bool, typer.Option("--own-voice", help="The voice is your own.")]
MoveOption = Annotated[
    bool, typer.Option("--move", help="Remove the originals once their sealed copies were read back.")
]
OwnerOption = Annotated[str | None, typer.Option("--owner", metavar="TEAM", help="Who answers for it.")]
ContactOption = Annotated[str | None, typer.Option("--contact", metavar="MAIL", help="How to reach them.")]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", metavar="NAME", help="The policy it is kept by.")
]


def from_input(subject: str | None) -> str | None:
    """Return an id; `-` reads it from standard input, so that it stays out of the list of processes."""
    return sys.stdin.readline(1000) if subject == "-" else subject
