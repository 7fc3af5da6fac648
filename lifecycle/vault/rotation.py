"""Purging keys: a new epoch under which only the survivors are wrapped, and then the old epoch's end.

Deleting a wrap is not enough, because every copy of keys.db still has it. So each purge moves all survivors to
a new epoch and destroys the key of the old one, which no copy of VLM_HOME contains. A key above a destroyed
one that stays (the person has another living voice) is replaced as well. Order, each step durable before the
next: new epoch -> rewrap beside the old wraps -> a fresh process opens every new wrap -> old wraps deleted ->
keybag written and read back -> key of the old epoch destroyed -> VACUUM and full checkpoint -> files searched.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError, UsageError
from lifecycle.domain.progress import Progress, Silent, Step
from lifecycle.vault import key_database as rows
from lifecycle.vault.fresh import opened_by_fresh_process
from lifecycle.vault.key_chain import KeyChain
from lifecycle.vault.key_database import KeyRow, Rotation, WrapRow
from lifecycle.vault.keybag import drop_older, write_keybag
from lifecycle.vault.keys import DATA_PURPOSES, KeyStore, PurgedKeys, arguments_digest
from lifecycle.vault.wraps import KEY_BYTES, wrap

if TYPE_CHECKING:
    from pathlib import Path

WINDOW_BYTES = 24
_EVIDENCE = frozenset({"evidence", "evidence-root"})
_STEPS = 7


@dataclass(frozen=True, slots=True)
class Wanted:
    """The arguments of a purge."""

    key_ids: tuple[str, ...]
    subject: str | None
    subject_leaves: bool

    def digest(self) -> str:
        """Return by what this purge is recognised when it is asked for again."""
        value = {"keys": list(self.key_ids), "subject": self.subject, "leaves": self.subject_leaves}
        return arguments_digest(canonical_json(value).decode())


@dataclass(frozen=True, slots=True)
class Plan:
    """Which keys die, and which are replaced by new ones with these ids; random ids only."""

    destroy: frozenset[str]
    replace: Mapping[str, str]

    def to_text(self) -> str:
        """Return the plan as it is stored until the old wraps are gone."""
        return canonical_json({"destroy": sorted(self.destroy), "replace": dict(self.replace)}).decode()

    @classmethod
    def from_text(cls, text: str) -> Plan:
        """Read a stored plan."""
        value = json.loads(text)
        return cls(frozenset(value["destroy"]), value["replace"])


@dataclass(slots=True)
class _Run:
    """What one call knows beyond the durable row."""

    store: KeyStore
    step: Step
    failpoint: Callable[[str], None]
    windows: list[bytes] = field(default_factory=list)
    destroyed: set[str] = field(default_factory=set)
    residue: int = 0

    def passed(self, name: str) -> None:
        self.step.advance(1)
        self.failpoint(name)


def purge(
    store: KeyStore, wanted: Wanted, *, progress: Progress | None, failpoint: Callable[[str], None]
) -> PurgedKeys:
    """Destroy what is wanted, or finish what was begun; the caller holds the lock. See `KeyStore.purge`."""
    if wanted.subject_leaves and wanted.subject is None:
        raise UsageError("a purge in which the subject leaves must name the subject")
    step = (progress or Silent()).step("destroying keys", _STEPS)
    run = _Run(store, step, failpoint)
    with store.database.read() as connection:
        pending = rows.rotation(connection)
    if pending is not None:
        done = _finish(run, pending)
        if pending.arguments == wanted.digest():
            return _result(run, wanted, done)
    with store.database.read() as connection:
        plan = plan_of(connection, wanted, store=store)
        _must_open(connection, plan, store)
        earlier = rows.rotation(connection, arguments=wanted.digest())
        number = rows.current_epoch(connection).number
    if plan.destroy:
        return _result(run, wanted, _finish(run, _begin(run, wanted, plan, number)))
    if earlier is not None:
        return _result(run, wanted, earlier)
    step.done("nothing was left to destroy")
    return PurgedKeys(wanted.key_ids, number, number, None, "nothing was left to destroy", 0, searched=False)


def _must_open(connection: sqlite3.Connection, plan: Plan, store: KeyStore) -> None:
    """Refuse before anything is changed if a survivor is damaged: an older copy may still have its good wrap."""
    if not plan.destroy:
        return
    chain = KeyChain(connection, store.holder)
    for uid in sorted(set(rows.key_rows(connection)) - plan.destroy):
        try:
            chain.material(uid)
        except IntegrityError as error:
            raise IntegrityError(
                f"a key that must survive does not open; nothing was destroyed: {error.message}",
                hint=error.hint,
            ) from None


def resume(store: KeyStore, *, failpoint: Callable[[str], None]) -> bool:
    """Finish a purge of keys that was interrupted; False if there is none. The caller holds the lock."""
    with store.database.read() as connection:
        pending = rows.rotation(connection)
    if pending is not None:
        _finish(_Run(store, Silent().step(""), failpoint), pending)
    return pending is not None


def plan_of(connection: sqlite3.Connection, wanted: Wanted, *, store: KeyStore) -> Plan:
    """Decide which keys die and which above them are replaced.

    Raises:
        UsageError: A key that is no data key was named.
        IntegrityError: A survivor hangs under a key that would die.
    """
    keys, wraps = rows.key_rows(connection), rows.wrap_rows(connection)
    destroy = {uid for uid in wanted.key_ids if uid in keys}
    if any(keys[uid].purpose not in DATA_PURPOSES for uid in destroy):
        raise UsageError("only data keys can be named in a purge")
    if wanted.subject_leaves:
        destroy |= {
            key.uid for key in keys.values() if key.subject == wanted.subject and key.purpose not in _EVIDENCE
        }
    above = {row.wrapping for row in wraps if row.wrapped in destroy and row.wrapping in keys} - destroy
    # A key that has no wrap any more is lost already; it must not keep others from being destroyed.
    destroy |= set(keys) - {row.wrapped for row in wraps}
    # A root of evidence with nothing left under it dies with it.
    used = {row.wrapping for row in wraps if row.wrapped not in destroy}
    destroy |= {uid for uid in above if keys[uid].purpose == "evidence-root" and uid not in used}
    above -= destroy
    held = {row.wrapped for row in wraps if row.wrapping not in destroy}
    if lost := set(keys) - destroy - held:
        raise IntegrityError(
            f'key "{sorted(lost)[0][:12]}" would be lost with a key above it; nothing was destroyed'
        )
    return Plan(frozenset(destroy), {uid: store.random_bytes(16).hex() for uid in sorted(above)})


def _begin(run: _Run, wanted: Wanted, plan: Plan, old: int) -> Rotation:
    store = run.store
    run.failpoint("keys.before_epoch")
    epoch = store.new_epoch(old + 1)
    run.failpoint("keys.after_holder")
    with store.database.write() as connection:
        rows.add_epoch(connection, epoch)
        connection.execute(
            "INSERT INTO rotations (arguments, plan, old_epoch, new_epoch, step) VALUES (?, ?, ?, ?, 'begun')",
            (wanted.digest(), plan.to_text(), old, epoch.number),
        )
        begun = rows.rotation(connection)
    assert begun is not None
    run.passed("keys.after_epoch")
    return begun


def _finish(run: _Run, rotation: Rotation) -> Rotation:
    """Do the steps that are left, each of which may be repeated."""
    store = run.store
    if rotation.plan is not None:
        plan = Plan.from_text(rotation.plan)
        with store.database.write() as connection:
            _rewrap(connection, store, plan, rotation)
        run.passed("keys.after_rewrap")
        opened = _verify(store, plan, rotation)
        run.passed("keys.after_fresh_process")
        _switch(run, plan, rotation, opened)
        run.passed("keys.after_switch")
    with store.database.read() as connection:
        write_keybag(connection, store.holder, keybag_path(store, rotation.new_epoch))
    run.passed("keys.after_keybag")
    for epoch in store.holder.epochs():
        if epoch < rotation.new_epoch:
            store.holder.destroy(epoch)
    drop_older(keybag_path(store, rotation.new_epoch))
    run.passed("keys.after_destroy")
    store.database.forget()
    run.passed("keys.after_vacuum")
    run.residue = residue(store, run.windows)
    run.failpoint("keys.after_scan")
    with store.database.write() as connection:
        connection.execute("UPDATE rotations SET step = 'done' WHERE id = ?", (rotation.id,))
        row = connection.execute("SELECT opened FROM rotations WHERE id = ?", (rotation.id,)).fetchone()
    run.step.done(f"{row[0]} surviving keys moved to epoch {rotation.new_epoch}")
    return Rotation(
        rotation.id, rotation.arguments, None, rotation.old_epoch, rotation.new_epoch, "done", row[0]
    )


def _rewrap(connection: sqlite3.Connection, store: KeyStore, plan: Plan, rotation: Rotation) -> None:
    """Wrap every survivor under the new epoch, beside the old wraps; what an earlier try left is replaced."""
    connection.execute("DELETE FROM wraps WHERE epoch = ?", (rotation.new_epoch,))
    connection.executemany("DELETE FROM keys WHERE uid = ?", [(uid,) for uid in plan.replace.values()])
    old = KeyChain(connection, store.holder, epoch=rotation.old_epoch)
    keys = rows.key_rows(connection)
    epochs = rows.epochs(connection)
    old_store, new_store = epochs[rotation.old_epoch], epochs[rotation.new_epoch]
    renamed = {**plan.replace, old_store.store_key: new_store.store_key}
    materials = {uid: store.random_bytes(KEY_BYTES) for uid in plan.replace.values()}
    materials[new_store.store_key] = old.store_key(new_store)
    for uid, new_uid in plan.replace.items():
        replaced = keys[uid]
        rows.add_key(
            connection,
            KeyRow(new_uid, replaced.purpose, replaced.subject, replaced.ends_at, replaced.created_at),
        )
    for row in rows.wrap_rows(connection):
        if row.wrapped in plan.destroy or row.wrapping in plan.destroy:
            continue
        wrapped, wrapping = renamed.get(row.wrapped, row.wrapped), renamed.get(row.wrapping, row.wrapping)
        for uid in (wrapped, wrapping):
            if uid not in materials:
                materials[uid] = old.material(uid)
        new = WrapRow(wrapping, wrapped, rotation.new_epoch, b"")
        content = wrap(
            materials[wrapping],
            materials[wrapped],
            new.binding(keys[row.wrapped]),  # person and purpose, which a replaced key keeps
            random_bytes=store.random_bytes,
        )
        rows.add_wrap(connection, WrapRow(wrapping, wrapped, rotation.new_epoch, content))
    connection.execute("UPDATE rotations SET step = 'rewrapped' WHERE id = ?", (rotation.id,))


def _verify(store: KeyStore, plan: Plan, rotation: Rotation) -> int:
    """Let a fresh process open every new wrap and compare what it opened with the keys before."""
    check_key = store.random_bytes(KEY_BYTES)
    with store.database.read() as connection:
        old = KeyChain(connection, store.holder, epoch=rotation.old_epoch)
        new = KeyChain(connection, store.holder, epoch=rotation.new_epoch)
        added = set(plan.replace.values())
        expected = {
            uid: (new if uid in added else old).material(uid)
            for uid in rows.key_rows(connection)
            if uid not in plan.destroy and uid not in plan.replace
        }
    return opened_by_fresh_process(
        store.database.path, store.holder.folder, rotation.new_epoch, check_key, expected
    )


def _switch(run: _Run, plan: Plan, rotation: Rotation, opened: int) -> None:
    """Delete every row of the old epoch; what to search for afterwards stays in memory only."""
    gone = plan.destroy | set(plan.replace)
    with run.store.database.write() as connection:
        keys = rows.key_rows(connection)
        run.destroyed = {uid for uid in plan.destroy if keys[uid].purpose in DATA_PURPOSES}
        values = [row.content for row in rows.wrap_rows(connection) if row.wrapped in gone]
        values += [epoch.wrapped for epoch in rows.epochs(connection).values() if not epoch.current]
        run.windows = [piece for value in values for piece in windows_of(value)]
        connection.execute("DELETE FROM wraps WHERE epoch <> ?", (rotation.new_epoch,))
        connection.executemany("DELETE FROM keys WHERE uid = ?", [(uid,) for uid in gone])
        connection.execute("DELETE FROM epochs WHERE number <> ?", (rotation.new_epoch,))
        left = {row.wrapped for row in rows.wrap_rows(connection)}
        if left != set(rows.key_rows(connection)) or left & gone:
            raise IntegrityError(
                "a key has no wrap under the new epoch; nothing was destroyed", hint="vlm doctor"
            )
        connection.execute(
            "UPDATE rotations SET plan = NULL, step = 'switched', opened = ? WHERE id = ?",
            (opened, rotation.id),
        )


def windows_of(value: bytes) -> list[bytes]:
    """Return pieces of a value that together cover it; SQLite cuts values, so whole ones are not searched for."""
    last = max(len(value) - WINDOW_BYTES, 0)
    return [value[start : start + WINDOW_BYTES] for start in sorted({*range(0, last, WINDOW_BYTES), last})]


def residue(store: KeyStore, windows: list[bytes]) -> int:
    """Count the pieces that are still in the files of keys.db."""
    found = 0
    for path in store.database.files():
        content = path.read_bytes()
        found += sum(1 for window in windows if window in content)
    return found


def keybag_path(store: KeyStore, epoch: int) -> Path:
    """Return where the keybag of an epoch lies: beside the keys, so that it is never in a copy of VLM_HOME."""
    return store.holder.folder.parent / "keybags" / f"keybag-{epoch:08d}.json"


def _result(run: _Run, wanted: Wanted, done: Rotation) -> PurgedKeys:
    return PurgedKeys(
        destroyed=tuple(sorted({*wanted.key_ids, *run.destroyed})),
        old_epoch=done.old_epoch,
        new_epoch=done.new_epoch,
        keybag=keybag_path(run.store, done.new_epoch),
        verified_by=f"a fresh process opened all {done.opened} surviving wraps",
        residue=run.residue,
        searched=bool(run.windows),
    )
