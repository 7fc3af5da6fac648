"""`vlm prepare`, `vlm train`, `vlm speak`: how a voice is made."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import DryRunOption, Invocation, JsonOption, QuietOption

AudioOption = Annotated[
    list[Path], typer.Option("--audio", help="Recordings of one person; repeatable.", metavar="DIR|FILE")
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm prepare recordings/me")(prepare)
    app.command(epilog="Example: vlm train me --audio recordings/me --own-voice")(train)
    app.command(epilog='Example: vlm speak me --text "Is anybody there?" -o out.wav')(speak)


def prepare(
    paths: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.", metavar="PATH")],
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge recordings before a voice is made of them; nothing is stored."""
    from lifecycle.render.progress import TerminalProgress
    from lifecycle.runtimes.environments import Runtimes
    from lifecycle.services.prepare import prepare as judge

    call = Invocation(json=json, quiet=quiet)
    settings = call.settings()
    progress = TerminalProgress(quiet=quiet or json)
    runtimes = Runtimes(settings, progress=progress)
    try:
        result = judge(paths, runtimes=runtimes, torch=settings.default_torch, progress=progress)
    finally:
        runtimes.close()
    call.end(result.to_json(), result.lines(), exit_code=result.exit_code)


def train(
    name: Annotated[str, typer.Argument(help="Name of the voice.")],
    audio: AudioOption,
    own_voice: Annotated[bool, typer.Option("--own-voice", help="The voice is your own.")] = False,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Whose voice it is; - reads the id from input.", metavar="ID"),
    ] = None,
    consent: Annotated[
        list[Path] | None, typer.Option("--consent", help="Evidence of consent; repeatable.", metavar="FILE")
    ] = None,
    consent_until: Annotated[
        datetime | None,
        typer.Option(
            "--consent-until", metavar="DATE", formats=["%Y-%m-%d"], help="Last day of the consent, in UTC."
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Who answers for it.", metavar="TEAM")] = None,
    contact: Annotated[
        str | None, typer.Option("--contact", help="How to reach them.", metavar="MAIL")
    ] = None,
    budget: Annotated[
        float, typer.Option("--budget", help="Seconds of training.", min=1.0, max=86_400.0)
    ] = 60.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same voice.", min=0)] = 0,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fit the base voice to recordings of one person, and register what comes of it."""
    from lifecycle.cli.register import from_input
    from lifecycle.services.train import TrainRequest
    from lifecycle.services.train import train as fit

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    request = TrainRequest(
        name=name,
        audio=tuple(audio),
        own_voice=own_voice,
        subject=from_input(subject),
        consents=tuple(consent or ()),
        consent_until=None if consent_until is None else consent_until.date(),
        owner=owner,
        contact=contact,
        budget_s=budget,
        seed=seed,
    )
    if dry_run:
        told = f"would train {name} for {budget:.0f} s on {', '.join(map(str, audio))}, and register it"
        call.end({"name": name, "budget_s": budget, "audio": [str(path) for path in audio]}, [told])
    result = fit(request, rooms=call.rooms())
    call.end(result.to_json(), result.lines())


def speak(
    name: Annotated[str, typer.Argument(help="Name of the voice.")],
    text: Annotated[str, typer.Option("--text", help="What to say.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The WAV file to write.")],
    speed: Annotated[float, typer.Option("--speed", help="2 is twice as fast.", min=0.25, max=4.0)] = 1.0,
    pitch: Annotated[
        float, typer.Option("--pitch", help="Semitones; 12 is an octave up.", min=-24.0, max=24.0)
    ] = 0.0,
    pause: Annotated[float, typer.Option("--pause", help="Factor on pauses.", min=0.0, max=10.0)] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same samples.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite the file.")] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a voice say a text."""
    from lifecycle.services.speak import Control, SpeakRequest
    from lifecycle.services.speak import speak as say

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    control = Control(speed=speed, pitch_semitones=pitch, pause=pause, seed=seed)
    if dry_run:
        call.end({"name": name, "out": str(out)}, [f"would let {name} speak into {out}"])
    said = say(SpeakRequest(name, text, out, control, overwrite=force), rooms=call.rooms())
    call.end(said.to_json(), [f"{said.out}  {said.seconds_of_audio:.1f} s of audio in {said.seconds:.1f} s"])
