"""`vlm register`: files become a voice."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from lifecycle.services.registration.request import Reference

Files = list[Path]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(
        epilog="Example: vlm register kol-lin --weights lin-e15.ckpt --weights lin_e8.pth --owner video"
    )(register)


def register(
    name: VoiceArgument,
    weights: Annotated[
        Files | None, typer.Option("--weights", metavar="FILE", help="A file of its weights; repeatable.")
    ] = None,
    embedding: Annotated[
        Path | None, typer.Option("--embedding", metavar="FILE", help="Its speaker file; kept sealed.")
    ] = None,
    ref: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="[STYLE=]FILE", help="A reference clip; kept sealed; repeatable."),
    ] = None,
    ref_text: Annotated[
        list[str] | None,
        typer.Option("--ref-text", metavar="TEXT", help="What is said in the clip before it."),
    ] = None,
    ref_lang: Annotated[
        list[str] | None, typer.Option("--ref-lang", metavar="LANG", help="The clip's language, such as en.")
    ] = None,
    lockfile: Annotated[
        Path | None,
        typer.Option(
            "--lockfile", metavar="FILE", help="requirements.txt, pylock.toml, uv.lock, or a conda export."
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="REF", help="The container image that it runs in.")
    ] = None,
    io_spec: Annotated[
        Path | None,
        typer.Option("--io-spec", metavar="FILE", help="Its I/O specification; else one is made."),
    ] = None,
    audio: Annotated[
        Files | None,
        typer.Option(
            "--audio", metavar="DIR|FILE", help="Recordings it was made from; kept sealed; repeatable."
        ),
    ] = None,
    features: Annotated[
        Files | None,
        typer.Option(
            "--features", metavar="FILE", help="Made from its recordings, such as an RVC index; repeatable."
        ),
    ] = None,
    recorded_on: Annotated[
        datetime | None,
        typer.Option(
            "--recorded-on", metavar="DATE", formats=["%Y-%m-%d"], help="Day of the recordings, in UTC."
        ),
    ] = None,
    move: MoveOption = False,
    subject: SubjectOption = None,
    consent: ConsentOption = None,
    consent_from: ConsentFromOption = None,
    consent_until: ConsentUntilOption = None,
    consent_scope: ConsentScopeOption = None,
    own_voice: OwnVoiceOption = False,
    owner: OwnerOption = None,
    contact: ContactOption = None,
    rights: Annotated[
        str | None, typer.Option("--rights", metavar="TEXT", help="What it may be used for.")
    ] = None,
    contract_ends: Annotated[
        datetime | None,
        typer.Option(
            "--contract-ends", metavar="DATE", formats=["%Y-%m-%d"], help="Last day of the contract, in UTC."
        ),
    ] = None,
    upstream: Annotated[
        str | None, typer.Option("--upstream", metavar="URL", help="Where its code is from.")
    ] = None,
    policy: PolicyOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Register files as a voice, a version, or additions.

    Every file is told by its content and never executed; what is unsafe or unreadable is refused, and then nothing
    is stored. Recordings, speaker files and consents are encrypted with keys of their own.
    """
    from lifecycle.services.registration.preview import preview
    from lifecycle.services.registration.register import register as run
    from lifecycle.services.registration.request import RegisterRequest

    call = Invocation(json=json, quiet=quiet, verbose=verbose, dry_run=dry_run)
    request = RegisterRequest(
        name=name,
        weights=tuple(weights or ()),
        embedding=embedding,
        references=references(ref or [], ref_text or [], ref_lang or []),
        lockfile=lockfile,
        image=image,
        io_spec=io_spec,
        audio=tuple(audio or ()),
        move=move,
        subject=from_input(subject),
        consents=tuple(consent or ()),
        consent_from=None if consent_from is None else consent_from.date(),
        consent_until=None if consent_until is None else consent_until.date(),
        consent_scope=consent_scope,
        own_voice=own_voice,
        owner=owner,
        contact=contact,
        upstream=upstream,
        policy=policy,
        features=tuple(features or ()),
        rights=rights,
        contract_ends=None if contract_ends is None else contract_ends.date(),
        recorded_on=None if recorded_on is None else recorded_on.date(),
    )
    request.check()
    done = (preview if dry_run else run)(request, rooms=call.rooms())
    call.end(done.to_json(), done.lines())


def references(clips: list[str], texts: list[str], languages: list[str]) -> tuple[Reference, ...]:
    """Join clips with their texts and languages, in order.

    Raises:
        UsageError: There are more texts or languages than clips.
    """
    from lifecycle.domain.errors import UsageError
    from lifecycle.services.registration.request import Reference

    if len(texts) > len(clips) or len(languages) > len(clips):
        raise UsageError("there are more --ref-text or --ref-lang than --ref", hint="vlm register --help")
    found = []
    for number, clip in enumerate(clips):
        style, equals, path = clip.partition("=")
        if not equals or not style.isalnum():
            style, path = "default", clip
        text = texts[number] if number < len(texts) else ""
        found.append(Reference(Path(path), style, text, languages[number] if number < len(languages) else ""))
    return tuple(found)
