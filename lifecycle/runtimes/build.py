"""Fill an environment: torch by the wheel that was found, its Python dependencies without CUDA, stubs.

Used for managed runtimes and for the developer's `.venv` alike.
"""

from __future__ import annotations

import email.parser
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lifecycle.domain.errors import Unavailable
from lifecycle.runtimes import stubs, thinning
from lifecycle.runtimes.model import Interpreter, Progress, Wheel
from lifecycle.runtimes.uv import Uv, UvFailed
from lifecycle.runtimes.wheels import best_wheel, wheel_tags

_CUDA_PACKAGES = re.compile(r"(nvidia-|cuda-|triton$|pytorch-triton)")
#: torch before 2.3 was compiled against numpy 1 and finds no `_ARRAY_API` in numpy 2.
_NUMPY_2_SINCE = Version("2.3")

_SMOKE = """
import json, warnings
warnings.simplefilter("ignore")
import torch, numpy
assert float((torch.ones(2, 3) @ torch.ones(3, 2)).sum()) == 12.0
assert float(torch.nn.functional.conv1d(torch.ones(1, 1, 8), torch.ones(1, 1, 3)).sum()) == 18.0
torch.from_numpy(numpy.ones(3, dtype="float32")).numpy()
flags = torch._C._cuda_getArchFlags() if hasattr(torch._C, "_cuda_getArchFlags") else None
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "available": torch.cuda.is_available(),
    "numpy": numpy.__version__, "arch": flags,
}))
"""


@dataclass(frozen=True, slots=True)
class Built:
    """What stands in an environment after `fill`.

    Args:
        facts: What torch says about itself in a child process: torch, cuda, available, numpy, arch.
        lock: Each package with version, wheel and SHA-256 (None where the source did not say).
        stub_names: Generated libraries, empty where none was needed.
    """

    facts: dict[str, Any]
    lock: tuple[dict[str, str | None], ...]
    stub_names: tuple[str, ...]

    @property
    def build(self) -> str:
        """Such as "cpu" or "cu130-stubs"."""
        local = str(self.facts["torch"]).partition("+")[2]
        cuda = self.facts.get("cuda")
        name = local or (f"cu{str(cuda).replace('.', '')}" if cuda else "cpu")
        return re.sub(r"[^a-z0-9.]", ".", name.lower()) + ("-stubs" if self.stub_names else "")


def make_environment(uv: Uv, python: Interpreter, venv: Path) -> None:
    """Make an empty environment without installers.

    Raises:
        Unavailable: uv could not.
    """
    try:
        uv.run(["venv", "--quiet", "--no-project", "--python", str(python.path), str(venv)])
    except UvFailed as error:
        raise Unavailable(
            f"an environment could not be made with Python {python.text}: {error.reason}"
        ) from error


def fill(
    uv: Uv,
    venv: Path,
    *,
    python: Interpreter,
    wheel: Wheel,
    requirements: Iterable[str],
    progress: Progress,
) -> Built:
    """Install torch and what it needs into `venv`, then prove in a child process that it computes.

    Args:
        requirements: What the engine needs besides torch, as PEP 508 lines.

    Raises:
        Unavailable: A package could not be had, the disk is full, or torch does not run.
    """
    interpreter = venv / "bin" / "python"
    try:
        progress(f"installing torch {wheel.version}", None if wheel.local else wheel.size_bytes)
        _install_torch(uv, interpreter, wheel)
        site = site_packages(venv)
        needed = [*python_requirements(site, python), *_with_numpy_bound(requirements, wheel.version)]
        progress(f"installing {len(needed)} packages that torch {wheel.public} and the engine need", None)
        lock = _install_locked(uv, interpreter, needed, python)
    except UvFailed as error:
        raise Unavailable(
            f"torch {wheel.public} could not be installed: {error.reason}",
            hint=f"vlm runtime add {wheel.public} --dry-run",
        ) from error
    names = _adapt(site / "torch" / "lib", site, progress)
    progress("testing", None)
    facts = smoke(interpreter)
    sha256 = wheel.sha256 or (_sha256(Path(wheel.location)) if wheel.rung == "folder" else None)
    own = {"name": "torch", "version": wheel.version, "wheel": wheel.name, "sha256": sha256}
    return Built(facts, tuple(sorted([own, *lock], key=lambda entry: str(entry["name"]))), names)


def _adapt(lib: Path, site: Path, progress: Progress) -> tuple[str, ...]:
    """Generate the CUDA libraries that a CUDA build wants to find, and drop its GPU code from the disk."""
    if not stubs.applicable():
        return ()
    names = stubs.install(site / "torch", cudnn=stubs.cudnn_version(metadata_lines(site)))
    if names:
        progress(f"generated {len(names)} stub libraries in place of CUDA", None)
        for file in sorted(lib.glob("libtorch_*.so")):
            thinning.thin(file)
    return names


def site_packages(venv: Path) -> Path:
    """Return the folder of installed packages."""
    return next((venv / "lib").glob("python3*")) / "site-packages"


def metadata_lines(site: Path) -> list[str]:
    """Return torch's Requires-Dist lines; empty without a METADATA file."""
    file = next(site.glob("torch-*.dist-info/METADATA"), None)
    if file is None:
        return []
    message = email.parser.HeaderParser().parsestr(file.read_text("utf-8", errors="replace"))
    return [str(line) for line in message.get_all("Requires-Dist") or ()]


def python_requirements(site: Path, python: Interpreter) -> list[str]:
    """Return what torch needs on this Python, without extras and CUDA packages."""
    needed = []
    for line in metadata_lines(site):
        requirement = Requirement(line)
        marker = requirement.marker
        requirement.marker = None
        if _CUDA_PACKAGES.match(canonicalize_name(requirement.name)):
            continue
        if marker is None or marker.evaluate({**python.environment, "extra": ""}):
            needed.append(str(requirement))
    return needed


def _with_numpy_bound(requirements: Iterable[str], torch: str) -> list[str]:
    bound = ["numpy<2"] if Version(torch) < _NUMPY_2_SINCE else []
    return [*requirements, *bound]


def _install_torch(uv: Uv, interpreter: Path, wheel: Wheel) -> None:
    arguments = ["pip", "install", "--no-deps", "--only-binary", ":all:", "--python", str(interpreter)]
    if not uv.show:
        arguments.append("--quiet")
    if wheel.rung == "folder":
        uv.run([*arguments, wheel.location], show=True)
        return
    if wheel.rung == "cpu-index":
        arguments += ["--default-index", wheel.index] if wheel.index else ["--torch-backend", "cpu"]
    pinned = f"torch=={wheel.version}" + (f" --hash=sha256:{wheel.sha256}\n" if wheel.sha256 else "\n")
    # a cache of its own: the thinned copy shall be the only one, the cache would keep the whole gigabyte
    with tempfile.TemporaryDirectory(dir=uv.root, prefix=".fetch-") as fetch:
        pins = Path(fetch) / "torch.txt"
        pins.write_text(pinned)
        cache = (
            {"UV_CACHE_DIR": str(Path(fetch) / "cache")} if wheel.rung == "index" and not uv.offline else {}
        )
        hashes = ["--require-hashes"] if wheel.sha256 else []
        uv.run([*arguments, *hashes, "--requirement", str(pins)], show=True, env=cache)


def _install_locked(
    uv: Uv, interpreter: Path, needed: list[str], python: Interpreter
) -> list[dict[str, str | None]]:
    """Resolve once, install exactly that by hash, and return the lock."""
    tags = wheel_tags(python)
    lock: list[dict[str, str | None]] = []
    lines = []
    for package in uv.lock(needed, python.path):
        best = best_wheel(package, tags) or {}
        sha256 = (best.get("hashes") or {}).get("sha256")
        name = (
            str(best.get("name") or str(best.get("url") or best.get("path") or "").rsplit("/", 1)[-1]) or None
        )
        lock.append({"name": package["name"], "version": package["version"], "wheel": name, "sha256": sha256})
        lines.append(
            f"{package['name']}=={package['version']}" + (f" --hash=sha256:{sha256}" if sha256 else "")
        )
    arguments = ["pip", "install", "--no-deps", "--only-binary", ":all:", "--python", str(interpreter)]
    arguments += [] if uv.show else ["--quiet"]
    arguments += ["--require-hashes"] if all(entry["sha256"] for entry in lock) else []
    with tempfile.TemporaryDirectory(dir=uv.root, prefix=".fetch-") as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("\n".join(lines) + "\n")
        extra = [word for link in uv.settings.remote_links for word in ("--find-links", link)]
        uv.run([*arguments, *extra, "--requirement", str(pins)], show=True)
    return lock


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compile_all(venv: Path) -> None:
    """Write byte code once: a sandbox mounts the runtime read-only and could never keep it."""
    subprocess.run(
        [str(venv / "bin" / "python"), "-I", "-m", "compileall", "-q", "-j", "2", str(site_packages(venv))],
        capture_output=True,
        check=False,
        timeout=1800,
    )


def smoke(interpreter: Path) -> dict[str, Any]:
    """Import torch in a child process, compute something, and return what torch says about itself.

    Raises:
        Unavailable: It does not import or computes nonsense.
    """
    done = subprocess.run(
        [str(interpreter), "-I", "-c", _SMOKE],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd="/",
    )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode != 0 or not last.startswith("{"):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1][:300] if lines else f"exit status {done.returncode}"
        raise Unavailable(f"this build of torch does not run here: {why}", hint="vlm doctor")
    facts: dict[str, Any] = json.loads(last)
    return facts


def remove_tree(folder: Path) -> None:
    """Delete a folder of an environment; it may be half made."""
    shutil.rmtree(folder, ignore_errors=True)
