"""The `vlm` program: its commands, and how errors leave it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from lifecycle.cli.lazy import LazyGroup
from lifecycle.domain.errors import UsageError, VlmError

# One module per family, in the order of a voice's life; each has `add(app)` and is imported when it is called.
# After a change of commands: python -m lifecycle.cli.reference > docs/reference/cli.md
FAMILIES = (
    "home", "runtime", "make", "register", "import_", "shelf", "use", "inspect", "verify", "audit", "schedule",
    "states", "subject", "hold", "policy", "retire", "trail", "backup", "registry", "spec", "lock",
    "completion", "demo",
)  # fmt: skip


class _Root(LazyGroup):
    families = FAMILIES


app = typer.Typer(
    name="vlm",
    cls=_Root,
    help="The voice lifecycle manager: keeps cloned voices working, and ends them with evidence.",
    epilog="Start with: vlm demo    or: vlm init, then: vlm register NAME --weights FILE",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"vlm {version('voice-lifecycle')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the program; every error leaves with its own exit code and never with a traceback."""
    _need_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    _speak_the_users_language()
    sys.exit(_run())


def _need_streams() -> None:
    """Open what a timer closed: else the next file gets the number of a stream, and a message is written into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False, encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False, encoding="utf-8")


def _speak_the_users_language() -> None:
    """Translate help where the locale asks for a language; a locale of English costs no import."""
    locale = next((os.environ[n] for n in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(n)), "C")
    if not locale.startswith(("C", "POSIX", "en")) or os.environ.get("LANGUAGE"):
        from lifecycle.cli.help import speak_the_users_language

        speak_the_users_language()


def _run() -> int:
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except VlmError as error:
        from lifecycle.render.output import print_error

        print_error(error, as_json=as_json)
        return error.exit_code
    except typer.Abort:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001
        return _unexpected(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, *, as_json: bool) -> int:
    from lifecycle.render.output import print_error

    if hasattr(error, "format_message"):
        usage = UsageError(error.format_message().rstrip("."), hint=f"see: {_help_of(error)}")
        print_error(usage, as_json=as_json)
        return usage.exit_code
    if os.environ.get("VLM_DEBUG"):
        import traceback

        traceback.print_exc()
    bug = VlmError(
        f"this is a bug in vlm, please report it: {type(error).__name__}: {error}",
        hint="run it again with VLM_DEBUG=1 in the environment and send what it prints",
    )
    print_error(bug, as_json=as_json)
    return bug.exit_code


def _help_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context is not None else 'vlm'} --help"


if __name__ == "__main__":
    main()
