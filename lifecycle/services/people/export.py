"""`vlm subject export`: a person gets what is held about them, in one file that they can read."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.failpoints import hit
from lifecycle.render.output import megabytes
from lifecycle.services.guard import check_generation
from lifecycle.services.jobs import working
from lifecycle.services.making import check_result
from lifecycle.services.people.page import page_of
from lifecycle.services.people.record import Clip, Record, gather
from lifecycle.services.people.subjects import known_subject
from lifecycle.vault.files import sync_folder, unavailable

if TYPE_CHECKING:
    from datetime import datetime

    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.subjects import Subject

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """A file with what is held about a person; where it goes from here is not tracked."""

    subject: str
    path: Path
    size_bytes: int
    voices: int
    consents: int
    events: int
    recordings: int
    with_recordings: bool
    not_included: tuple[str, ...]
    dry_run: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the export for programs."""
        return {
            "subject": self.subject,
            "path": str(self.path),
            "size": self.size_bytes,
            "voices": self.voices,
            "consents": self.consents,
            "events": self.events,
            "recordings": self.recordings,
            "with_recordings": self.with_recordings,
            "not_included": list(self.not_included),
            "tracked": False,
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the export for people."""
        size = "" if self.dry_run else f"    {megabytes(self.size_bytes)}"
        held = f"{self.voices} voice(s), {self.consents} consent(s), {self.events} event(s)"
        what = f"what is held about {self.subject}: {self.path}{size}"
        lines = [f"would write {what}" if self.dry_run else f"wrote {what}", f"  {held}"]
        if self.with_recordings:
            lines.append(f"  {self.recordings} recording(s) and clips, decrypted")
        lines += ["not in it:", *(f"  {line}" for line in self.not_included)]
        return [*lines, "the file is the person's: it is not tracked, and a purge does not reach it"]


def export_subject(
    told: str,
    *,
    out: Path,
    rooms: Rooms,
    with_recordings: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> Exported:
    """Write what is held about a person into one zip file, for the owner alone (0600), whole or not at all.

    Decrypted data lie in the job's own folder until the file is whole, and nowhere else. Source: GDPR Art. 15, 20.

    Args:
        with_recordings: Their recordings and reference clips too.
        force: Replace a file that is there.

    Raises:
        NotFound: Nobody is known by this id, or the folder of `out` does not exist.
        Refused: The file exists, a purge of theirs is open, or something of theirs was purged meanwhile.
    """
    check_result(out, force=force)
    with rooms.registry.read() as uow:
        subject = known_subject(told, uow=uow, rooms=rooms)
        record = gather(subject, uow=uow, rooms=rooms, recordings=with_recordings)
    if dry_run:
        return _told(subject, record, out, 0, with_recordings=with_recordings, dry_run=True)
    with working("subject.export", rooms=rooms) as folder:
        made = folder / "export.zip"
        _write(record, made, rooms=rooms)
        size = made.stat().st_size
        with rooms.registry.write() as uow:
            check_generation({subject.uid: subject.generation}, uow=uow)
            uow.trail.append(
                "subject.export",
                subject_uid=subject.uid,
                details=None
                if subject.label is None
                else {"recordings": record.recordings, "bytes": size, "tracked": False},
            )
            _hand_over(made, out, force=force)
            try:
                hit("subject.before_commit")
                uow.commit()
            except BaseException:
                out.unlink(missing_ok=True)
                raise
    return _told(subject, record, out, size, with_recordings=with_recordings)


def _write(record: Record, made: Path, *, rooms: Rooms) -> None:
    """Write the zip; each sealed file is opened, checked to its end, and streamed in."""
    step = rooms.progress.step("export", sum(clip.size_bytes for clip in record.clips), "bytes")
    descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w") as archive:
                now = rooms.clock()
                text = json.dumps(record.data, ensure_ascii=False, indent=2, sort_keys=True)
                _put(archive, "index.html", page_of(record.data).encode("utf-8", "replace"), now)
                _put(archive, "record.json", text.encode("utf-8", "replace"), now)
                for path in record.certificates:
                    _put(archive, f"certificates/{path.name}", path.read_bytes(), now)
                for clip in record.clips:
                    _stream(archive, clip, now, rooms=rooms)
                    step.advance(clip.size_bytes)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unavailable(made.parent, error) from None
    step.done("")


def _put(archive: zipfile.ZipFile, name: str, content: bytes, now: datetime) -> None:
    archive.writestr(_entry(name, now), content, zipfile.ZIP_DEFLATED)


def _entry(name: str, now: datetime) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, now.timetuple()[:6])
    entry.external_attr = 0o600 << 16
    return entry


def _stream(archive: zipfile.ZipFile, clip: Clip, now: datetime, *, rooms: Rooms) -> None:
    key = None if clip.key_id is None else rooms.vault.keys.data_key(clip.key_id)
    with (
        rooms.vault.blobs.reader(clip.digest, key=key) as source,
        archive.open(_entry(clip.name, now), "w", force_zip64=True) as target,
    ):
        shutil.copyfileobj(source, target, _PIECE_BYTES)


def _hand_over(made: Path, out: Path, *, force: bool) -> None:
    """Move the finished file to where it was asked for; across file systems by a copy that is renamed."""
    check_result(out, force=force)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            made.replace(out)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(made, part)
            part.replace(out)
        sync_folder(out.absolute().parent)
    except OSError as error:
        raise unavailable(out.absolute().parent, error) from None
    finally:
        part.unlink(missing_ok=True)


def _copy(made: Path, part: Path) -> None:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as target, made.open("rb") as source:
        shutil.copyfileobj(source, target, _PIECE_BYTES)
        target.flush()
        os.fsync(target.fileno())


def _told(
    subject: Subject, record: Record, out: Path, size: int, *, with_recordings: bool, dry_run: bool = False
) -> Exported:
    return Exported(
        subject=subject.pseudonym,
        path=out,
        size_bytes=size,
        voices=len(record.data["voices"]),
        consents=len(record.data["consents"]),
        events=len(record.data["events"]),
        recordings=record.recordings,
        with_recordings=with_recordings,
        not_included=tuple(record.data["not_included"]),
        dry_run=dry_run,
    )
