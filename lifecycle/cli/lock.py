"""`vlm lock`: capture what is installed, and ask whether it can still be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.cli.common import (
    DryRunOption,
    Invocation,
    JsonOption,
    OfflineOption,
    QuietOption,
    VoiceArgument,
    YesOption,
)

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.services.locks.result import LockResult


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm lock kol-lin --python /opt/tts/.venv")(lock)


def lock(
    name: VoiceArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="With --check: this lock, not the stored one.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            "--python", metavar="PATH", help="Lock what is installed for this Python, or in this environment."
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--from-image",
            metavar="REF",
            help="Lock what is installed in a Docker image, or in docker-archive:FILE.tar.",
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="DIR", help="With --from-image: which of several site-packages."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Ask whether the lock still resolves.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the stored lock.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the lock to a file too.")
    ] = None,
    offline: OfflineOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    yes: YesOption = False,
) -> None:
    """Lock the packages that a voice runs with.

    The lock is a pylock.toml with the hashes of the wheels that your index offers; what cannot be had as a wheel
    stands in it and is named. An interpreter is run as it is; an image is read and never run.
    """
    from lifecycle.domain.errors import UsageError

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run, yes=yes, offline=offline)
    if sum((python is not None, image is not None, check, show)) != 1:
        raise UsageError(
            "say where to look: --python PATH or --from-image REF, or --check or --show what is stored",
            hint="vlm lock --help",
        )
    if (file is not None and not check) or (site is not None and image is None):
        raise UsageError("FILE belongs to --check, and --site to --from-image", hint="vlm lock --help")
    if output is not None and output.exists() and not dry_run:
        call.confirm(f'"{output}" exists and would be replaced')
    rooms = call.rooms()
    if check:
        from lifecycle.services.locks.lock import check_lock

        done = check_lock(name, rooms=rooms, file=file, dry_run=dry_run)
    elif show:
        from lifecycle.services.locks.lock import show_lock

        done = show_lock(name, rooms=rooms, output=output)
    else:
        done = _captured(name, python, image, site=site, output=output, dry_run=dry_run, rooms=rooms)
    call.end(done.to_json(), done.lines(), exit_code=done.code, document=show and output is None)


def _captured(
    name: str,
    python: Path | None,
    image: str | None,
    *,
    site: str | None,
    output: Path | None,
    dry_run: bool,
    rooms: Rooms,
) -> LockResult:
    if python is not None:
        from lifecycle.services.locks.lock import lock_python

        return lock_python(name, python, rooms=rooms, output=output, dry_run=dry_run)
    from lifecycle.services.locks.image import lock_image

    assert image is not None
    return lock_image(name, image, site=site, rooms=rooms, output=output, dry_run=dry_run)
