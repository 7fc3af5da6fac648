"""The steps of a committed purge. Each may be done twice, and is ticked off only when it is durable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.canonical import Json
from lifecycle.domain.errors import Busy, IntegrityError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.purges import Purge, PurgeState
from lifecycle.erasure.graph import NOTHING_LEFT_OPEN
from lifecycle.erasure.plan import Plan, PurgeVerb, node_from_json
from lifecycle.erasure.receipt import Receipt, rfc3339
from lifecycle.services.jobs import clear_dead, strays
from lifecycle.services.people.cases import close_finished
from lifecycle.services.purges.check import look_again
from lifecycle.services.purges.journal import Journal, drop_journal, journal_path
from lifecycle.services.purges.nodes import Result, Work, nodes_around, places_of, stored_nodes
from lifecycle.services.purges.originals import remove_original
from lifecycle.services.purges.preview import not_covered
from lifecycle.services.purges.receipts import Written, write_receipt
from lifecycle.services.trail import seal_checkpoint
from lifecycle.vault.ledger import EntryKind

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.outbox import Promise

_JOBS_SECONDS = 20.0

# In this order: nothing is destroyed before the ledger says so, originals are compared while their
# fingerprint key lives, and keys die before rows so that a crash leaves what still tells where to look.
STEPS = ("ledger", "originals", "work", "blobs", "keys", "rows", "vacuum", "verify", "receipt")


def run_steps(purge: Purge, journal: Journal, *, rooms: Rooms) -> Written:
    """Do what is still promised, in order, and return the receipt.

    Raises:
        IntegrityError: The stored plan is damaged.
    """
    try:
        plan = Plan.from_json(purge.plan)
    except ValueError as error:
        raise IntegrityError(f"purge {purge.uid[:12]} cannot go on: {error}", hint="vlm doctor") from None
    if plan.digest() != purge.plan_digest:
        raise IntegrityError(f"the plan of purge {purge.uid[:12]} was changed since it was shown")
    work = Work(purge, plan, journal, rooms)
    with rooms.registry.read() as uow:
        promised = uow.outbox.of(purge.uid)
    for promise in promised:
        if promise.done:
            continue
        _HANDLERS[promise.action](work, promise)
    written = work.results()["receipt"]
    path = Path(str(written["path"]))
    return Written(path=path, page=path.with_suffix("").with_suffix(".html"), receipt=_receipt(work))


def _tick(work: Work, promise: Promise, result: Result | None = None) -> None:
    with work.rooms.registry.write() as uow:
        uow.outbox.done(promise, at=work.rooms.clock(), result=result)
        uow.commit()


def _ledger(work: Work, promise: Promise) -> None:
    step = work.rooms.progress.step("ledger")
    entry = work.rooms.vault.ledger.append(
        EntryKind.COMMITTED, work.purge.uid, ids=ledger_ids(work.plan, digest=work.purge.plan_digest)
    )
    hit("purge.after_ledger_committed")
    _tick(work, promise, {"entry": dict(entry.record)})
    step.done("written before anything is destroyed")
    hit("purge.after_ledger")


def ledger_ids(plan: Plan, *, digest: str) -> dict[str, Json]:
    """Return what an old backup needs to be brought up to date: random ids and digests of ciphertext only."""
    return {
        "verb": plan.verb.value,
        "voice": plan.voice_uid,
        "subjects": list(plan.subject_uids),
        "leaving": list(plan.leaving),
        "keys": sorted(plan.keys),
        "artifacts": sorted(target.artifact_uid for target in plan.targets),
        # The digest of a plain model would tell whose receipt it is to anyone who has that file.
        "blobs": sorted(str(target.digest) for target in plan.targets if target.data_class.sealed),
        "plan": digest,
    }


def _originals(work: Work, promise: Promise) -> None:
    """Remove the files that the recordings came from, where that was asked for and they are still the same."""
    gone: dict[str, str] = {}
    if work.plan.remove_originals and work.journal.originals:
        with work.rooms.registry.read() as uow:
            voice = uow.voices.by_uid(work.plan.voice_uid)
            artifacts = {each.uid: each for each in uow.voices.artifacts(work.plan.voice_uid)}
        for node, path in work.journal.originals.items():
            artifact = artifacts.get(work.journal.artifacts[node])
            if voice is not None and artifact is not None:
                gone[node] = remove_original(voice, artifact, Path(path), rooms=work.rooms)
            hit("purge.during_originals")
    _tick(work, promise, {"originals": gone})
    hit("purge.after_originals")


def _work(work: Work, promise: Promise) -> None:
    """Empty the work folders: decrypted data of a job that began before this purge must not outlive it.

    A job that still runs keeps its folder; its output is void, since the person's generation rose, and the
    look afterwards says that it was still there.
    """
    work.rooms.vault.blobs.clean_stray()
    clear_dead(work.rooms)
    _wait_for_jobs(work)
    for stray in strays(work.rooms):
        if stray.is_dir() and not stray.is_symlink():
            shutil.rmtree(stray, ignore_errors=True)
    _tick(work, promise)
    hit("purge.after_work")


def _wait_for_jobs(work: Work) -> None:
    """Give jobs that run beside this purge a moment to end; nobody knows whose data they hold."""
    deadline = time.monotonic() + _JOBS_SECONDS
    while time.monotonic() < deadline:
        with work.rooms.registry.read() as uow:
            if not uow.jobs.open():
                return
        time.sleep(0.5)
        clear_dead(work.rooms)


def _blobs(work: Work, promise: Promise) -> None:
    going = [target for target in work.plan.targets if target.remove_blob]
    step = work.rooms.progress.step("destroy", len(going), "files")
    for target in going:
        work.rooms.vault.blobs.remove(target.digest)
        step.advance(1)
        hit("purge.during_blobs")
    _tick(work, promise)
    step.done(f"{counted(len(going), 'file')}")
    hit("purge.after_blobs")


def _keys(work: Work, promise: Promise) -> None:
    """Destroy the data keys; what survives is rewrapped under a new epoch by the vault."""
    step = work.rooms.progress.step("keys")
    destroyed: list[int] = []
    residue, current = 0, 0
    for subject_uid, key_ids in work.plan.key_groups():
        done = work.rooms.vault.keys.purge(
            key_ids,
            subject_uid=subject_uid,
            subject_leaves=subject_uid in work.plan.leaving,
        )
        residue, current = residue + done.residue, done.new_epoch
        if done.old_epoch != done.new_epoch:
            destroyed.append(done.old_epoch)
    epochs = {"destroyed": destroyed, "current": current}
    _tick(work, promise, {"epochs": epochs, "residue": residue})
    if work.plan.keys:
        step.done(f"{counted(len(work.plan.keys), 'key')} destroyed, the survivors moved and opened again")
    hit("purge.after_keys")


def _rows(work: Work, promise: Promise) -> None:
    """Delete what the registry knows of it, and say destroyed, in one transaction."""
    if work.plan.verb is PurgeVerb.PURGE_AUDIO:
        for subject_uid in work.plan.leaving:
            # The voice still stands and may get a hold or a new consent: both are sealed with new keys.
            work.rooms.vault.keys.create_subject(subject_uid)
    now = work.rooms.clock()
    with work.rooms.registry.write() as uow:
        uow.purges.forget(work.forgotten, at=now)
        uow.purges.end_sets(work.plan.sets, at=now)
        if work.plan.mutes:
            uow.purges.mute(work.plan.voice_uid)
        uow.purges.move(work.purge, PurgeState.DESTROYED, at=now)
        uow.outbox.done(promise, at=now, result={"destroyed_at": rfc3339(now)})
        hit("purge.before_rows_commit")
        uow.commit()
    hit("purge.after_rows")


def _vacuum(work: Work, promise: Promise) -> None:
    """Rewrite the database and empty its log, so that no page keeps what was deleted."""
    step = work.rooms.progress.step("rewrite")
    answer = work.rooms.registry.vacuum()
    if answer != (0, 0, 0):
        raise Busy(
            "another process reads the registry, so what was deleted could not be cleared from its files yet",
            hint="end the other programs that use it, then: vlm doctor",
        )
    _tick(work, promise)
    rewritten = work.rooms.registry.database.rewrites
    step.done(
        "the database, without what was deleted"
        if rewritten
        else "left to the database server, whose log and copies nobody here reaches"
    )
    hit("purge.after_vacuum")


def _verify(work: Work, promise: Promise) -> None:
    """Let a fresh process look at every place, and write down what it saw with its event."""
    step = work.rooms.progress.step("verify")
    results = work.results()
    epochs = results["keys"]["epochs"]
    destroyed = epochs["destroyed"] if isinstance(epochs, dict) else []
    epoch_nodes = {work.rooms.new_uid(): int(number) for number in destroyed}
    seen = look_again(places_of(work, epoch_nodes))
    now = work.rooms.clock()
    nodes = [*stored_nodes(work, seen), *nodes_around(work, seen, results, epoch_nodes), *work.plan.kept]
    nodes += not_covered(work.plan.verb, rooms=work.rooms)
    hit("purge.before_verify_commit")
    with work.rooms.registry.write() as uow:
        uow.trail.append("purge.verified", voice_uid=work.plan.voice_uid, ids={"purge": work.purge.uid})
        result = {"nodes": [node.to_json() for node in nodes], "verified_at": rfc3339(now)}
        uow.outbox.done(promise, at=now, result=result)
        uow.commit()
    n_good = sum(1 for state, _ in seen.values() if state in NOTHING_LEFT_OPEN)
    step.done(f"{n_good} of {len(seen)} places looked at again by a fresh process")
    hit("purge.after_verify")


def _receipt_step(work: Work, promise: Promise) -> None:
    """Sign and write the receipt, then close the row; the file's name is fixed, so twice gives one file."""
    checkpoint = seal_checkpoint(rooms=work.rooms)
    receipt = _receipt(work, checkpoint=checkpoint)
    written = write_receipt(receipt, rooms=work.rooms)
    hit("purge.after_receipt_written")
    rooms = work.rooms
    drop_journal(journal_path(rooms.settings.keys, rooms.installation, work.purge.uid))
    hit("purge.before_close")
    now = work.rooms.clock()
    with work.rooms.registry.write() as uow:
        found = uow.purges.get(work.purge.uid)
        uow.purges.move(found, PurgeState.VERIFIED, at=now)
        result = {"path": str(written.path), "checkpoint": dict(receipt.checkpoint)}
        uow.outbox.done(promise, at=now, result=result)
        close_finished(work.plan.voice_uid, uow=uow, now=now)
        uow.commit()
    hit("purge.after_receipt")


def _receipt(work: Work, *, checkpoint: Mapping[str, Json] | None = None) -> Receipt:
    results = work.results()
    if checkpoint is None:
        stored = results["receipt"]["checkpoint"]
        checkpoint = dict(stored) if isinstance(stored, dict) else {}
    nodes, epochs = results["verify"]["nodes"], results["keys"]["epochs"]
    entry = results["ledger"]["entry"]
    with work.rooms.registry.read() as uow:
        promised = uow.outbox.of(work.purge.uid)
    # A clock that was set back meanwhile must not make a receipt whose times go back.
    committed_at = rfc3339(promised[0].made_at)
    destroyed_at = max(committed_at, str(results["rows"]["destroyed_at"]))
    return Receipt(
        purge_uid=work.purge.uid,
        verb=work.plan.verb,
        voice_uid=work.plan.voice_uid,
        subject_uids=work.plan.subject_uids,
        plan_digest=work.purge.plan_digest,
        basis=work.plan.basis,
        nodes=tuple(node_from_json(node) for node in nodes) if isinstance(nodes, list) else (),
        committed_at=committed_at,
        destroyed_at=destroyed_at,
        verified_at=max(destroyed_at, str(results["verify"]["verified_at"])),
        ledger_entry=dict(entry) if isinstance(entry, dict) else {},
        checkpoint=checkpoint,
        epochs=dict(epochs) if isinstance(epochs, dict) else {},
        public_keys={
            purpose: work.rooms.vault.signing.public(purpose).hex() for purpose in ("ledger", "checkpoint")
        },
        tool=tool(),
    )


def counted(number: int, one: str) -> str:
    """Return a number with its word."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def tool() -> str:
    """Return the name and version of this program, as receipts carry it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"vlm {version('voice-lifecycle')}"
    except PackageNotFoundError:
        return "vlm"


_HANDLERS: Mapping[str, Callable[[Work, Promise], None]] = {
    "ledger": _ledger,
    "originals": _originals,
    "work": _work,
    "blobs": _blobs,
    "keys": _keys,
    "rows": _rows,
    "vacuum": _vacuum,
    "verify": _verify,
    "receipt": _receipt_step,
}
