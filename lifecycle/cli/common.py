"""What every command shares: options, opening the rooms, confirmation, and the one way to end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lifecycle.cli.complete import voices

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

VoiceArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the voice.", autocompletion=voices)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Say what would be done, and change nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with yes.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print inner details too.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never reach out to the network.")]


@dataclass(frozen=True)
class Invocation:
    """How one command was called, and its one way to end.

    A command reads: `call = Invocation(json=json, ...)`, `rooms = call.rooms()`, one service,
    `call.end(result.to_json(), lines, exit_code=0)`.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    yes: bool = False
    dry_run: bool = False
    offline: bool = False

    def rooms(self, *, writable: bool = True) -> Rooms:
        """Open the registry of VLM_HOME with its vault.

        Raises:
            NotFound: There is no registry yet; the hint is `vlm init`.
            IntegrityError: The registry is older than the anchor beside the keys.
        """
        from lifecycle.render.progress import TerminalProgress
        from lifecycle.services.session import open_session

        progress = TerminalProgress(quiet=self.quiet or self.json)
        rooms = open_session(self.settings(), writable=writable, progress=progress)
        typer_context().call_on_close(rooms.close)
        return rooms

    def settings(self) -> Settings:
        """Resolve the settings of this call."""
        import os

        from lifecycle.settings import load_settings

        return load_settings(os.environ, flags={"offline": True if self.offline else None})

    def say(self, line: str) -> None:
        """Tell people something that is not the result; silent with --quiet and --json."""
        if not (self.quiet or self.json):
            from lifecycle.render.output import say

            say(line)

    def confirm(self, question: str, *, typed: str | None = None) -> None:
        """Ask before a change; `typed` is what must be typed in severe cases.

        Raises:
            Refused: The answer is no, or nobody can be asked and --yes is missing.
        """
        from lifecycle.domain.errors import Refused
        from lifecycle.render.output import say

        if self.yes:
            return
        if self.json or not sys.stdin.isatty():
            raise Refused(
                "this needs a confirmation and nobody can be asked here, so nothing was changed",
                hint="run it again with --yes, or with --dry-run to see what it would do",
            )
        say(question)
        prompt = f"Type {typed} to go on: " if typed else "go on? [y/N] "
        sys.stderr.write(prompt)
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if answer != typed if typed else answer.lower() not in {"y", "yes"}:
            raise Refused("not confirmed, so nothing was changed")

    def end(
        self,
        data: Mapping[str, object],
        lines: Iterable[str] = (),
        *,
        exit_code: int = 0,
        document: bool = False,
    ) -> NoReturn:
        """Print the result, as JSON or for people, and leave with its exit code; documents are never translated."""
        from lifecycle.render.output import print_json, print_lines

        if self.json:
            print_json(data, exit_code=exit_code)
        else:
            print_lines(lines, document=document)
        raise typer.Exit(exit_code)


def typer_context() -> typer.Context:
    """Return the context of the running command."""
    from typer._click.globals import get_current_context

    return get_current_context()  # type: ignore[return-value]


if TYPE_CHECKING:
    from lifecycle.settings import Settings
