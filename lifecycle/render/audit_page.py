"""An audit as one self-contained page: it works from a disk without a network, and without its script.

The page fetches nothing: its policy allows one style sheet and one script, each by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from lifecycle.render.audit_sheet import SEVERITIES, Sheet, SheetRow, plain, plural

#: More rows than this make a browser slow; the worst come first and audit.json has more of them.
MAX_ROWS = 2_000
_PAGES = Path(__file__).parent / "pages"


def audit_page(sheet: Sheet) -> bytes:
    """Return the page."""
    style, script = _part("audit.css"), _part("audit.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    rows = sheet.rows[:MAX_ROWS]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(_title(sheet))}</title>",
        f"<style>{style}</style>\n</head>\n<body>",
        _header(sheet),
        "<main>",
        _causes(sheet),
        _findings(sheet, rows),
        _meanings(sheet),
        "</main>",
        _footer(sheet),
        f"<script>{script}</script>\n</body>\n</html>",
    ]
    return ("\n".join(part for part in parts if part) + "\n").encode()


def _part(name: str) -> str:
    return (_PAGES / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _title(sheet: Sheet) -> str:
    return f"Audit of {plural(sheet.voices, 'voice')}, {sheet.time[:10]}"


def _text(value: str) -> str:
    return escape(plain(value))


def _header(sheet: Sheet) -> str:
    said = [plural(sheet.count(word), word) for word in SEVERITIES if sheet.count(word)]
    new = sum(sheet.new.get(word, 0) for word in SEVERITIES)
    verdict = f"{', '.join(said)}; {new:,} new since the audit before" if said else "Nothing is at risk"
    cards = "".join(
        _card(sheet.count(word), plural(sheet.count(word), word).split(" ", 1)[1], word)
        for word in SEVERITIES
    )
    cards += _card(sheet.accepted, "accepted until a day", "plain") + _card(
        sheet.voices, "voices looked at", "good"
    )
    return (
        f'<header>\n<h1>Audit of {plural(sheet.voices, "voice")}</h1>\n<p class="soft">{_when(sheet)}, '
        f'{_seconds(sheet.seconds)}</p>\n<p class="verdict">{escape(verdict)}.</p>\n'
        f'<ul class="cards">{cards}</ul>\n</header>'
    )


def _card(number: int, label: str, kind: str) -> str:
    none = " none" if number == 0 and kind in SEVERITIES else ""
    return f'<li class="{kind}{none}"><b>{number:,}</b>{escape(label)}</li>'


def _when(sheet: Sheet) -> str:
    return f'<time datetime="{sheet.time}">{sheet.time[:10]} {sheet.time[11:16]} UTC</time>'


def _seconds(seconds: float) -> str:
    return f"made in {seconds:.1f} s" if seconds < 90 else f"made in {seconds / 60:.0f} min"


def _causes(sheet: Sheet) -> str:
    """What to do first: each cause once, with how many it concerns and one command."""
    if not sheet.rows:
        return ""
    ranked = sorted(
        sheet.counts.items(), key=lambda item: (SEVERITIES.index(item[0][0]), -item[1], item[0][1])
    )
    body = []
    for (severity, risk), number in ranked:
        first = next((row for row in sheet.rows if (row.severity, row.risk) == (severity, risk)), None)
        if first is None:
            continue
        concerns = _text(first.who) if number == 1 else f"{number:,} findings"
        what = _text(sheet.rules.get(risk, risk))
        body.append(
            f'<tr><td>{_pill(severity)}</td><td class="count"><bdi>{concerns}</bdi></td><td>{what}</td>'
            f"<td><code>{_text(first.next)}</code></td></tr>"
        )
    return (
        '<h2 id="causes">What to do first</h2>\n'
        '<div class="scroll" role="region" aria-labelledby="causes" tabindex="0">'
        '<table><thead><tr><th scope="col">Severity</th><th scope="col">Concerns</th>'
        '<th scope="col">What is wrong</th>'
        '<th scope="col">First thing to do</th></tr></thead>\n<tbody>'
        + "\n".join(body)
        + "</tbody></table></div>"
    )


def _findings(sheet: Sheet, rows: Sequence[SheetRow]) -> str:
    if not rows:
        return "<h2>Findings</h2>\n<p>No voice is at risk that nobody accepted.</p>"
    left = sheet.total - len(rows)
    caption = f"{plural(len(rows), 'finding')}, the worst first"
    if left:
        caption += f"; {left:,} more are not on this page"
    heads = ("Severity", "Voice", "Owner", "Risk", "What is wrong", "First thing to do", "Since")
    head = "".join(f'<th scope="col">{word}</th>' for word in heads)
    return (
        f'<h2 id="all">Findings</h2>\n{_tools()}\n<div class="scroll" role="region" aria-labelledby="all" tabindex="0">'
        f'<table id="findings"><caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(_rows(rows))
        + "\n</tbody></table></div>"
    )


def _tools() -> str:
    options = '<option value="">every severity</option>' + "".join(
        f"<option>{word}</option>" for word in SEVERITIES
    )
    return (
        '<form class="tools" id="tools" role="search" hidden>'
        '<label>Filter<input type="search" id="text" autocomplete="off" placeholder="voice, owner, risk"></label>'
        f'<label>Severity<select id="severity">{options}</select></label>'
        '<label class="tick"><input type="checkbox" id="fresh">new only</label>'
        '<output id="told" aria-live="polite"></output></form>'
    )


def _rows(rows: Sequence[SheetRow]) -> Iterator[str]:
    for row in rows:
        fresh = " data-fresh" if row.new else ""
        mark = '<span class="new">new</span>' if row.new else ""
        identity = f'<span class="id">{_text(row.uid)}</span>' if row.uid else ""
        yield (
            f'<tr data-severity="{row.severity}"{fresh}>'
            f'<td data-key="{SEVERITIES.index(row.severity)}">{_pill(row.severity)}</td>'
            f'<td data-key="{_text(row.voice)}"><bdi class="name">{_text(row.who)}</bdi>{mark}{identity}</td>'
            f"<td><bdi>{_text(row.owner)}</bdi></td><td>{_text(row.risk)}</td>"
            f'<td class="message">{_text(row.message)}</td><td><code>{_text(row.next)}</code></td>'
            f'<td class="count">{_text(row.since[:10])}</td></tr>'
        )


def _pill(severity: str) -> str:
    return f'<span class="pill {severity}">{severity}</span>'


def _meanings(sheet: Sheet) -> str:
    found = sorted({risk for _, risk in sheet.counts})
    if not found:
        return ""
    told = "".join(f"<dt>{_text(word)}</dt><dd>{_text(sheet.rules.get(word, ''))}</dd>" for word in found)
    return f"<h2>What the risks mean</h2>\n<dl>{told}</dl>"


def _footer(sheet: Sheet) -> str:
    accept = '<code>vlm audit accept RISK NAME --until DATE --reason "..."</code>'
    return (
        f'<footer class="soft"><p>To live with a risk until a day: {accept}</p>'
        f"<p>Made by {_text(sheet.tool)}, audit <code>{_text(sheet.audit)}</code>. The same for programs is in "
        "<code>audit.json</code>; this page names voices, so it is for the people who may know them.</p></footer>"
    )
