"""Notices: what a policy said would happen to which voice, when it said so, and when somebody was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, maybe_time, to_text


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice about one voice.

    Attributes:
        stage: How long before the due time it belongs, such as "P7D".
        due_at: When the action is due.
    """

    uid: str
    voice_uid: str
    policy: str
    rule: str
    stage: str
    due_at: datetime
    noticed_at: datetime
    delivered_at: datetime | None = None


class NoticeQueries:
    """What services ask and add about notices; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, notice: Notice) -> None:
        """Store a notice; each stage is said once for each voice, rule and due time.

        Raises:
            IntegrityError: Its voice does not exist.
        """
        voice_id = self._connection.scalar(select(t.voices.c.id).where(t.voices.c.uid == notice.voice_uid))
        if voice_id is None:
            raise IntegrityError(f"voice {notice.voice_uid[:12]} has no row", hint="vlm doctor")
        self._connection.execute(
            t.notices.insert().values(
                uid=notice.uid,
                voice_id=voice_id,
                policy=notice.policy,
                rule=notice.rule,
                item=notice.voice_uid,
                stage=notice.stage,
                due_at=to_text(notice.due_at),
                noticed_at=to_text(notice.noticed_at),
            )
        )

    def of_voice(self, voice_uid: str) -> list[Notice]:
        """Return the notices about a voice, oldest first."""
        rows = self._connection.execute(
            select(t.notices).where(t.notices.c.item == voice_uid).order_by(t.notices.c.id)
        )
        return [
            Notice(
                uid=row.uid,
                voice_uid=row.item,
                policy=row.policy,
                rule=row.rule,
                stage=row.stage,
                due_at=from_text(row.due_at),
                noticed_at=from_text(row.noticed_at),
                delivered_at=maybe_time(row.delivered_at),
            )
            for row in rows
        ]
