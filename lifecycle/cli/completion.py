"""`vlm completion`: the script that lets a shell complete commands, options and names of voices."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.cli.common import Invocation, JsonOption, QuietOption

SHELLS = ("bash", "zsh", "fish")


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(
        epilog="Example: vlm completion bash > ~/.local/share/bash-completion/completions/vlm",
    )(completion)


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print the script that completes commands and voices.

    Put it where your shell looks for completions; see docs/howto/install.md. Names of voices are read from the
    registry without its keys.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from lifecycle.domain.errors import UsageError

    call = Invocation(json=json, quiet=quiet)
    if shell not in SHELLS:
        raise UsageError(f'there is no completion for "{shell[:20]}"', hint="vlm completion bash")
    script = get_completion_script(prog_name="vlm", complete_var="_VLM_COMPLETE", shell=shell)
    call.end({"shell": shell, "script": script}, script.splitlines(), document=True)
