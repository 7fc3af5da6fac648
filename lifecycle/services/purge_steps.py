"""The steps of a committed purge. Each may be done twice, and is ticked off only when it is durable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.canonical import Json
from lifecycle.domain.errors import Busy, IntegrityError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.purges import Purge, PurgeState
from lifecycle.erasure.graph import NOTHING_LEFT_OPEN, Node, NodeState
from lifecycle.erasure.plan import Plan, PurgeVerb, node_from_json
from lifecycle.erasure.receipt import Receipt, rfc3339
from lifecycle.registry.queries.purges import Forgotten
from lifecycle.services.originals import remove_original
from lifecycle.services.purge_check import Places, look_again
from lifecycle.services.purge_journal import Journal
from lifecycle.services.purge_preview import not_covered
from lifecycle.services.receipts import Written, write_receipt
from lifecycle.services.trail import seal_checkpoint

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.outbox import Promise
    from lifecycle.registry.queries.jobs import Job

# In this order: nothing is destroyed before the ledger says so, originals are compared while their
# fingerprint key lives, and keys die before rows so that a crash leaves what still tells where to look.
STEPS = ("ledger", "originals", "work", "blobs", "keys", "rows", "vacuum", "verify", "receipt")

Result = Mapping[str, object]


@dataclass(frozen=True)
class Work:
    """One purge on its way."""

    purge: Purge
    plan: Plan
    journal: Journal
    rooms: Rooms

    def results(self) -> dict[str, Result]:
        """Return what came of each step so far."""
        with self.rooms.registry.read() as uow:
            return {each.action: each.payload for each in uow.outbox.of(self.purge.uid) if each.done}

    @property
    def forgotten(self) -> Forgotten:
        """What the registry must no longer know."""
        return Forgotten(
            voice_uid=self.plan.voice_uid,
            artifacts=[target.artifact_uid for target in self.plan.targets],
            leaving=self.plan.leaving,
            erased=self.plan.verb is PurgeVerb.ERASE,
        )


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
    entry = work.rooms.vault.ledger.committed(work.purge.uid)
    hit("purge.after_ledger_committed")
    _tick(work, promise, {"entry": entry})
    step.done("written before anything is destroyed")
    hit("purge.after_ledger")


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
    root = work.rooms.settings.home / "work"
    with work.rooms.registry.read() as uow:
        living = {job.uid for job in uow.jobs.open() if _runs(job)}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.is_dir() and not folder.is_symlink() and folder.name not in living:
            shutil.rmtree(folder, ignore_errors=True)
    _tick(work, promise)
    hit("purge.after_work")


def _runs(job: Job) -> bool:
    """Whether the process of a job lives; a process of an earlier start of the machine does not."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = job.boot_id
    if job.boot_id != boot:
        return False
    try:
        os.kill(job.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _blobs(work: Work, promise: Promise) -> None:
    going = [target for target in work.plan.targets if target.remove_blob]
    step = work.rooms.progress.step("destroy", len(going), "files")
    for target in going:
        work.rooms.vault.blobs.remove(target.digest)
        step.advance(1)
        hit("purge.during_blobs")
    _tick(work, promise)
    step.done(f"{len(going)} files, {len(work.plan.keys)} keys")
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
            progress=work.rooms.progress,
        )
        residue, current = residue + done.residue, done.new_epoch
        if done.old_epoch != done.new_epoch:
            destroyed.append(done.old_epoch)
    epochs = {"destroyed": destroyed, "current": current}
    _tick(work, promise, {"epochs": epochs, "residue": residue})
    step.done(f"{len(work.plan.keys)} destroyed")
    hit("purge.after_keys")


def _rows(work: Work, promise: Promise) -> None:
    """Delete what the registry knows of it, and say destroyed, in one transaction."""
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
            hint="end the other vlm commands, then: vlm doctor",
        )
    _tick(work, promise)
    step.done("the database, without what was deleted")
    hit("purge.after_vacuum")


def _verify(work: Work, promise: Promise) -> None:
    """Let a fresh process look at every place, and write down what it saw with its event."""
    step = work.rooms.progress.step("verify")
    results = work.results()
    epochs = results["keys"]["epochs"]
    destroyed = epochs["destroyed"] if isinstance(epochs, dict) else []
    epoch_nodes = {work.rooms.new_uid(): int(number) for number in destroyed}
    seen = look_again(_places(work, epoch_nodes))
    now = work.rooms.clock()
    nodes = [*_stored(work, seen), *_around(work, seen, results, epoch_nodes), *work.plan.kept]
    nodes += not_covered(work.rooms)
    hit("purge.before_verify_commit")
    with work.rooms.registry.write() as uow:
        uow.trail.append("purge.verified", voice_uid=work.plan.voice_uid, ids={"purge": work.purge.uid})
        result = {"nodes": [node.to_json() for node in nodes], "verified_at": rfc3339(now)}
        uow.outbox.done(promise, at=now, result=result)
        uow.commit()
    n_good = sum(1 for state, _ in seen.values() if state in NOTHING_LEFT_OPEN)
    step.done(f"{n_good} of {len(seen)} places looked at again by a fresh process")
    hit("purge.after_verify")


def _places(work: Work, epoch_nodes: Mapping[str, int]) -> Places:
    plan, home = work.plan, work.rooms.settings.home
    holder = work.rooms.vault.keys.holder.folder
    targets = [target for target in plan.targets if target.remove_blob]
    files = dict(work.journal.originals) if plan.remove_originals else {}
    files |= {node: str(holder / f"epoch-{number:08d}.key") for node, number in epoch_nodes.items()}
    return Places(
        home=str(home),
        blobs={target.node_uid: target.digest.hex for target in targets},
        blob_keys={target.node_uid: target.key_id for target in targets if target.key_id},
        keys={node: key for key, node in plan.keys.items()},
        files=files,
        work={work.journal.work: str(home / "work")},
        rows={
            work.journal.rows: {
                "voice": plan.voice_uid,
                "artifacts": list(work.forgotten.artifacts),
                "leaving": list(plan.leaving),
                "erased": work.forgotten.erased,
            }
        },
        windows={work.journal.residue: list(work.journal.pieces)},
    )


Seen = Mapping[str, tuple[NodeState, str]]


def _stored(work: Work, seen: Seen) -> list[Node]:
    """Return the nodes of blobs and keys."""
    plan = work.plan
    nodes = [
        Node(
            target.node_uid,
            "blob",
            target.role.value,
            *_how(seen[target.node_uid], "file removed, key destroyed" if target.key_id else "file removed"),
            derived_from=plan.made_from.get(target.node_uid, ()),
        )
        for target in plan.targets
        if target.remove_blob
    ]
    method = "wraps deleted, keys above them replaced"
    return nodes + [Node(node, "key", "data key", *_how(seen[node], method)) for node in plan.keys.values()]


def _around(
    work: Work, seen: Seen, results: Mapping[str, Result], epoch_nodes: Mapping[str, int]
) -> list[Node]:
    """Return the nodes of epochs, originals, rows, database files and the work folder."""
    journal = work.journal
    nodes = [
        Node(node, "key", "store key epoch", *_how(seen[node], "key file removed")) for node in epoch_nodes
    ]
    removed = results["originals"]["originals"]
    changed = (
        {node for node, how in removed.items() if how == "changed"} if isinstance(removed, dict) else set()
    )
    for node in journal.originals:
        if not work.plan.remove_originals or node in changed:
            basis = "its content is another now" if node in changed else "kept by the user"
            nodes.append(Node(node, "original", "source", NodeState.RETAINED, basis=basis))
        else:
            nodes.append(Node(node, "original", "source", *_how(seen[node], "file removed at its path")))
    residue = seen[journal.residue]
    if results["keys"]["residue"]:
        residue = (NodeState.PENDING, "pieces of destroyed wraps are still readable in keys.db")
    method = "databases rewritten, logs emptied"
    nodes.append(Node(journal.rows, "rows", "label", *_how(seen[journal.rows], "deleted")))
    nodes.append(Node(journal.residue, "residue", "label", *_how(residue, method)))
    nodes.append(Node(journal.work, "work", "source", *_how(seen[journal.work], "folders emptied")))
    return nodes


def _how(seen: tuple[NodeState, str], method: str) -> tuple[NodeState, str, str]:
    return seen[0], method, seen[1]


def _receipt_step(work: Work, promise: Promise) -> None:
    """Sign and write the receipt, then close the row; the file's name is fixed, so twice gives one file."""
    checkpoint = seal_checkpoint(rooms=work.rooms)
    receipt = _receipt(work, checkpoint=checkpoint)
    written = write_receipt(receipt, rooms=work.rooms)
    hit("purge.before_close")
    now = work.rooms.clock()
    with work.rooms.registry.write() as uow:
        found = uow.purges.get(work.purge.uid)
        uow.purges.move(found, PurgeState.VERIFIED, at=now)
        result = {"path": str(written.path), "checkpoint": dict(receipt.checkpoint)}
        uow.outbox.done(promise, at=now, result=result)
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
    return Receipt(
        purge_uid=work.purge.uid,
        verb=work.plan.verb,
        voice_uid=work.plan.voice_uid,
        subject_uids=work.plan.subject_uids,
        plan_digest=work.purge.plan_digest,
        basis=work.plan.basis,
        nodes=tuple(node_from_json(node) for node in nodes) if isinstance(nodes, list) else (),
        committed_at=rfc3339(promised[0].made_at),
        destroyed_at=str(results["rows"]["destroyed_at"]),
        verified_at=str(results["verify"]["verified_at"]),
        ledger_entry=dict(entry) if isinstance(entry, dict) else {},
        checkpoint=checkpoint,
        epochs=dict(epochs) if isinstance(epochs, dict) else {},
        tool=tool(),
    )


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
