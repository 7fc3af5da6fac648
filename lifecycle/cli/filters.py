"""Options that say which voices are meant, shared by the commands that look at many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.cli.people import from_input

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.filters import VoiceFilter

OwnerFilter = Annotated[
    str | None,
    typer.Option("--owner", metavar="TEAM", help='Only voices of this owner; "" for those without.'),
]
SubjectFilter = Annotated[
    str | None,
    typer.Option(
        "--subject",
        metavar="ID",
        help="Only voices of this person: an id or pseudonym; - reads it from input.",
    ),
]
StateFilter = Annotated[
    list[str] | None, typer.Option("--state", metavar="STATE", help="Only voices in this state; repeatable.")
]
UpstreamFilter = Annotated[
    str | None, typer.Option("--upstream", metavar="URL", help='Only voices of this upstream; "" for none.')
]
PolicyFilter = Annotated[
    str | None, typer.Option("--policy", metavar="NAME", help="Only voices that this policy keeps.")
]
GroupByOption = Annotated[
    str | None,
    typer.Option(
        "--group-by", metavar="WHAT", help="Count by owner, subject, state, upstream or policy too."
    ),
]


def voice_filter(
    *,
    rooms: Rooms,
    owner: str | None,
    subject: str | None,
    states: Sequence[str] | None,
    upstream: str | None,
    policy: str | None,
) -> VoiceFilter:
    """Return the filter that the options mean.

    Raises:
        NotFound: Nobody is known by the id.
        UsageError: There is no such state.
    """
    from lifecycle.services.filters import filter_of

    return filter_of(
        rooms=rooms,
        owner=owner,
        subject=from_input(subject),
        states=states or (),
        upstream=upstream,
        policy=policy,
    )
