"""`vlm retire`, `vlm erase`, `vlm certificate verify`: how a voice ends, and the evidence of it."""

from __future__ import annotations

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
    YesOption,
)

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.services.purges.purge import Preview, PurgeRequest

certificate_app = typer.Typer(help="Check the receipt of a purge.", rich_markup_mode=None)

NameArgument = VoiceArgument
ConfirmOption = Annotated[
    str, typer.Option("--confirm", metavar="NAME", help="Confirm by giving the voice's name once more.")
]
OriginalsOption = Annotated[
    bool,
    typer.Option("--originals", help="Also remove the files that the recordings came from, where they lie."),
]
RequestOption = Annotated[
    str, typer.Option("--request", metavar="ID", help="The request that asks for it; kept sealed.")
]
EvenIfUsedOption = Annotated[
    bool, typer.Option("--even-if-used", help="Also where something live depends on the voice.")
]
BasisOption = Annotated[
    str, typer.Option("--basis", metavar="WORD", help="Why: withdrawal, expiry, contract or order.")
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm retire kol-lin --purge-audio --dry-run")(retire)
    app.command(epilog="Example: vlm erase kol-lin --dry-run")(erase)
    app.add_typer(certificate_app, name="certificate", no_args_is_help=True)


def retire(
    name: NameArgument,
    purge_audio: Annotated[
        bool,
        typer.Option("--purge-audio", help="Destroy the recordings and what was made from them, for good."),
    ] = False,
    originals: OriginalsOption = False,
    request: RequestOption = "",
    basis: BasisOption = "",
    even_if_used: EvenIfUsedOption = False,
    confirm: ConfirmOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """End a voice's service; purge its recordings on request.

    With --purge-audio its recordings and what was made from them are destroyed, and a signed receipt is left.
    """
    from lifecycle.domain.errors import UsageError
    from lifecycle.erasure.plan import PurgeVerb
    from lifecycle.services.purges.purge import PurgeRequest
    from lifecycle.services.retire import retire as move

    call = Invocation(json=json, quiet=quiet, verbose=verbose, yes=yes or confirm == name, dry_run=dry_run)
    _check(basis=basis, confirm=confirm, name=name)
    if purge_audio:
        wanted = PurgeRequest(
            name, PurgeVerb.PURGE_AUDIO, originals, request or None, basis or None, even_if_used
        )
        _purge(wanted, call)
        return
    if originals or request or basis or even_if_used:
        raise UsageError(
            "--originals, --request, --basis and --even-if-used belong to a purge",
            hint=f"vlm retire {name} --purge-audio --dry-run",
        )
    done = move(name, rooms=call.rooms(), dry_run=dry_run)
    lines = [
        f"would retire {name}; nothing was deleted" if dry_run else f"retired {name}; nothing was deleted",
        f"its recordings can go: vlm retire {name} --purge-audio      back again: vlm restore {name}",
    ]
    call.end(done.to_json(), lines)


def erase(
    name: NameArgument,
    originals: OriginalsOption = False,
    request: RequestOption = "",
    basis: BasisOption = "",
    even_if_used: EvenIfUsedOption = False,
    confirm: ConfirmOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Destroy a retired voice with its model and its name.

    A tombstone and a signed receipt stay.
    """
    from lifecycle.erasure.plan import PurgeVerb
    from lifecycle.services.purges.purge import PurgeRequest

    call = Invocation(json=json, quiet=quiet, verbose=verbose, yes=yes or confirm == name, dry_run=dry_run)
    _check(basis=basis, confirm=confirm, name=name)
    _purge(PurgeRequest(name, PurgeVerb.ERASE, originals, request or None, basis or None, even_if_used), call)


def _check(*, basis: str, confirm: str, name: str) -> None:
    from lifecycle.domain.errors import UsageError
    from lifecycle.erasure.plan import BASES

    if basis and basis not in BASES:
        raise UsageError(f'"{basis}" is not a basis; one of {", ".join(BASES)}', hint="vlm retire --help")
    if confirm and confirm != name:
        raise UsageError(
            f'--confirm says "{confirm}", but the voice is "{name}"; nothing was changed',
            hint=f"vlm show {name}",
        )


def _purge(request: PurgeRequest, call: Invocation) -> None:
    from lifecycle.services.purges.purge import preview, purge, resume_open

    rooms = call.rooms()
    if not call.dry_run:
        resumed = resume_open(request.name, rooms=rooms)
        if resumed is not None:
            call.say(f"an earlier purge of {request.name} was not finished; finished now")
            told = {**resumed.to_json(), "resumed": True}
            call.end(told, resumed.lines(verbose=call.verbose), exit_code=resumed.exit_code)
    planned = preview(request, rooms=rooms)
    if call.dry_run:
        call.end(planned.to_json(), [*planned.lines(), "nothing was changed (--dry-run)"])
    if planned.plan.empty:
        _retire_empty(planned, call, rooms=rooms)
    for line in planned.lines():
        call.say(line)
    call.confirm("", typed=request.name)
    done = purge(planned, rooms=rooms)
    call.end(done.to_json(), done.lines(verbose=call.verbose), exit_code=done.exit_code)


def _retire_empty(planned: Preview, call: Invocation, *, rooms: Rooms) -> None:
    """Nothing is left to destroy: a voice that is still in service is retired, and that is all."""
    from lifecycle.domain.voices import State
    from lifecycle.services.retire import retire as move

    name = planned.request.name
    nothing = f"nothing of {name} was left to destroy"
    if planned.voice.state is State.RETIRED:
        call.end({**planned.to_json(), "dry_run": False}, [f"{name} is retired already; {nothing}"])
    call.confirm(nothing, typed=name)
    done = move(name, rooms=rooms)
    call.end({**planned.to_json(), **done.to_json()}, [f"retired {name}; {nothing}"])


@certificate_app.command("verify", epilog="Example: vlm certificate verify 2026-11-22-9f2c41.dsse.json")
def verify_certificate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The signed receipt, *.dsse.json.")],
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="PUB", help="Public key (PEM) that must have signed it."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a receipt anywhere; no registry is needed.

    Signature, statement, ledger entry and checkpoint are checked.
    """
    from lifecycle.services.purges.receipts import check_receipt

    call = Invocation(json=json, quiet=quiet)
    checked = check_receipt(file, key=key)
    call.end(checked.to_json(), checked.lines(), exit_code=0)
