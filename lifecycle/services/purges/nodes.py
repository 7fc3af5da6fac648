"""Which places a purge touched, and what a fresh process saw there, as the nodes of its receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.domain.purges import Purge
from lifecycle.erasure.graph import Node, NodeState
from lifecycle.erasure.plan import Plan, PurgeVerb
from lifecycle.registry.queries.purges import Forgotten
from lifecycle.services.purges.check import Places
from lifecycle.services.purges.journal import Journal

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

Seen = Mapping[str, tuple[NodeState, str]]


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


def places_of(work: Work, epoch_nodes: Mapping[str, int]) -> Places:
    """Return every place that a purge had to clear, for the process that looks again."""
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
        # Nobody can look into the files of a database server; the receipt names them as not covered.
        windows={work.journal.residue: list(work.journal.pieces)} if _rewrites(work) else {},
        database="" if work.rooms.settings.database_url is None else work.rooms.settings.database_url,
    )


def stored_nodes(work: Work, seen: Seen) -> list[Node]:
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


def nodes_around(
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
    nodes.append(Node(journal.rows, "rows", "label", *_how(seen[journal.rows], "deleted")))
    residue = seen.get(journal.residue)
    if results["keys"]["residue"]:
        residue = (NodeState.PENDING, "pieces of destroyed wraps are still readable in keys.db")
    if residue is not None:
        method = "databases rewritten, logs emptied" if _rewrites(work) else "keys.db rewritten"
        nodes.append(Node(journal.residue, "residue", "label", *_how(residue, method)))
    nodes.append(Node(journal.work, "work", "source", *_how(seen[journal.work], "folders emptied")))
    if journal.lost is not None:
        unseen = (NodeState.UNVERIFIABLE, "the list of originals and of deleted values was lost")
        nodes.append(Node(journal.lost, "original", "source", *_how(unseen, "")))
    return nodes


def _rewrites(work: Work) -> bool:
    return work.rooms.registry.database.rewrites


def _how(seen: tuple[NodeState, str], method: str) -> tuple[NodeState, str, str]:
    return seen[0], method, seen[1]
