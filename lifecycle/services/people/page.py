"""The readable page of a person's export: one file, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8886; }
code { overflow-wrap: anywhere; }
"""


def page_of(record: Mapping[str, Any]) -> str:
    """Return the page of a record that `subject_record.gather` made."""
    who = record["id"] or record["subject"]
    made = f"Made on {_day(record['made_at'])}. In the registry this person is called"
    named = f"<code>{escape(record['subject'])}</code>"
    same = "The same as data: <a href='record.json'>record.json</a>."
    parts = [
        f"<h1>What is held about {escape(str(who))}</h1>",
        f"<p>{made} {named}. {same}</p>",
        "<h2>Voices</h2>",
        *(_voice(voice) for voice in record["voices"]),
        "<h2>Consents</h2>",
        _table(
            ("scope", "for", "received", "valid", "state", "document"),
            [_consent(c) for c in record["consents"]],
        ),
        "<h2>Requests</h2>",
        _table(
            ("request", "received", "due", "closed"),
            [[c["kind"], c["received_on"], c["due_on"], _day(c["closed_at"])] for c in record["cases"]],
        ),
        "<h2>What is kept, and until when</h2>",
        _table(
            ("voice", "what", "until", "because"),
            [
                [k["voice"] or "", k["what"], _day(k["until"]) or "no end", k["because"]]
                for k in record["kept"]
            ],
        ),
        "<h2>What happened</h2>",
        _table(("when", "what", "details"), [_event(event) for event in record["events"]]),
        "<h2>Receipts of what was destroyed</h2>",
        _list([_link(name) for name in record["certificates"]]),
        "<h2>What is not in this export</h2>",
        _list([escape(line) for line in record["not_included"]]),
    ]
    head = f"<meta charset='utf-8'><title>{escape(str(who))}</title><style>{_STYLE}</style>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}</head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _voice(voice: Mapping[str, Any]) -> str:
    name = voice["name"] or "(erased)"
    uses = ", ".join(use["place"] for use in voice["uses"]) or "nothing says that it depends on it"
    facts = [
        ["state", voice["state"]],
        ["registered", _day(voice["registered_at"])],
        ["last used", _day(voice["last_used_at"]) or "never"],
        ["may be used for", voice["rights"] or "not said"],
        ["kept by policy", voice["policy"]],
        ["used by", uses],
    ]
    files = [
        [
            file["role"],
            file["class"],
            file["name"] or "",
            f"{file['size']} bytes",
            _day(file["added_at"]),
            _Html(_link(file["included"])) if file["included"] else "described only",
        ]
        for file in voice["files"]
    ]
    table = _table(("file", "class", "name", "size", "added", "copy"), files)
    return f"<h3>{escape(name)}</h3>{_table((), facts)}{table}"


def _consent(consent: Mapping[str, Any]) -> list[str]:
    start, end = _day(consent["valid_from"]), _day(consent["valid_until"])
    valid = f"{f'from {start} ' if start else ''}{f'until {end}' if end else 'until withdrawn'}"
    state = "holds" if consent["holds"] else "does not hold today"
    if consent["withdrawn_at"]:
        state = f"withdrawn {_day(consent['withdrawn_at'])}"
    document = _Html(_link(consent["document"])) if consent["document"] else "none is left"
    which = "all voices" if consent["all_voices"] else consent["voice"] or "(erased)"
    return [", ".join(consent["scope"]), which, _day(consent["received_at"]), valid, state, document]


def _event(event: Mapping[str, Any]) -> list[str]:
    details = event["details"] or {}
    told = "; ".join(f"{key}: {value}" for key, value in details.items() if value not in (None, "", [], {}))
    return [event["at"].replace("T", " "), event["what"], told]


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>none</p>"
    top = "<tr>" + "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head) + "</tr>" if head else ""
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _cell(cell: str) -> str:
    return cell if isinstance(cell, _Html) else escape(str(cell))


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>" if items else "<p>none</p>"


def _link(name: str) -> str:
    return f"<a href='{escape(name, quote=True)}'>{escape(name)}</a>"


def _day(moment: str | None) -> str:
    return "" if not moment else moment[:10]
