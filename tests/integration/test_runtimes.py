"""The ladder from end to end, through the program and real uv, on an index of tiny wheels in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lifecycle.runtimes import sandbox, stubs
from lifecycle.runtimes.store import RuntimeStore
from tests.conftest import TEST_RUNTIMES, Vlm

PYTHON_TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"

#: Just enough of torch and numpy for the test of a new runtime.
_TORCH = """
__version__ = "{version}"
class version: cuda = {cuda}
class cuda:
    is_available = staticmethod(lambda: False)
class _C:
    _cuda_getArchFlags = staticmethod(lambda: "sm_70 sm_80")
class Tensor(float):
    __matmul__ = lambda self, other: Tensor(12.0)
    sum = lambda self: self
    numpy = lambda self: self
ones = lambda *shape: Tensor(1.0)
from_numpy = lambda values: Tensor(1.0)
class nn:
    class functional:
        conv1d = staticmethod(lambda x, w: Tensor(18.0))
{extra}
"""
_NUMPY = '__version__ = "{version}"\nones = lambda *a, **k: 1.0\n'


def make_wheel(
    folder: Path, name: str, version: str, *, code: str, needs: tuple[str, ...] = (), tag: str = ""
) -> Path:
    """Write a wheel that uv installs."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{version}-{tag or 'py3-none-any'}.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    members = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag or 'py3-none-any'}\n",
    }
    if name == "torch":
        members["torch/lib/README"] = "libraries"
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(file, "w") as archive:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return file


class Index:
    """A package index in a folder, as PEP 503 wants it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = (root / "simple").as_uri()

    def add(self, name: str, version: str, **options: Any) -> None:
        """Offer a wheel, with its hash."""
        file = make_wheel(self.root / "files", name, version, **options)
        page = self.root / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        old = page.read_text() if page.exists() else "<!DOCTYPE html>"
        page.write_text(f'{old}<a href="{file.as_uri()}#sha256={digest}">{file.name}</a>\n')

    def torch(
        self, version: str, *, cuda: str = "None", extra: str = "", needs: tuple[str, ...] = ()
    ) -> None:
        """Offer a torch for this Python."""
        code = _TORCH.format(version=version, cuda=cuda, extra=extra)
        self.add("torch", version, code=code, needs=needs, tag=f"{PYTHON_TAG}-{PYTHON_TAG}-{_platform()}")


def _platform() -> str:
    from packaging.tags import sys_tags

    return next(tag.platform for tag in sys_tags())


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index(tmp_path / "index")
    for version in ("1.26.4", "2.4.6"):
        made.add("numpy", version, code=_NUMPY.format(version=version))
    made.add("soundfile", "0.14.0", code="")
    made.add("sympy", "1.13.1", code="")
    made.add("sympy", "1.14.0", code="")
    return made


@pytest.fixture
def program(tmp_path: Path, index: Index) -> Vlm:
    """The program with that index as its only source of packages."""
    return Vlm(
        tmp_path,
        {
            "VLM_RUNTIMES": str(tmp_path / "runtimes"),
            "VLM_TORCH_INDEX": "none",
            "UV_DEFAULT_INDEX": index.url,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": "",
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": "",
        },
    )


def test_a_runtime_is_made_listed_found_again_and_removed(program, index, tmp_path):
    index.torch(
        "2.6.0",
        needs=("sympy==1.13.1", 'nvidia-cublas-cu12==12.4; platform_system == "Linux"', "triton==3.2"),
    )

    added = program.ok("runtime", "add", "2.6.0", "--yes", "--json").json
    listed = program.ok("runtime", "list", "--json").json["runtimes"]
    again = program.ok("runtime", "add", "2.6", "--json").json
    removed = program.ok("runtime", "remove", "2.6.0", "--yes", "--json").json["removed"]

    assert added["created"] is True
    assert [(row["torch"], row["build"], row["python"]) for row in listed] == [
        ("2.6.0", "cpu", ".".join(map(str, sys.version_info[:3])))
    ]
    packages = {package["name"]: package for package in listed[0]["packages"]}
    assert {name: package["version"] for name, package in packages.items()} == {
        "torch": "2.6.0",
        "numpy": "2.4.6",
        "soundfile": "0.14.0",
        "sympy": "1.13.1",
    }
    assert all(len(package["sha256"]) == 64 for package in packages.values())
    assert listed[0]["cuda_arch"] == ["sm_70", "sm_80"]
    assert (again["created"], again["runtime"]["id"]) == (False, listed[0]["id"])
    assert [row["id"] for row in removed] == [listed[0]["id"]]
    assert program.ok("runtime", "list", "--json").json["runtimes"] == []


def test_an_old_torch_gets_the_numpy_that_it_was_compiled_against(program, index):
    index.torch("2.2.2")

    if sys.version_info < (3, 13):
        assert program.ok("runtime", "add", "2.2.2", "--yes", "--json").json["runtime"]["numpy"] == "1.26.4"


def test_a_wheel_folder_goes_before_the_index(program, index, tmp_path):
    index.torch("2.6.0")
    code = _TORCH.format(version="2.6.0+cpu", cuda="None", extra="")
    make_wheel(
        tmp_path / "wheels", "torch", "2.6.0+cpu", code=code, tag=f"{PYTHON_TAG}-{PYTHON_TAG}-{_platform()}"
    )

    added = program.with_env(VLM_WHEELS=str(tmp_path / "wheels")).ok("runtime", "add", "2.6.0", "--json").json

    assert added["plan"]["source"] == f"wheel folder {tmp_path / 'wheels'}"
    assert added["plan"]["download_bytes"] == 0
    assert added["runtime"]["build"] == "cpu"


def test_the_cpu_index_goes_before_the_users_index(program, index, tmp_path):
    index.torch("2.6.0")
    cpu = Index(tmp_path / "cpu")
    cpu.torch("2.6.0+cpu")

    added = program.with_env(VLM_TORCH_INDEX=cpu.url).ok("runtime", "add", "2.6.0", "--json").json

    assert added["plan"]["source"] == "PyTorch's CPU index"
    assert added["runtime"]["id"] == f"torch-2.6.0+cpu-{PYTHON_TAG}"


def test_newest_and_a_minor_are_resolved_by_what_the_index_has(program, index):
    for version in ("2.6.0", "2.7.0", "2.7.1", "2.8.0rc1", "3.0.0"):
        index.torch(version)

    planned = {
        spec: program.ok("runtime", "add", spec, "--dry-run", "--json").json["plan"]["torch"]
        for spec in ("2.6", "2.7", "2.x", "newest")
    }

    assert planned == {"2.6": "2.6.0", "2.7": "2.7.1", "2.x": "2.7.1", "newest": "2.7.1"}


def test_a_dry_run_makes_nothing(program, index, tmp_path):
    index.torch("2.6.0")

    program.ok("runtime", "add", "2.6.0", "--dry-run")

    assert program.ok("runtime", "list", "--json").json["runtimes"] == []


def test_a_version_that_does_not_exist_is_refused_with_the_newest_that_can_be_had(program, index):
    index.torch("2.7.1")

    answer = program.run("runtime", "add", "2.99")

    assert answer.code == 7
    assert "torch 2.99 does not exist yet; the newest that can be had is 2.7.1" in answer.err
    assert "vlm runtime add 2.7.1" in answer.err


def test_a_refusal_names_what_was_tried_and_the_pythons_that_would_do(program, index):
    index.add("torch", "2.0.1", code="", tag="cp38-cp38-manylinux_2_17_x86_64")

    answer = program.run("runtime", "add", "2.0.1", "--python", sys.executable, "--json")

    error = answer.json["error"]
    assert answer.code == 7
    assert "wheel folders" in error["message"]
    assert "the package index" in error["message"]


def test_offline_never_fetches_and_says_so(program, index):
    index.torch("2.7.1")

    answer = program.with_env(UV_DEFAULT_INDEX="https://index.invalid/simple").run(
        "runtime", "add", "2.7.1", "--offline"
    )

    assert answer.code == 7
    assert "--offline" in answer.err


def test_an_index_that_does_not_answer_is_named_as_unreachable(program):
    answer = program.with_env(UV_DEFAULT_INDEX="https://index.invalid/simple", UV_HTTP_RETRIES="0").run(
        "runtime", "add", "2.7.1"
    )

    assert answer.code == 7
    assert "unreachable" in answer.err


@pytest.mark.parametrize(("version", "code"), [("1.13.1", 2), ("banana", 2)])
def test_a_version_that_cannot_be_asked_for_is_a_usage_error(program, version, code):
    assert program.run("runtime", "add", version).code == code


def test_a_runtime_that_is_not_there_cannot_be_removed(program):
    answer = program.run("runtime", "remove", "2.6.0", "--yes")

    assert answer.code == 3
    assert "vlm runtime add 2.6.0" in answer.err


def test_a_torch_that_does_not_run_leaves_nothing_behind(program, index, tmp_path):
    index.torch("2.6.0", extra='raise ImportError("libcudnn.so.9: cannot open shared object file")')

    answer = program.run("runtime", "add", "2.6.0", "--yes")

    assert answer.code == 7
    assert "libcudnn.so.9" in answer.err
    assert [path for path in (tmp_path / "runtimes").iterdir() if not path.name.startswith(".")] == []


def test_a_process_that_dies_leaves_no_runtime_and_the_next_one_makes_it(program, index, tmp_path):
    index.torch("2.6.0", extra="import time; time.sleep(3)")
    process = program.start("runtime", "add", "2.6.0", "--yes")
    folder = tmp_path / "runtimes"
    while process.poll() is None and not list(folder.glob("torch-*/venv/lib/*/site-packages/torch")):
        subprocess.run(["sleep", "0.05"], check=True)
    process.kill()
    process.wait()

    assert list(folder.glob("torch-*")) != []
    assert program.ok("runtime", "list", "--json").json["runtimes"] == []
    assert program.ok("runtime", "add", "2.6.0", "--yes", "--json").json["created"] is True


def test_two_processes_that_make_the_same_runtime_end_with_one(program, index):
    index.torch("2.6.0")

    processes = [program.start("runtime", "add", "2.6.0", "--yes", "--json") for _ in range(2)]
    answers = [(json.loads(process.communicate(timeout=120)[0]), process.returncode) for process in processes]

    assert [code for _answer, code in answers] == [0, 0]
    assert len({answer["runtime"]["id"] for answer, _code in answers}) == 1
    assert len(program.ok("runtime", "list", "--json").json["runtimes"]) == 1


def test_a_full_disk_is_said_before_anything_is_fetched(program, index, tmp_path):
    bwrap = shutil.which("bwrap")
    if bwrap is None or not sandbox.works(sandbox.Fence.BWRAP):
        pytest.skip("needs bubblewrap for a small disk")
    index.torch("2.6.0")
    small = tmp_path / "small"
    small.mkdir()
    command = [bwrap, "--dev-bind", "/", "/", "--size", "40000", "--tmpfs", str(small)]
    environment = {**program.environment, "VLM_RUNTIMES": str(small)}

    done = subprocess.run(
        [*command, sys.executable, "-m", "lifecycle", "runtime", "add", "2.6.0", "--yes"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=program.folder,
    )

    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.server
@pytest.mark.skipif(not stubs.applicable(), reason="stubs are written for x86-64 Linux only")
def test_a_cuda_build_that_is_installed_runs_on_its_stubs_and_they_are_made_again_equal():
    store = RuntimeStore(TEST_RUNTIMES, environment=os.environ)
    found = [runtime for runtime in store.list() if runtime.build.endswith("-stubs")]
    if not found:
        found = [store.add(store.plan("newest"))]
    lib = next((found[0].path / "venv" / "lib").glob("*/site-packages/torch/lib"))
    names = json.loads((lib / ".vlm-stubs.json").read_text())["stubs"]

    code = "import torch; print(torch.cuda.is_available(), torch.backends.cudnn.is_available(), torch.ones(3).sum())"
    done = subprocess.run(
        [str(found[0].executable), "-I", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split()[:2] == ["False", "True"], done.stderr
    assert 10 <= len(names) <= 20
    assert not any(name.startswith(("libcuda.so", "libz", "libgomp")) for name in names)
