"""An image of the user's Docker daemon as a stream of bytes: nothing is pulled, created or run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.errors import NotFound, Unavailable

_TIMEOUT_S = 60
_NO_DAEMON = "no Docker daemon answers"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image as it leaves the daemon.

    Attributes:
        size_bytes: About how much will be read.
        repo_digests: Names under which registries know it, such as "tts@sha256:...".
    """

    read: Callable[[int], bytes]
    size_bytes: int
    repo_digests: tuple[str, ...]


@contextlib.contextmanager
def saved_image(reference: str) -> Iterator[SavedImage]:
    """Let the daemon write an image that it has, as `docker save` does.

    Raises:
        Unavailable: The package for Docker is not installed, or no daemon answers.
        NotFound: The daemon has no such image; it is never asked to pull one.
    """
    try:
        import docker
        import requests
        from docker.errors import APIError, DockerException, ImageNotFound
    except ImportError:
        raise Unavailable(
            "reading images needs the package for Docker", hint='pip install "voice-lifecycle[docker]"'
        ) from None
    failures = (DockerException, requests.exceptions.RequestException, OSError)
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
    except failures as error:
        raise Unavailable(f"{_NO_DAEMON}: {_first(error)}", hint="docker info") from None
    try:
        image = client.images.get(reference)
        attributes: dict[str, Any] = image.attrs
        digests = tuple(str(digest)[:300] for digest in (attributes.get("RepoDigests") or ())[:50])
        size = attributes.get("Size")
        chunks = image.save(named=False)
        yield SavedImage(_reader(chunks), size if isinstance(size, int) else 0, digests)
    except (ImageNotFound, APIError) as error:
        if (
            isinstance(error, ImageNotFound)
            or error.response is None
            or error.response.status_code in {400, 404}
        ):
            raise NotFound(
                f'Docker has no image "{reference[:200]}", and none was pulled',
                hint=f"docker pull {reference[:200]}",
            ) from None
        raise Unavailable(f"Docker does not give the image: {_first(error)}", hint="docker info") from None
    except failures as error:
        raise Unavailable(f"Docker broke off: {_first(error)}", hint="docker info") from None
    finally:
        client.close()


def _reader(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    left = b""

    def read(count: int) -> bytes:
        nonlocal left
        while not left:
            piece = next(chunks, None)
            if piece is None:
                return b""
            left = piece
        given, left = left[:count], left[count:]
        return given

    return read


def _first(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
