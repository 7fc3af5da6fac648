"""`vlm lock --from-image`: the packages of a Docker image, read without running anything of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, UnreadableFile, UsageError
from lifecycle.domain.packages import Environment
from lifecycle.formats import shown
from lifecycle.formats.images import Image, read_image
from lifecycle.formats.model import Unread
from lifecycle.formats.sites import sites_of
from lifecycle.runtimes.docker_images import SavedImage, saved_image
from lifecycle.services.inspect import opened
from lifecycle.services.locks.lock import Source, keep_lock, voice_is_there

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.services.locks.result import LockResult

ARCHIVE = "docker-archive:"


def lock_image(
    name: str,
    reference: str,
    *,
    site: str | None = None,
    rooms: Rooms,
    output: Path | None = None,
    dry_run: bool = False,
) -> LockResult:
    """Lock what is installed in an image; it is read from its layers and never run, pulled or unpacked.

    Args:
        reference: An image of the Docker daemon, or `docker-archive:FILE.tar`.
        site: Which of its site-packages, where it has several.

    Raises:
        NotFound: There is no such voice, image or file.
        Unavailable: No Docker daemon or no index answers.
        UnreadableFile: The image is not what it says of itself, or holds no Python packages.
        UsageError: It has several environments and none was chosen.
    """
    voice_is_there(name, rooms)
    with _opened(reference) as saved:
        step = rooms.progress.step("image", saved.size_bytes, "bytes")

        def read(count: int) -> bytes:
            piece = saved.read(count)
            step.advance(len(piece))
            return piece

        try:
            image = read_image(read)
        except Unread as unread:
            raise UnreadableFile(f'image "{shown(reference)}" {unread.reason}; nothing was stored') from None
        step.done(f"{image.config}    {len(image.diff_ids)} layers")
    chosen, environment = _chosen(name, reference, image, site)
    told = {
        "config": image.config,
        "diff_ids": list(image.diff_ids),
        "repo_digests": list(saved.repo_digests),
    }
    source = Source(environment, "image", image=told, site=chosen)
    return keep_lock(name, source, rooms=rooms, output=output, dry_run=dry_run)


@contextmanager
def _opened(reference: str) -> Iterator[SavedImage]:
    if not reference.startswith(ARCHIVE):
        with saved_image(reference) as saved:
            yield saved
        return
    with opened(Path(reference.removeprefix(ARCHIVE))) as (file, size):
        read: Callable[[int], bytes] = file.read
        yield SavedImage(read, size, ())


def _chosen(name: str, reference: str, image: Image, site: str | None) -> tuple[str, Environment]:
    if image.system not in {"", "linux"}:
        raise UnreadableFile(f'image "{shown(reference)}" is for {shown(image.system)}; only Linux is read')
    sites = sites_of(image)
    if not sites:
        raise UnreadableFile(f'image "{shown(reference)}" holds no installed Python packages')
    if site is None and len(sites) > 1:
        several = ", ".join(f"{path} ({len(sites[path].packages)})" for path in list(sites)[:20])
        raise UsageError(
            f'image "{shown(reference)}" has several environments: {shown(several, 2000)}',
            hint=f"vlm lock {name} --from-image {shown(reference)} --site {shown(next(iter(sites)))}",
        )
    path = site.rstrip("/") if site is not None else next(iter(sites))
    if path not in sites:
        raise NotFound(
            f'image "{shown(reference)}" has no packages in "{shown(path)}"',
            hint=f"vlm lock {name} --from-image {shown(reference)} --site {shown(next(iter(sites)))}",
        )
    if not sites[path].python:
        raise UnreadableFile(f'image "{shown(reference)}" does not say which Python "{shown(path)}" is for')
    return path, sites[path]
