"""`vlm demo`: the whole life of a voice, shown on real speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, OfflineOption, QuietOption

if TYPE_CHECKING:
    from lifecycle.services.demo import DemoResult, Step


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm demo --tour tour.md")(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where the demo lives; by default a folder of its own.")
    ] = None,
    torch: Annotated[str, typer.Option("--torch", help="The other torch to verify on.")] = "2.x",
    judge: Annotated[
        bool, typer.Option("--judge/--no-judge", help="Let a recogniser hear what the voice says.")
    ] = True,
    tour: Annotated[Path | None, typer.Option("--tour", help="Write the transcript as Markdown.")] = None,
    offline: OfflineOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """See the whole life of a voice, on a real recording.

    Makes a voice, registers, verifies, audits, retires and purges one.
    """
    from importlib.metadata import version

    from platformdirs import user_data_path

    from lifecycle.bootstrap import utc_now
    from lifecycle.services.demo import PLAN, Demo
    from lifecycle.services.demo import tour as transcript
    from lifecycle.vault.files import write_durably

    call = Invocation(json=json, quiet=quiet, offline=offline, dry_run=dry_run)
    settings = call.settings()
    where = folder or user_data_path("vlm-demo")
    if dry_run:
        steps = [{"name": line} for line in PLAN]
        call.end({"folder": str(where), "steps": steps, "dry_run": True}, [f"in {where}, it would:", *PLAN])
    call.say(
        f"the demo lives in {where} and touches nothing else but the shared runtimes in {settings.runtimes}"
    )
    show = Demo(
        settings, where, torch=torch, on_begin=lambda _: None, on_end=lambda step: call.say(_line(step))
    )
    result = show.run(now=utc_now(), judged=judge)
    if tour is not None:
        write_durably(tour, transcript(result, version=version("voice-lifecycle")).encode())
    call.end(result.to_json(), _ending(result))


def _line(step: Step) -> str:
    return f"{step.name:<10} {step.seconds:6.1f} s  {step.line}"


def _on_path() -> list[str]:
    """Return the line that puts this vlm on the path, where another or none is found there."""
    import shutil
    import sys

    folder = Path(sys.executable).parent
    found = shutil.which("vlm")
    return [] if found and Path(found).parent == folder else [f'  export PATH="{folder}:$PATH"']


def _ending(result: DemoResult) -> list[str]:
    home, keys = result.folder / "home", result.folder / "keys"
    return [
        "",
        f"the demo took {result.seconds:.0f} s. It made, in {result.folder}:",
        "  reader.wav         the sentence that the new voice spoke",
        "  recordings/        the recording that it was made from",
        f"  {result.receipt.relative_to(result.folder) if result.receipt else ''}   the receipt of the purge",
        "go on with these lines, or delete the folder to forget it all:",
        *_on_path(),
        f'  export VLM_HOME="{home}" VLM_KEYS="{keys}"',
        "  vlm list",
        "  vlm show reader",
        '  vlm speak reader --text "Is anybody there?" -o question.wav',
        "  vlm audit",
    ]
