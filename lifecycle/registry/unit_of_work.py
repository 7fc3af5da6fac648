"""One transaction and the queries in it; it rolls back unless it was committed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection

from lifecycle.domain.errors import VlmError
from lifecycle.registry.move import Rows
from lifecycle.registry.outbox import Outbox
from lifecycle.registry.queries.alerts import AlertQueries
from lifecycle.registry.queries.audits import AuditQueries
from lifecycle.registry.queries.backups import BackupQueries
from lifecycle.registry.queries.cases import CaseQueries
from lifecycle.registry.queries.facts import FactQueries
from lifecycle.registry.queries.findings import FindingQueries
from lifecycle.registry.queries.imports import ImportQueries
from lifecycle.registry.queries.jobs import JobQueries
from lifecycle.registry.queries.notice_counts import NoticeCounts
from lifecycle.registry.queries.notices import NoticeQueries
from lifecycle.registry.queries.people import PeopleQueries
from lifecycle.registry.queries.plans import PlanQueries
from lifecycle.registry.queries.purges import PurgeQueries
from lifecycle.registry.queries.risks import RiskQueries
from lifecycle.registry.queries.shelf import ShelfQueries
from lifecycle.registry.queries.subjects import SubjectQueries
from lifecycle.registry.queries.uses import UseQueries
from lifecycle.registry.queries.verdicts import VerdictQueries
from lifecycle.registry.queries.voices import VoiceQueries
from lifecycle.registry.trail import TextSealer, Trail


class UnitOfWork:
    """What a service may ask and change, in one transaction.

    A registry makes it: `with registry.write() as uow: ...; uow.commit()`.

    Args:
        keep: Commits a writer's transaction; None for a reader.
    """

    def __init__(
        self,
        connection: Connection,
        keep: Callable[..., None] | None = None,
        *,
        sealer: TextSealer | None,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._connection = connection
        self._keep = keep
        self._open = True
        self.trail = Trail(connection, sealer=sealer, clock=clock, random_bytes=random_bytes)

    def commit(self) -> None:
        """Keep everything, durably; the unit of work ends here."""
        if self._keep is None or not self._open:
            raise VlmError("this is a bug in vlm, please report it: a unit of work was committed out of turn")
        self._keep(self._connection, event_uid=self.trail.appended)
        self._open = False

    def close(self) -> None:
        """Drop what was not committed."""
        if self._open:
            self._connection.rollback()
            self._open = False

    @cached_property
    def voices(self) -> VoiceQueries:
        """Voices, versions, artifacts, recording sets."""
        return VoiceQueries(self._connection)

    @cached_property
    def subjects(self) -> SubjectQueries:
        """People, consents, holds."""
        return SubjectQueries(self._connection)

    @cached_property
    def backups(self) -> BackupQueries:
        """Second copies that were made."""
        return BackupQueries(self._connection)

    @cached_property
    def cases(self) -> CaseQueries:
        """Requests of people that must be answered by a day."""
        return CaseQueries(self._connection)

    @cached_property
    def people(self) -> PeopleQueries:
        """Pages of people."""
        return PeopleQueries(self._connection)

    @cached_property
    def rows(self) -> Rows:
        """Every row of every table."""
        return Rows(self._connection)

    @cached_property
    def facts(self) -> FactQueries:
        """What the registry says about itself."""
        return FactQueries(self._connection)

    @cached_property
    def imports(self) -> ImportQueries:
        """Finished rows of imported tables."""
        return ImportQueries(self._connection)

    @cached_property
    def jobs(self) -> JobQueries:
        """Work that may hold decrypted data."""
        return JobQueries(self._connection)

    @cached_property
    def verdicts(self) -> VerdictQueries:
        """What running voices gave."""
        return VerdictQueries(self._connection)

    @cached_property
    def risks(self) -> RiskQueries:
        """Accepted risks."""
        return RiskQueries(self._connection)

    @cached_property
    def audits(self) -> AuditQueries:
        """What an audit asks about many voices at once."""
        return AuditQueries(self._connection)

    @cached_property
    def findings(self) -> FindingQueries:
        """What audits found."""
        return FindingQueries(self._connection)

    @cached_property
    def notice_counts(self) -> NoticeCounts:
        """Notices of very many voices."""
        return NoticeCounts(self._connection)

    @cached_property
    def shelf(self) -> ShelfQueries:
        """Lists of voices, in pages."""
        return ShelfQueries(self._connection)

    @cached_property
    def uses(self) -> UseQueries:
        """Claims that something live depends on a voice."""
        return UseQueries(self._connection)

    @cached_property
    def plans(self) -> PlanQueries:
        """Plans of policies, and the facts that they are made from."""
        return PlanQueries(self._connection)

    @cached_property
    def notices(self) -> NoticeQueries:
        """What policies said would happen."""
        return NoticeQueries(self._connection)

    @cached_property
    def purges(self) -> PurgeQueries:
        """Purge rows, and the rows that a purge deletes."""
        return PurgeQueries(self._connection)

    @cached_property
    def alerts(self) -> AlertQueries:
        """What a night tells people, and what they were told."""
        return AlertQueries(self._connection)

    @cached_property
    def outbox(self) -> Outbox:
        """Work outside the database that this transaction promises."""
        return Outbox(self._connection)
