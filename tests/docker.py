"""A Docker daemon of the tests' own, started by hand, and images made by hand; nothing of the user's is touched."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

_START_S = 40.0


@contextlib.contextmanager
def daemon() -> Iterator[str]:
    """Start dockerd without a network of its own and yield its address; skips where it cannot be started."""
    program = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("dockerd is not installed: apt-get install docker.io")
    if os.geteuid() != 0:
        pytest.skip("dockerd is only started by root here")
    # A socket's path may be 107 bytes long, which pytest's own folders exceed.
    base = Path(tempfile.mkdtemp(prefix="vlm-dock-"))
    (base / "daemon.json").write_text("{}", encoding="ascii")
    log = (base / "log").open("wb")
    process = subprocess.Popen(
        [
            program,
            *("--data-root", base / "data", "--exec-root", base / "exec", "--pidfile", base / "d.pid"),
            *("-H", f"unix://{base}/d.sock", "--config-file", base / "daemon.json"),
            *(
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ),
        ],
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _wait(process, base)
        yield f"unix://{base}/d.sock"
    finally:
        log.close()
        _stop(process, base)


def _wait(process: subprocess.Popen[bytes], base: Path) -> None:
    import docker

    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(Exception):
            client = docker.DockerClient(base_url=f"unix://{base}/d.sock", version="auto", timeout=5)
            client.ping()
            client.close()
            return
        time.sleep(0.1)
    words = (base / "log").read_text(errors="replace").splitlines()
    pytest.skip(f"dockerd does not start here: {words[-1] if words else 'it said nothing'}")


def _stop(process: subprocess.Popen[bytes], base: Path) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(str(base))), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    shutil.rmtree(base, ignore_errors=True)


def layer(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return a layer: contents by path, or whole entries for links and devices."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(path)
            info.name = path
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return made.getvalue()


def archive_of(
    path: Path,
    layers: Sequence[bytes],
    *,
    variables: Sequence[str] = (),
    diff_ids: Sequence[str] | None = None,
    stored: Sequence[bytes] | None = None,
    architecture: str = "amd64",
) -> Path:
    """Write a docker-archive of one image, as `docker save` does: layers first, the manifest last.

    Args:
        diff_ids: What the configuration says of the layers, where that is to be a lie.
        stored: The layers as they lie in the archive, where they are compressed.
    """
    told = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers] if diff_ids is None else diff_ids
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Env": list(variables)},
            "rootfs": {"type": "layers", "diff_ids": list(told)},
            "history": [{"created": "2026-01-01T00:00:00Z"} for _ in layers],
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{hashlib.sha256(one).hexdigest()}/layer.tar" for one in layers]
    manifest = json.dumps([{"Config": name, "RepoTags": None, "Layers": names}]).encode()
    parts = dict(zip(names, layers if stored is None else stored, strict=True))
    path.write_bytes(layer({**parts, name: config, "manifest.json": manifest}))
    return path
