"""`vlm prepare`, `vlm train`, `vlm speak`: how a voice is made, and heard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.cli.common import (
    DryRunOption,
    Invocation,
    JsonOption,
    QuietOption,
    VerboseOption,
    VoiceArgument,
)
from lifecycle.cli.people import (
    ConsentFromOption,
    ConsentOption,
    ConsentScopeOption,
    ConsentUntilOption,
    ContactOption,
    MoveOption,
    OwnerOption,
    OwnVoiceOption,
    PolicyOption,
    SubjectOption,
    from_input,
)

Files = list[Path]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm prepare recordings/lin")(prepare)
    app.command(epilog="Example: vlm train mine --audio recordings/mine --own-voice")(train)
    app.command(epilog='Example: vlm speak mine --text "The old road is quiet." -o mine.wav')(speak)


def prepare(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A recording, or a folder of them.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the judgement there, as JSON.")
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge recordings before a voice is made of them.

    Enough speech, one person, clean enough? Nothing is stored.

    Recommended are 60 s of speech; below 10 s they are refused. Exit code 0: good or usable. 6: refused.
    """
    from lifecycle.domain.errors import UnreadableFile
    from lifecycle.services.prepare import prepare as run

    call = Invocation(json=json, quiet=quiet)
    judged = run(path, rooms=call.rooms(), out=out, force=force)
    if judged.refused and not json:
        raise UnreadableFile(judged.sentence, hint=f"see the figures: vlm prepare {path} --json")
    call.end(judged.to_json(), judged.lines(), exit_code=UnreadableFile.exit_code if judged.refused else 0)


def train(
    name: VoiceArgument,
    audio: Annotated[
        Files, typer.Option("--audio", metavar="PATH", help="A recording or a folder of them; repeatable.")
    ],
    own_voice: OwnVoiceOption = False,
    subject: SubjectOption = None,
    consent: ConsentOption = None,
    consent_from: ConsentFromOption = None,
    consent_until: ConsentUntilOption = None,
    consent_scope: ConsentScopeOption = None,
    budget: Annotated[
        float, typer.Option("--budget", metavar="SECONDS", help="How long the fit may tune.")
    ] = 120.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random in it.")] = 0,
    move: MoveOption = False,
    owner: OwnerOption = None,
    contact: ContactOption = None,
    policy: PolicyOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Fit a voice to recordings, and register it with them.

    The fit runs fenced in the default runtime; nothing is stored unless it ends well.
    """
    from lifecycle.services.registration.request import RegisterRequest
    from lifecycle.services.train import train as run

    call = Invocation(json=json, quiet=quiet, verbose=verbose, dry_run=dry_run)
    request = RegisterRequest(
        name=name,
        audio=tuple(audio),
        own_voice=own_voice,
        subject=from_input(subject),
        consents=tuple(consent or ()),
        consent_from=None if consent_from is None else consent_from.date(),
        consent_until=None if consent_until is None else consent_until.date(),
        consent_scope=consent_scope,
        move=move,
        owner=owner,
        contact=contact,
        policy=policy,
    )
    request.check()
    done = run(request, rooms=call.rooms(), budget_s=budget, seed=seed, dry_run=dry_run)
    call.end({**done.to_json(), "dry_run": dry_run}, done.lines())


def speak(
    name: VoiceArgument,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="What to say; - reads it from input.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The WAV file to write.")],
    speed: Annotated[float, typer.Option("--speed", help="2 is twice as fast; 0.25 to 4.")] = 1.0,
    pitch: Annotated[float, typer.Option("--pitch", help="Semitones added to the melody; -24 to 24.")] = 0.0,
    pause: Annotated[float, typer.Option("--pause", help="Factor of every pause; 0 to 10.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same sound.")] = 0,
    language: Annotated[str, typer.Option("--language", metavar="LANG", help="Language of the text.")] = "en",
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a voice say a text into a WAV file.

    The trail remembers that it did, not what it said.
    """
    import sys

    from lifecycle.services.speak import SpeakRequest, rehearse
    from lifecycle.services.speak import speak as run

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    said = sys.stdin.read(100_000) if text == "-" else text
    request = SpeakRequest(
        name=name,
        text=said,
        out=out,
        speed=speed,
        pitch=pitch,
        pause=pause,
        seed=seed,
        language=language,
        force=force,
    )
    done = (rehearse if dry_run else run)(request, rooms=call.rooms())
    call.end(done.to_json(), done.lines())
