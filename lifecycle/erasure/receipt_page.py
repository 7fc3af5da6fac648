"""A receipt as one self-contained page for people: no scripts, no fonts, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from lifecycle.erasure.graph import NOTHING_LEFT_OPEN, Node, NodeState
from lifecycle.erasure.receipt import Receipt, counts, does_not_prove, proves, wording

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;vertical-align:top;
border-bottom:1px solid #8886}code{font-size:.9em;overflow-wrap:anywhere}
.result{border-left:.4rem solid;padding:.6rem 1rem;background:#8881}.open{border-color:#b00}
.closed{border-color:#080}
@media print{body{margin:0}}
"""


def receipt_page(receipt: Receipt, *, key_id: str, file_name: str) -> str:
    """Return a receipt as HTML.

    Args:
        key_id: SHA-256 of the public key that signed the file beside it.
        file_name: Name of the signed file; the page itself proves nothing.
    """
    closed = receipt.result in NOTHING_LEFT_OPEN
    scope = [node for node in receipt.nodes if node.state.in_scope]
    kept = [node for node in receipt.nodes if node.state is NodeState.RETAINED]
    missed = [node for node in receipt.nodes if node.state is NodeState.NOT_COVERED]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Erasure receipt {escape(receipt.purge_uid[:12])}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Erasure receipt</h1>",
        f'<p class="result {"closed" if closed else "open"}"><strong>{receipt.result.value}</strong><br>',
        f"{escape(wording(receipt))}</p>",
        _facts(receipt, key_id),
        "<h2>What was destroyed</h2>",
        _table(("Place", "What", "State", "How", "Looked at again"), (_destroyed(node) for node in scope)),
        "<h2>What is kept</h2>",
        _table(("What", "Class", "Basis", "Until"), (_kept(node) for node in kept)),
        "<h2>What was not reached</h2>",
        _list([node.what for node in missed]),
        "<h2>What this receipt shows</h2>",
        _list(proves(receipt)),
        "<h2>What it does not show</h2>",
        _list([line for line in does_not_prove(receipt, key_known=False) if line not in _names(missed)]),
        "<p>This page is for reading only; the signed file is what counts. Check that anywhere with",
        f"<code>vlm certificate verify {escape(file_name)}</code></p></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _facts(receipt: Receipt, key_id: str) -> str:
    rows: list[tuple[str, str]] = [
        ("Purge", receipt.purge_uid),
        ("Voice", receipt.voice_uid),
        ("Subjects", ", ".join(receipt.subject_uids) or "none"),
        ("Verb", receipt.verb.value),
        ("Basis", receipt.basis or "not given"),
        ("Committed", receipt.committed_at),
        ("Destroyed", receipt.destroyed_at),
        ("Looked at again", receipt.verified_at),
        ("Plan", receipt.plan_digest),
        ("Places", ", ".join(f"{number} {state}" for state, number in counts(receipt.nodes).items())),
        ("Signing key", key_id),
        ("Made by", receipt.tool),
    ]
    return _table((), ((label, f"<code>{escape(value)}</code>") for label, value in rows), raw=True)


def _destroyed(node: Node) -> tuple[str, ...]:
    return (node.kind, node.what, node.state.value, node.method, node.check)


def _kept(node: Node) -> tuple[str, ...]:
    return (node.kind, node.what, node.basis or "", node.until or "no date")


def _names(nodes: Iterable[Node]) -> frozenset[str]:
    return frozenset(node.what for node in nodes)


def _list(lines: Sequence[str]) -> str:
    return (
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
        if lines
        else "<p>Nothing.</p>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: bool = False) -> str:
    body = "".join(_row(row, "td", raw=raw) for row in rows)
    if not body:
        return "<p>Nothing.</p>"
    return f"<table>{_row(head, 'th', raw=False) if head else ''}{body}</table>"


def _row(cells: Sequence[str], tag: str, *, raw: bool) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell if raw else escape(cell)}</{tag}>" for cell in cells) + "</tr>"
