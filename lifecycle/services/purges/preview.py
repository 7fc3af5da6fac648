"""What a purge would destroy, keep and not reach: gathered, and shown before the question."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import VlmError
from lifecycle.domain.policies import Action
from lifecycle.domain.retention import decisions
from lifecycle.domain.states import Move, moved
from lifecycle.domain.time_bases import NEVER, facts_of
from lifecycle.domain.voices import DataClass, Role, State, Voice
from lifecycle.erasure.graph import Node, NodeState
from lifecycle.erasure.plan import Evidence, KeySet, Plan, PurgeVerb, Scope, make_plan
from lifecycle.erasure.receipt import rfc3339
from lifecycle.erasure.uncovered import MOVED, SERVER, uncovered
from lifecycle.services.backups.advice import not_reached
from lifecycle.services.guard import refuse_held, refuse_used, refuse_while_purged
from lifecycle.services.purges.originals import Original, find_originals
from lifecycle.services.retention.files import load_policy, policy_home

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.voices import Artifact
    from lifecycle.registry.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """What the user asked for.

    Attributes:
        originals: Also remove the files that the recordings came from.
        request: Id of the request that asks for it; kept sealed.
        basis: One of `lifecycle.erasure.plan.BASES`.
        even_if_used: Also where something live depends on the voice.
    """

    name: str
    verb: PurgeVerb
    originals: bool = False
    request: str | None = None
    basis: str | None = None
    even_if_used: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """A frozen plan and everything about it that people need to decide."""

    request: PurgeRequest
    plan: Plan
    voice: Voice
    pseudonyms: tuple[str, ...]
    originals: tuple[Original, ...]
    missed: tuple[Node, ...]
    seconds: float | None
    artifact_uids: frozenset[str]

    def to_json(self) -> Mapping[str, object]:
        """Return the plan for programs; nothing was changed."""
        return {
            "voice": self.voice.name,
            "state": self.voice.state.value,
            "purged": False,
            "dry_run": True,
            "subjects": list(self.pseudonyms),
            "would_destroy": dict(self.plan.counts()),
            "would_be_mute": self.plan.mutes,
            "originals": [each.to_json() for each in self.originals],
            "would_keep": [n.to_json() for n in self.plan.kept if n.state is NodeState.RETAINED],
            "not_covered": [node.what for node in (*self._unread(), *self.missed)],
            "plan_digest": self.plan.digest(),
        }

    def lines(self) -> list[str]:
        """Return what is shown before the question."""
        from lifecycle.render.output import columns

        name = self.voice.name
        whose = f"{name} belongs to subject {', '.join(self.pseudonyms)}. " if self.pseudonyms else ""
        if self.plan.empty:
            return [f"{whose}nothing of {name} is left to destroy; nothing was changed"]
        rows = [["  " + left, right] for left, right in self._destroyed()]
        rows += [["  originals", *line] for line in self._originals()]
        return [
            f"{whose}This will destroy, for good:",
            *columns(rows),
            f"It keeps: {', '.join(self._kept())}.",
            *self._others(),
            f"Not reached: {'; '.join(node.what for node in (*self._unread(), *self.missed))}",
        ]

    def _destroyed(self) -> list[tuple[str, str]]:
        counts = dict(self.plan.counts())
        rows: list[tuple[str, str]] = []
        n_recordings = counts.pop(Role.AUDIO.value, 0)
        if n_recordings:
            length = f", {_length(self.seconds)}" if self.seconds else ""
            rows.append(("recordings", f"{_files(n_recordings)}{length}"))
        model = [t.role.value for t in self.plan.targets if t.data_class is DataClass.MODEL]
        made = [f"{n} {_word(role, n)}" for role, n in counts.items() if role not in model]
        if made:
            rows.append(("made from them", ", ".join(made) + self._mute()))
        gone = [t.role.value for t in self.plan.targets if t.data_class is DataClass.MODEL and t.remove_blob]
        if gone:
            names = ", ".join(_word(role, n) for role, n in Counter(gone).items())
            rows.append(("the model", f"{_files(len(gone))}: {names}"))
        if self.plan.verb is PurgeVerb.ERASE:
            rows.append(("the name", f"{self.voice.name}, its owner and contact"))
        if self.plan.leaving:
            rows.append(("labels", "the person's id, file names and paths"))
        return rows

    def _mute(self) -> str:
        mutes = self.plan.mutes and self.plan.verb is PurgeVerb.PURGE_AUDIO
        return " (the voice will then be mute)" if mutes else ""

    def _originals(self) -> list[list[str]]:
        folders = Counter(str(Path(each.path).parent) for each in self.originals if each.state == "same")
        asked = "they go too" if self.request.originals else "remove them too? --originals"
        return [[f"{folder}: {_files(n)} still there", asked] for folder, n in sorted(folders.items())]

    def _kept(self) -> list[str]:
        kept: list[str] = []
        models = [node for node in self.plan.kept if node.basis == "policy"]
        if models:
            roles = Counter(node.kind for node in models)
            names = ", ".join(_word(role, n) for role, n in sorted(roles.items()))
            until = f", until {models[0].until[:10]}" if models[0].until else ""
            speaks = (
                "with another clip the model speaks again" if self.plan.mutes else "the model can still speak"
            )
            kept.append(f'{names} (policy "{self.voice.policy}"{until}; {speaks})')
        ends = [node.until for node in self.plan.kept if node.basis == "evidence of consent"]
        if ends:
            last = max((end[:10] for end in ends if end), default=None)
            kept.append(f"consent evidence ({f'until {last}' if last else 'no end date'})")
        return [*kept, "trail", "certificate"]

    def _unread(self) -> list[Node]:
        return [node for node in self.plan.kept if node.state is NodeState.NOT_COVERED]

    def _others(self) -> list[str]:
        shared = [node for node in self.plan.kept if node.basis == "another voice refers to it"]
        stay, them = ("stays", "it") if len(shared) == 1 else ("stay", "them")
        told = f"{_files(len(shared))} of the model {stay}, because another voice refers to {them}."
        return [told] if shared else []


_WORDS: Mapping[str, tuple[str, str]] = {
    "reference": ("reference clip", "reference clips"),
    "features": ("feature file", "feature files"),
    "io-spec": ("I/O specification", "I/O specifications"),
    "weights": ("weights", "weights"),
}


def _word(role: str, number: int) -> str:
    one, many = _WORDS.get(role, (role, f"{role}s"))
    return one if number == 1 else many


def _files(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def preview(request: PurgeRequest, *, rooms: Rooms) -> Preview:
    """Gather the plan of a purge; changes nothing.

    Raises:
        NotFound: No voice has this name.
        Held: A hold forbids it.
        InUse: Something live depends on it, and that was not overruled.
        Refused: The voice was erased, is not retired (for erase), or a purge of it is open.
    """
    with rooms.registry.read() as uow:
        voice = uow.voices.get(request.name)
        if voice.state is State.ERASED or request.verb is PurgeVerb.ERASE:
            moved(request.name, voice.state, Move.ERASE)
        refuse_while_purged(voice, uow=uow)
        refuse_held(voice, uow=uow)
        used = _used(voice, request, uow=uow, rooms=rooms)
        artifacts = uow.voices.artifacts(voice.uid)
        plan = make_plan(
            _scope(voice, artifacts, uow=uow, rooms=rooms),
            request.verb,
            new_uid=rooms.new_uid,
            basis=request.basis,
            remove_originals=request.originals,
        )
        people = [uow.subjects.by_uid(uid) for uid in voice.subject_uids]
        papers = _papers(voice, uow=uow, rooms=rooms)
    seconds = [a.facts.get("seconds") for a in artifacts if a.role is Role.AUDIO]
    originals = tuple(find_originals(voice, artifacts, rooms=rooms))
    return Preview(
        request=request,
        plan=replace(plan, kept=(*plan.kept, *papers, *_unread(originals, rooms), *used)),
        voice=voice,
        pseudonyms=tuple(person.pseudonym for person in people if person is not None),
        originals=originals,
        missed=not_covered(request.verb, rooms=rooms),
        seconds=sum(float(s) for s in seconds if isinstance(s, int | float)) or None,
        artifact_uids=frozenset(artifact.uid for artifact in artifacts),
    )


def _used(voice: Voice, request: PurgeRequest, *, uow: UnitOfWork, rooms: Rooms) -> list[Node]:
    """Refuse what is in use; where that is overruled, the plan and the receipt say so."""
    now = rooms.clock()
    if not request.even_if_used:
        refuse_used(voice, uow=uow, now=now)
    number = len(uow.uses.counting(voice.uid, now=now))
    what = f"{number} live use{'s' if number != 1 else ''} that {'were' if number != 1 else 'was'} claimed, overruled"
    return [Node(rooms.new_uid(), "use", what, NodeState.NOT_COVERED)] if number else []


def _papers(voice: Voice, *, uow: UnitOfWork, rooms: Rooms) -> list[Node]:
    """Return the documents that belong to the voice's people themselves; like all evidence they are kept."""
    ends, basis = evidence_ends(rooms), "evidence of consent"
    return [
        Node(
            rooms.new_uid(),
            "consent",
            "evidence",
            NodeState.RETAINED,
            basis=basis,
            until=ends.get(paper.key_id),
        )
        for subject_uid in voice.subject_uids
        for paper in uow.subjects.papers(subject_uid)
    ]


def _unread(originals: Sequence[Original], rooms: Rooms) -> list[Node]:
    number = sum(1 for each in originals if each.state == "unreadable")
    what = f"originals that could not be read: {number}"
    return [Node(rooms.new_uid(), "original", what, NodeState.NOT_COVERED)] if number else []


def _scope(voice: Voice, artifacts: Sequence[Artifact], *, uow: UnitOfWork, rooms: Rooms) -> Scope:
    digests = {str(a.digest) for a in artifacts if a.data_class is DataClass.MODEL}
    owners = uow.purges.owners(digests)
    ends = evidence_ends(rooms)
    return Scope(
        voice_uid=voice.uid,
        artifacts=artifacts,
        sets=[
            KeySet(each.uid, each.key_id, each.data_class, each.subject_uid)
            for each in uow.voices.sets(voice.uid)
            if each.destroyed_at is None
        ],
        owners={a.digest: owners.get(str(a.digest), set()) for a in artifacts},
        subject_uids=voice.subject_uids,
        leaving=uow.purges.leaving(voice.uid),
        evidence=[
            Evidence(a.uid, ends.get(a.key_id or "")) for a in artifacts if a.data_class is DataClass.EVIDENCE
        ],
        model_until=_model_until(voice, artifacts, uow=uow, rooms=rooms),
    )


def evidence_ends(rooms: Rooms) -> dict[str, str | None]:
    """Return, for each evidence key, when what it seals may be destroyed."""
    from lifecycle.vault import key_database as rows

    with rooms.vault.keys.database.read() as connection:
        keys = rows.key_rows(connection)
        return {
            wrap.wrapped: root.ends_at
            for wrap in rows.wrap_rows(connection)
            if (root := keys.get(wrap.wrapping)) is not None and root.purpose == "evidence-root"
        }


def _model_until(voice: Voice, artifacts: Sequence[Artifact], *, uow: UnitOfWork, rooms: Rooms) -> str | None:
    """Return when the voice's policy erases what it keeps of a retired voice."""
    at = voice.retired_at if voice.state is State.RETIRED else rooms.clock()
    given = {uid: uow.subjects.consents(uid, voice_uid=voice.uid) for uid in voice.subject_uids}
    retired = facts_of(replace(voice, state=State.RETIRED, retired_at=at), artifacts, given)
    try:
        policy = load_policy(voice.policy, own=policy_home(rooms))
    except VlmError:
        return None
    ends = [each.delete_due for each in decisions(policy, retired) if each.action is Action.ERASE]
    end = min(ends, default=NEVER)
    return None if end >= NEVER else rfc3339(end)


def not_covered(verb: PurgeVerb, *, rooms: Rooms) -> tuple[Node, ...]:
    """Return the places that no purge of this installation reaches, by name."""
    # Models lie plain, so that no key protects a copy of them.
    others = ["copies of the registry made before, which hold the model"] if verb is PurgeVerb.ERASE else []
    others += [] if rooms.registry.database.rewrites else SERVER
    with rooms.registry.read() as uow:
        others += [MOVED] if uow.facts.left_behind() else []
    others += not_reached(verb, rooms=rooms)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        mounts = ""
    folders = (
        ("the registry", rooms.settings.home.resolve()),
        ("the key folder", rooms.settings.keys.resolve()),
    )
    return uncovered(folders, mountinfo=mounts, exists=os.path.lexists, new_uid=rooms.new_uid, others=others)
