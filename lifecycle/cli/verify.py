"""`vlm verify`, `vlm golden record`, `vlm golden show`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.cli.common import (
    DryRunOption,
    Invocation,
    JsonOption,
    OfflineOption,
    QuietOption,
    VerboseOption,
    VoiceArgument,
    YesOption,
)
from lifecycle.cli.complete import voices

if TYPE_CHECKING:
    from lifecycle.runtimes.model import RuntimePlan
    from lifecycle.services.verify_result import Result, Verified, VerifyPlan

golden_app = typer.Typer(help="Keep what a voice says today, to compare with later.", rich_markup_mode=None)

TorchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--torch", metavar="VERSION", help="2.13.0, 2.13 (newest patch) or 2.x (newest); repeatable."
    ),
]


def add(app: typer.Typer) -> None:
    """Register the family."""
    app.command(epilog="Example: vlm verify kol-lin --torch 2.13 --torch 2.x")(verify)
    app.add_typer(golden_app, name="golden", no_args_is_help=True)


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Voices; every voice in service if left out.",
            autocompletion=voices,
        ),
    ] = None,
    torch: TorchOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    again: Annotated[
        bool, typer.Option("--again", help="Run although nothing changed since the last time.")
    ] = False,
    why: Annotated[
        bool,
        typer.Option("--why", help="Show every step with its distance, its tolerance and the reason for it."),
    ] = False,
    offline: OfflineOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run voices on torch versions, compared with goldens."""
    from lifecycle.services.verify import plan
    from lifecycle.services.verify import verify as run
    from lifecycle.services.verify_result import VerifyRequest

    call = Invocation(json=json, quiet=quiet, verbose=verbose, yes=yes, dry_run=dry_run, offline=offline)
    rooms = call.rooms()
    planned = plan(VerifyRequest(tuple(names or ()), tuple(torch or ()), device, again), rooms=rooms)
    if dry_run:
        call.end({**planned.to_json(), "dry_run": True}, _planned(planned))
    if not planned.voices:
        call.end(
            {"results": [], "dry_run": False},
            ["there is no voice to verify", "next: vlm register NAME --weights FILE"],
        )
    if planned.missing:
        call.say(_planned(planned)[0])
        _ask(call, planned.missing)
    done = run(planned, rooms=rooms)
    call.end(_told(done, why=why), _shown(done, why=why), exit_code=done.exit_code)


def _ask(call: Invocation, missing: Sequence[RuntimePlan]) -> None:
    """Ask before anything is fetched; where nobody can be asked, name the command that does it."""
    from lifecycle.domain.errors import Unavailable

    fetched = [one for one in missing if one.download_bytes != 0]
    if call.yes or not fetched:
        return
    if call.json or not sys.stdin.isatty():
        raise Unavailable(
            f"torch {fetched[0].torch} is not installed here ({_size(fetched[0])}, {fetched[0].source})",
            hint=f"vlm runtime add {fetched[0].torch} --yes",
        )
    call.confirm(f"to download: {', '.join(f'torch {one.torch} ({_size(one)})' for one in fetched)}")


def _size(planned: RuntimePlan) -> str:
    from lifecycle.render.output import megabytes

    return "size unknown" if planned.download_bytes is None else megabytes(planned.download_bytes)


def _planned(planned: VerifyPlan) -> list[str]:
    voices, runtimes = len(planned.voices), len(planned.runtimes)
    line = f"{voices} voice{'' if voices == 1 else 's'} x {runtimes} runtime{'' if runtimes == 1 else 's'}"
    if planned.missing:
        todo = ", ".join(f"torch {one.torch} ({_size(one)}, {one.source})" for one in planned.missing)
        line = f"{line}; to set up: {todo}"
    return [line, *(f"  {name}" for name in planned.voices)]


def _told(done: Verified, *, why: bool) -> Mapping[str, object]:
    results = []
    for result in done.results:
        told = dict(result.to_json())
        detail = told.pop("detail")
        results.append({**told, "detail": detail} if why else told)
    return {"results": results, "dry_run": False}


def _shown(done: Verified, *, why: bool) -> list[str]:
    """Return the table: a voice in each row, a torch in each column, then what to do, then the tally."""
    from lifecycle.render.output import columns
    from lifecycle.services.verify_result import tally

    cells: dict[str, dict[str, Result]] = {}
    for result in done.results:
        cells.setdefault(result.row.voice, {})[result.row.torch] = result
    table = [["", *done.torches]]
    table += [[name, *(_cell(row.get(torch)) for torch in done.torches)] for name, row in cells.items()]
    lines = columns(table)
    todo = _todo(done.results)
    if todo:
        lines += ["", *columns(todo)]
    if why:
        lines += [line for result in done.results for line in _why(result)]
    reused = sum(result.reused for result in done.results)
    last = tally([*done.results])
    if reused:
        last = f"{last}; {reused} of {len(done.results)} known from before, run again with --again"
    return [*lines, "", last]


def _cell(result: Result | None) -> str:
    from lifecycle.render.output import styled

    if result is None:
        return ""
    styles = {"works": "good", "not_checked": "dim", "differs": "warn"}
    verdict = result.row.verdict.value
    code = "" if result.row.code == "none" else f"{result.row.code}: "
    return code + styled(verdict.replace("_", " "), styles.get(verdict, "bad"))


def _todo(results: Sequence[Result]) -> list[list[str]]:
    """Return what to do, worst first; one reason on several torches is one line."""
    folded: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.row.next:
            folded.setdefault((result.row.voice, result.row.reason), []).append(result)
    ordered = sorted(folded.items(), key=lambda item: -item[1][0].row.verdict.exit_code)
    lines = []
    for (voice, reason), same in ordered:
        torches = ", ".join(result.row.torch for result in same)
        lines.append([voice, f"torch {torches}", reason, same[0].row.next or ""])
    return lines


def _why(result: Result) -> list[str]:
    """Return every step of a row with its reason."""
    from lifecycle.render.output import columns

    row, detail = result.row, result.row.detail
    sandbox = "" if row.sandbox == "none" else f", fenced by {row.sandbox}"
    lines = [
        "",
        f"{row.voice} on torch {row.torch} ({row.build}, Python {row.python}, {row.device}{sandbox})",
    ]
    if blame := detail.get("blame"):
        lines.append(f"  {blame}")
    files = detail.get("files")
    lines += (
        [f"  torch said: {one['said']}" for one in files if "said" in one] if isinstance(files, list) else []
    )
    findings = detail.get("findings")
    lines += [f"  known: {one['message']}" for one in findings] if isinstance(findings, list) else []
    steps = detail.get("steps")
    if isinstance(steps, list):
        lines += columns([_step(step) for step in steps])
    return lines


def _step(step: Mapping[str, object]) -> list[str]:
    distance = step["distance"]
    relation = "<=" if step["passed"] else ">"
    shown = (
        str(step["note"]) if distance is None else f"{distance} {relation} {step['tolerance']} {step['unit']}"
    )
    sentence = "voice" if step["sentence"] == 0 else f"sentence {step['sentence']}"
    return [f"  {sentence}", str(step["step"]), shown, str(step["why_this_tolerance"])]


@golden_app.command("record", epilog="Example: vlm golden record kol-lin")
def record_golden(
    name: VoiceArgument,
    torch: Annotated[
        str | None,
        typer.Option("--torch", metavar="VERSION", help="An installed torch; the default one if left out."),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Keep each step of two fixed sentences, sealed."""
    from lifecycle.render.output import megabytes
    from lifecycle.services.golden import record

    call = Invocation(json=json, quiet=quiet, dry_run=dry_run)
    done = record(name, torch=torch, rooms=call.rooms(), dry_run=dry_run)
    what = f"a golden of {name}: {done.sentences} sentences on torch {done.torch} ({done.build})"
    line = f"would record {what}" if dry_run else f"recorded {what}, {megabytes(done.size_bytes)}, sealed"
    call.end({**done.to_json(), "dry_run": dry_run}, [line, f"next: vlm verify {name} --torch 2.x"])


@golden_app.command("show", epilog="Example: vlm golden show kol-lin")
def show_golden(
    name: VoiceArgument,
    json: JsonOption = False,
) -> None:
    """Show where and when a golden was recorded.

    Nothing that identifies the person is shown: no sample and no vector.
    """
    from lifecycle.render.output import columns
    from lifecycle.services.golden import described

    call = Invocation(json=json)
    found = described(name, rooms=call.rooms(writable=False))
    if found is None:
        call.end(
            {"voice": name, "golden": None}, [f"{name} has no golden yet", f"next: vlm golden record {name}"]
        )
    sentences = found.get("sentences")
    rows = [[key.replace("_", " "), str(value)] for key, value in found.items() if key != "sentences"]
    rows += (
        [["sentence", f'"{s["text"]}"  {s["seconds"]} s'] for s in sentences]
        if isinstance(sentences, list)
        else []
    )
    call.end({"voice": name, "golden": dict(found)}, columns(rows))
