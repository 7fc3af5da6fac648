"""`vlm registry show`, `vlm registry move`: where the registry lies, and carrying it into another database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, Refused, UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.registry.migrate import HEAD
from lifecycle.registry.queries import facts as names
from lifecycle.services.trail import seal_checkpoint, standing, verify_trail
from lifecycle.settings import masked
from lifecycle.vault.anchor import Standing

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.engine import Registry
    from lifecycle.registry.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a registry lies and what it holds.

    Attributes:
        rows: Number of rows by table.
        moved_to: Where it lives now, if this is what a move left behind.
    """

    kind: str
    place: str
    schema: str
    installation: str
    size_bytes: int
    trail_size: int
    rows: Mapping[str, int]
    moved_to: str | None

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "kind": self.kind,
            "place": self.place,
            "schema": self.schema,
            "installation": self.installation,
            "size_bytes": self.size_bytes,
            "trail_size": self.trail_size,
            "rows": dict(self.rows),
            "moved_to": self.moved_to,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        moved = [] if self.moved_to is None else [f"moved to {self.moved_to}: what is left here is not used"]
        held = ", ".join(f"{count} {table}" for table, count in self.rows.items() if count)
        return [
            f"{self.kind}: {self.place}",
            *moved,
            f"schema {self.schema}, {self.size_bytes / 1e6:.1f} MB, a trail of {self.trail_size} events",
            f"rows: {held or 'none'}",
        ]


@dataclass(frozen=True, slots=True)
class MoveResult:
    """What a move carried, or would carry.

    Attributes:
        finished: The rows had been carried before; only the last step was left, or nothing.
        url: The new URL without its secrets; `sqlite` for the file in VLM_HOME.
    """

    source: str
    target: str
    url: str
    rows: int
    tables: int
    trail_size: int
    finished: bool = False
    dry_run: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "source": self.source,
            "target": self.target,
            "url": self.url,
            "rows": self.rows,
            "tables": self.tables,
            "trail_size": self.trail_size,
            "finished": self.finished,
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people, with what is to be set next."""
        if self.dry_run:
            return [
                f"would move {self.rows} rows of {self.tables} tables to {self.target}; it is empty and answers"
            ]
        did = (
            f"moved to {self.target} already; the trail has {self.trail_size} events there"
            if self.finished
            else f"moved {self.rows} rows of {self.tables} tables to {self.target}; every row was compared, and the "
            f"trail of {self.trail_size} events is whole"
        )
        set_it = (
            "unset VLM_DATABASE_URL, and take database_url out of your user configuration"
            if self.url == "sqlite"
            else f"export VLM_DATABASE_URL='{self.url}'    # with its password, or database_url in your vlm.toml"
        )
        return [
            did,
            f"set it now: {set_it}",
            "then: vlm registry show",
            f"what is left in {self.source} is not opened any more, and no purge reaches it:",
            "delete it once you trust the new one",
        ]


def show(*, rooms: Rooms) -> Shown:
    """Say where the registry lies and what it holds."""
    database = rooms.registry.database
    with rooms.registry.read() as uow:
        rows, size = uow.rows.counts(), uow.trail.head()[0]
    return Shown(
        kind=database.kind,
        place=database.place,
        schema=rooms.registry.schema_version() or "",
        installation=rooms.installation,
        size_bytes=rooms.registry.size_bytes(),
        trail_size=size,
        rows=rows,
        moved_to=rooms.registry.moved_to,
    )


def move(url: str, *, rooms: Rooms, confirm: Callable[[str], None], dry_run: bool = False) -> MoveResult:
    """Carry the registry into another database; what is left stays as it is, marked as moved.

    The order makes it safe to be interrupted anywhere and run again: the target cannot be opened before the source
    says that it was moved, and the source goes on as it was until every row of the target was compared.

    Args:
        url: A URL of PostgreSQL, or `sqlite` for the file in VLM_HOME.
        confirm: Asks the user; raises where the answer is no.

    Raises:
        Refused: The target holds something else, or a purge or a job is open.
        IntegrityError: The registry is older than its anchor, or what arrived is not what was sent.
        Unavailable: A server cannot be reached.
    """
    from lifecycle.registry.engine import Registry

    where = _where(url, rooms)
    target = Registry(where, sealer=rooms.vault.keys, clock=rooms.clock, random_bytes=rooms.random_bytes)
    try:
        facts = _look_into(target, rooms)
        if rooms.registry.moved_to is not None:
            return _finish_again(target, facts, url, rooms)
        _refuse_unready(rooms)
        with rooms.registry.read() as uow:
            counts, size = uow.rows.counts(), uow.trail.head()[0]
        result = _result(target, url, rooms, rows=sum(counts.values()), trail_size=size)
        if dry_run:
            return replace(result, dry_run=True)
        confirm(f"move {result.rows} rows from {result.source} to {result.target}?")
        size = _carry(target, rooms)
        _seal(target, rooms)
        target.vacuum()  # what was there before leaves the file; a server learns how the rows are spread
        return replace(result, trail_size=size)
    finally:
        target.close()


def _where(url: str, rooms: Rooms) -> Path | str:
    home = rooms.settings.home / "registry.db"
    if url == "sqlite" or url.startswith("sqlite:"):
        if url not in {"sqlite", f"sqlite:///{home}"}:
            raise UsageError(
                f'a registry in SQLite lies in "{home}" and nowhere else', hint="vlm registry move sqlite"
            )
        where: Path | str = home
    else:
        where = url
    if where == rooms.registry.where:
        raise UsageError(
            f"the registry lies in {rooms.registry.database.place} already", hint="vlm registry show"
        )
    return where


def _look_into(target: Registry, rooms: Rooms) -> Mapping[str, str]:
    """Return what a target says about itself, if it may be filled: it is empty, or was this registry before."""
    place, version = target.database.place, target.schema_version()
    if version is None:
        if target.tables():
            raise Refused(f"{place} holds tables of something else; nothing was changed")
        return {}
    if version != HEAD:
        raise Refused(f"{place} holds a registry of another vlm (schema {version}); nothing was changed")
    with target.read() as uow:
        facts, (size, head) = uow.facts.all(), uow.trail.head()
        used = size > 0 or any(count for name, count in uow.rows.counts().items() if name != "registry_facts")
    if facts.get(names.INSTALLATION, rooms.installation) != rooms.installation:
        raise Refused(
            f"{place} holds the registry of another home; nothing was changed", hint="vlm registry show"
        )
    if names.INCOMING in facts or not used or rooms.registry.moved_to is not None:
        return facts
    with rooms.registry.read() as uow:
        left = names.MOVED_TO in facts and uow.trail.chain_at(size) == head
    if not left:
        raise Refused(
            f"{place} holds a registry already, which nobody moved away; nothing was changed",
            hint="vlm registry show",
        )
    return facts


def _refuse_unready(rooms: Rooms) -> None:
    if standing(rooms) in {Standing.OLDER, Standing.FORKED}:
        raise IntegrityError(
            "the registry is not what its anchor says, so it is not moved", hint="vlm doctor"
        )
    with rooms.registry.read() as uow:
        purges, jobs = uow.purges.all_open(), uow.jobs.open()
    if purges:
        raise Refused("a purge is not finished, so the registry is not moved", hint="vlm doctor")
    if jobs:
        raise Refused(
            f"a {jobs[0].verb} is running, so the registry is not moved; wait until it has ended",
            hint="vlm doctor",
        )


def _carry(target: Registry, rooms: Rooms) -> int:
    """Copy, compare, mark the source, open the target; return the size of the trail."""
    source, move_id = rooms.registry, rooms.new_uid()
    target.migrate()
    with target.change() as new:
        new.facts.put(names.INSTALLATION, rooms.installation)
        new.facts.put(names.INCOMING, move_id)
        new.commit()
    hit("move.after_mark")
    with source.write() as old:
        old.rows.take_time()
        old.trail.append(
            "registry.moved",
            ids={"move": move_id},
            details={"from": source.database.place, "to": target.database.place},
        )
        n_rows, size = sum(old.rows.counts().values()), old.trail.head()[0]
        _copy(old, target, move_id, n_rows, rooms)
        _compare(old, target, n_rows, rooms)
        hit("move.after_check")
        old.facts.put(names.MOVED_TO, target.database.place)
        old.facts.put(names.MOVE_ID, move_id)
        old.commit()
    source.moved_to, source.writable = target.database.place, False
    hit("move.after_source")
    _open_target(target)
    hit("move.after_target")
    return size


def _copy(old: UnitOfWork, target: Registry, move_id: str, n_rows: int, rooms: Rooms) -> None:
    step = rooms.progress.step("copy", n_rows, "rows")

    def advance(count: int) -> None:
        step.advance(count)
        hit("move.during_copy")

    with target.change() as new:
        new.rows.take_time()
        new.rows.empty()
        old.rows.copy_to(new.rows, advance=advance)
        new.facts.put(names.INCOMING, move_id)
        new.facts.put(names.MOVED_FROM, rooms.registry.database.place)
        new.commit()
    hit("move.after_copy")
    step.done(f"{n_rows} rows")


def _compare(old: UnitOfWork, target: Registry, n_rows: int, rooms: Rooms) -> None:
    step = rooms.progress.step("compare", 2 * n_rows, "rows")
    with target.read() as new:
        new.rows.take_time()
        arrived = new.rows.digests(advance=step.advance)
    sent = old.rows.digests(advance=step.advance)
    wrong = sorted(table for table in sent if sent[table] != arrived[table])
    if wrong:
        raise IntegrityError(
            f"what arrived in {target.database.place} is not what was sent ({', '.join(wrong)}); the registry stays "
            "where it was",
            hint="vlm registry show",
        )
    report = verify_trail(rooms=replace(rooms, registry=target))
    if report.problems:
        raise IntegrityError(
            f"the trail that arrived in {target.database.place} does not verify ({report.problems[0]}); the registry "
            "stays where it was",
            hint="vlm trail verify",
        )
    step.done("every row alike, the trail whole")


def _open_target(target: Registry) -> None:
    with target.change() as new:
        new.facts.drop(names.INCOMING, names.MOVED_TO, names.MOVE_ID)
        new.commit()


def _finish_again(target: Registry, facts: Mapping[str, str], url: str, rooms: Rooms) -> MoveResult:
    """Take the last step of a move that was interrupted after the source had been marked."""
    with rooms.registry.read() as uow:
        move_id = uow.facts.all().get(names.MOVE_ID)
    same = rooms.registry.moved_to == target.database.place
    if not same or not facts or facts.get(names.INCOMING, move_id) != move_id:
        raise Refused(
            f"the registry was moved to {rooms.registry.moved_to}, and not to {target.database.place}",
            hint="set VLM_DATABASE_URL to where it is now",
        )
    if names.INCOMING in facts:
        _open_target(target)
        _seal(target, rooms)
    with target.read() as uow:
        counts, size = uow.rows.counts(), uow.trail.head()[0]
    return _result(target, url, rooms, rows=sum(counts.values()), trail_size=size, finished=True)


def _seal(target: Registry, rooms: Rooms) -> None:
    seal_checkpoint(rooms=replace(rooms, registry=target))


def _result(
    target: Registry, url: str, rooms: Rooms, *, rows: int, trail_size: int, finished: bool = False
) -> MoveResult:
    with rooms.registry.read() as uow:
        tables = len(uow.rows.counts())
    return MoveResult(
        source=rooms.registry.database.place,
        target=target.database.place,
        url="sqlite" if isinstance(target.where, Path) else masked(url),
        rows=rows,
        tables=tables,
        trail_size=trail_size,
        finished=finished,
    )
