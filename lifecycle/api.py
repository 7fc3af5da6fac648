"""vlm for programs: the same services as the command line, with typed results and the same errors.

    import lifecycle

    with lifecycle.open() as vlm:
        vlm.register("kol-lin", weights=["lin.ckpt"], owner="video")
        print([voice.name for voice in vlm.list()])
        vlm.speak("kol-lin", "The old road is quiet.", out="lin.wav")

Every refusal is a `lifecycle.domain.errors.VlmError` with `message`, `hint` and `exit_code`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.progress import Progress
    from lifecycle.services.audits.audit import AuditReport
    from lifecycle.services.doctor import Examination
    from lifecycle.services.hold import HoldResult
    from lifecycle.services.inspect import InspectReport
    from lifecycle.services.people.withdraw import Withdrawn
    from lifecycle.services.prepare import Prepared
    from lifecycle.services.purges.preview import Preview
    from lifecycle.services.purges.result import Purged
    from lifecycle.services.registration.request import Reference, Registered
    from lifecycle.services.retire import Retired
    from lifecycle.services.shelf import ListedVoice, ShownVoice
    from lifecycle.services.speak import Spoken
    from lifecycle.services.specs.spec import Spec
    from lifecycle.services.states import Moved
    from lifecycle.services.trail import TrailReport
    from lifecycle.services.train import Trained
    from lifecycle.services.use import ClaimResult
    from lifecycle.services.verify import Verified

AnyPath = str | os.PathLike[str]
#: The commands that an audit's findings may name as their cure.
CURES = frozenset(
    {
        "vlm register",
        "vlm retire",
        "vlm verify",
        "vlm show",
        "vlm doctor",
        "vlm golden record",
        "vlm lock",
        "vlm policy plan",
        "vlm policy explain",
        "vlm backup create",
        "vlm subject show",
        "vlm unhold",
    }
)


def open_registry(
    home: AnyPath | None = None, *, keys: AnyPath | None = None, progress: Progress | None = None
) -> Lifecycle:
    """Open a registry.

    Args:
        home: VLM_HOME; by default where the settings say.
        keys: VLM_KEYS; by default where the settings say.
        progress: Told what goes on; nothing is by default.

    Raises:
        NotFound: There is no registry; `vlm init` makes one.
        IntegrityError: It is older than the anchor beside its keys.
    """
    from lifecycle.services.session import open_session
    from lifecycle.settings import load_settings

    flags = {
        "home": None if home is None else os.fspath(home),
        "keys": None if keys is None else os.fspath(keys),
    }
    return Lifecycle(open_session(load_settings(os.environ, flags=flags), progress=progress))


class Lifecycle:
    """An open registry; use it as a context manager, or call `close`."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def register(  # noqa: PLR0913 - files by what they are; words about the voice in `more`
        self,
        name: str,
        *,
        weights: Iterable[AnyPath] = (),
        embedding: AnyPath | None = None,
        references: Iterable[Reference] = (),
        lockfile: AnyPath | None = None,
        io_spec: AnyPath | None = None,
        audio: Iterable[AnyPath] = (),
        consents: Iterable[AnyPath] = (),
        dry_run: bool = False,
        **more: Any,
    ) -> Registered:
        """Register files as a voice, as its next version, or as additions to it.

        Args:
            more: `image`, `move`, `subject`, `consent_until` (a date), `own_voice`, `owner`, `contact`,
                `upstream`, `policy`, as `RegisterRequest` names them.

        Raises:
            VlmError: As `vlm register` does.
            TypeError: An unknown argument.
        """
        from lifecycle.services.registration.preview import preview
        from lifecycle.services.registration.register import register
        from lifecycle.services.registration.request import RegisterRequest

        request = RegisterRequest(
            name=name,
            weights=_paths(weights),
            embedding=_path(embedding),
            references=tuple(references),
            lockfile=_path(lockfile),
            io_spec=_path(io_spec),
            audio=_paths(audio),
            consents=_paths(consents),
            **more,
        )
        request.check()
        return (preview if dry_run else register)(request, rooms=self._rooms)

    def list(self, *, everything: bool = False) -> tuple[ListedVoice, ...]:
        """Return the voices by name."""
        from lifecycle.services.shelf import list_voices

        return list_voices(rooms=self._rooms, everything=everything).voices

    def show(self, name: str) -> ShownVoice:
        """Return everything that may be said about a voice."""
        from lifecycle.services.shelf import show_voice

        return show_voice(name, rooms=self._rooms)

    def spec(self, name: str) -> Spec:
        """Return a voice's I/O specification."""
        from lifecycle.services.specs.spec import spec_of

        return spec_of(name, rooms=self._rooms)

    def inspect(self, path: AnyPath, *, digests: bool = False) -> InspectReport:
        """Tell what a file is, without executing it."""
        from lifecycle.services.inspect import inspect_file

        return inspect_file(Path(path), digests=digests)

    def prepare(self, path: AnyPath) -> Prepared:
        """Judge recordings before a voice is made of them."""
        from lifecycle.services.prepare import prepare

        return prepare(Path(path), rooms=self._rooms)

    def train(
        self,
        name: str,
        audio: Iterable[AnyPath],
        *,
        own_voice: bool = False,
        subject: str | None = None,
        consents: Iterable[AnyPath] = (),
        consent_until: date | None = None,
        budget_s: float = 120.0,
        seed: int = 0,
    ) -> Trained:
        """Fit a voice to recordings and register it with them."""
        from lifecycle.services.registration.request import RegisterRequest
        from lifecycle.services.train import Trained, train

        request = RegisterRequest(
            name=name,
            audio=_paths(audio),
            own_voice=own_voice,
            subject=subject,
            consents=_paths(consents),
            consent_until=consent_until,
        )
        done = train(request, rooms=self._rooms, budget_s=budget_s, seed=seed)
        assert isinstance(done, Trained)
        return done

    def speak(self, name: str, text: str, *, out: AnyPath, force: bool = False, **options: float) -> Spoken:
        """Let a voice say a text into a WAV file.

        Args:
            options: `speed`, `pitch` (semitones), `pause`, `seed`.
        """
        from lifecycle.services.speak import SpeakRequest, speak

        request = replace(SpeakRequest(name, text, Path(out), force=force), **_options(options))
        return speak(request, rooms=self._rooms)

    def verify(
        self, *names: str, torch: Iterable[str] = (), device: str = "auto", again: bool = False
    ) -> Verified:
        """Run voices on torch versions; runtimes that are missing are made."""
        from lifecycle.services.verify import VerifyRequest, plan, verify

        request = VerifyRequest(names, tuple(torch), device, again)
        return verify(plan(request, rooms=self._rooms), rooms=self._rooms)

    def audit(self, *, commands: Iterable[str] = (), fail_on: str = "warning", **wanted: Any) -> AuditReport:
        """Find the voices at risk.

        Args:
            commands: The cures that exist; all of them by default.
            fail_on: From which severity on the report's code says so.
            wanted: Which voices, as `VoiceFilter` names it: `names`, `owner`, `states`, `upstream`, `policy`.
        """
        from lifecycle.domain.filters import VoiceFilter
        from lifecycle.services.audits.audit import audit

        cures = frozenset(commands) or CURES
        return audit(rooms=self._rooms, commands=cures, fail_on=fail_on, filter=VoiceFilter(**wanted))

    def add_use(self, name: str, *, where: str, term: str | None = None) -> ClaimResult:
        """Claim that something live depends on a voice, so that it is neither purged nor erased.

        Args:
            name: The voice.
            where: Such as `k8s://prod/tts`.
            term: How long, such as "24h"; until removed by default.
        """
        from lifecycle.services.use import add_use

        return add_use(name, where=where, term=term, rooms=self._rooms)

    def remove_use(self, name: str, *, where: str) -> ClaimResult:
        """Drop a claim."""
        from lifecycle.services.use import remove_use

        return remove_use(name, where=where, rooms=self._rooms)

    def withdraw(
        self, subject: str, *, received: date, reference: str | None = None, voice: str | None = None
    ) -> Withdrawn:
        """Note that a person withdrew their consent: every use is blocked at once, and a case is opened."""
        from lifecycle.services.people.withdraw import WithdrawRequest, withdraw

        return withdraw(WithdrawRequest(subject, received, reference, voice), rooms=self._rooms)

    def hold(self, name: str, *, reason: str) -> HoldResult:
        """Forbid every deletion of a voice or of a person's voices."""
        from lifecycle.services.hold import hold

        return hold(name, reason=reason, rooms=self._rooms)

    def unhold(self, name: str) -> HoldResult:
        """Lift the holds on a voice or a person."""
        from lifecycle.services.hold import unhold

        return unhold(name, rooms=self._rooms)

    def deprecate(self, name: str) -> Moved:
        """Say that a voice should not be used for new work."""
        from lifecycle.services.states import deprecate

        return deprecate(name, rooms=self._rooms)

    def retire(self, name: str) -> Retired:
        """End a voice's service; nothing is deleted."""
        from lifecycle.services.retire import retire

        return retire(name, rooms=self._rooms)

    def plan_purge(self, name: str, *, erase: bool = False, **more: Any) -> Preview:
        """Say what purging a voice's recordings, or erasing all of it, would destroy and keep; nothing is changed.

        Args:
            more: `originals`, `request`, `basis`, as `PurgeRequest` names them.
        """
        from lifecycle.erasure.plan import PurgeVerb
        from lifecycle.services.purges.purge import PurgeRequest, preview

        verb = PurgeVerb.ERASE if erase else PurgeVerb.PURGE_AUDIO
        return preview(PurgeRequest(name, verb, **more), rooms=self._rooms)

    def purge_audio(self, name: str, *, confirm: str, **more: Any) -> Purged | None:
        """Destroy a voice's recordings and what was made from them, for good, and retire it.

        Args:
            confirm: The voice's name once more, as a person would have to type it.
            more: As `plan_purge`.

        Returns:
            What was destroyed, kept and not reached, with its signed receipt; None where nothing was left.

        Raises:
            Refused: `confirm` is another name, or a hold, a use or the state forbids it; nothing was changed.
        """
        return self._purge(name, confirm, erase=False, **more)

    def erase(self, name: str, *, confirm: str, **more: Any) -> Purged | None:
        """Destroy a retired voice with its model and its name; as `purge_audio` otherwise."""
        return self._purge(name, confirm, erase=True, **more)

    def _purge(self, name: str, confirm: str, *, erase: bool, **more: Any) -> Purged | None:
        from lifecycle.domain.errors import Refused
        from lifecycle.domain.voices import State
        from lifecycle.services.purges.purge import purge, resume_open

        if confirm != name:
            raise Refused(f'confirm is "{confirm}", but the voice is "{name}"; nothing was changed')
        resumed = resume_open(name, rooms=self._rooms)
        if resumed is not None:
            return resumed
        planned = self.plan_purge(name, erase=erase, **more)
        if planned.plan.empty:
            if planned.voice.state is not State.RETIRED:
                self.retire(name)
            return None
        return purge(planned, rooms=self._rooms)

    def restore(self, name: str) -> Moved:
        """Bring a voice back into service; its consent must hold."""
        from lifecycle.services.states import restore

        return restore(name, rooms=self._rooms)

    def verify_trail(self) -> TrailReport:
        """Re-compute the whole trail."""
        from lifecycle.services.trail import verify_trail

        return verify_trail(rooms=self._rooms)

    def doctor(self, *, repair: bool = True) -> Examination:
        """Find what a crash left behind, and repair it."""
        from lifecycle.services.doctor import examine

        return examine(self._rooms, repair=repair)

    def close(self) -> None:
        """Seal what was added to the trail, end warm workers, close the database."""
        self._rooms.close()

    def __enter__(self) -> Lifecycle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: Iterable[AnyPath]) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths)


def _options(options: Mapping[str, float]) -> dict[str, Any]:
    unknown = set(options) - {"speed", "pitch", "pause", "seed"}
    if unknown:
        raise TypeError(f"speak() takes no {sorted(unknown)[0]!r}")
    return dict(options)
