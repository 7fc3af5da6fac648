"""Generated libraries: the loader takes them, they answer "no GPU", and equal input gives equal bytes."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.runtimes import elf, stubs
from lifecycle.runtimes.elf import Import, Library
from lifecycle.runtimes.stub_writer import Kind, Symbol, build, kind_of

pytestmark = pytest.mark.skipif(not stubs.applicable(), reason="stubs are written for x86-64 Linux only")

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True)
SYMBOLS = st.builds(
    Symbol,
    NAMES,
    st.one_of(st.none(), st.sampled_from(["libx.so.12", "VERS_2", "V3"])),
    st.sampled_from([kind.value for kind in Kind]),
)


def load(
    tmp_path: Path, soname: str, symbols: list[Symbol], cudnn: tuple[int, int, int] = (9, 1, 0)
) -> ctypes.CDLL:
    file = tmp_path / soname
    file.write_bytes(build(soname, symbols, cudnn))
    return ctypes.CDLL(str(file))


def symbol(name: str, version: str | None = None) -> Symbol:
    return Symbol(name, version, kind_of(name, is_data=False).value)


def test_a_call_answers_that_there_is_no_device(tmp_path):
    library = load(tmp_path, "libcudart.so.12", [symbol("cudaGetDeviceCount", "libcudart.so.12")])

    assert library.cudaGetDeviceCount(None) == 100


def test_error_texts_and_buffers_are_readable_memory(tmp_path):
    library = load(
        tmp_path, "libcudart.so.12", [symbol("cudaGetErrorString"), symbol("__cudaRegisterFatBinary")]
    )
    library.cudaGetErrorString.restype = ctypes.c_char_p
    register = getattr(library, "__cudaRegisterFatBinary")
    register.restype = ctypes.c_void_p

    assert b"stub" in library.cudaGetErrorString(100)
    assert ctypes.string_at(register(None), 4096) == bytes(4096)


def test_registering_kernels_succeeds_without_doing_anything(tmp_path):
    library = load(tmp_path, "libcudart.so.12", [symbol("__cudaRegisterFunction")])

    assert getattr(library, "__cudaRegisterFunction")() == 0


@pytest.mark.parametrize(("version", "number"), [((9, 26, 0), 92600), ((8, 9, 2), 8902)])
def test_cudnn_reports_the_version_that_torch_was_built_with(tmp_path, version, number):
    library = load(
        tmp_path, "libcudnn.so.9", [symbol("cudnnGetVersion"), symbol("cudnnGetProperty")], version
    )
    value = ctypes.c_int(-1)

    parts = []
    for part in range(3):
        assert library.cudnnGetProperty(part, ctypes.byref(value)) == 0
        parts.append(value.value)

    assert library.cudnnGetVersion() == number
    assert tuple(parts) == version


def test_a_data_symbol_is_zeroed_memory_of_its_own(tmp_path):
    library = load(
        tmp_path,
        "libnvshmem_host.so.3",
        [Symbol("one", None, Kind.DATA.value), Symbol("two", None, Kind.DATA.value)],
    )

    one = (ctypes.c_char * 64).in_dll(library, "one")
    two = (ctypes.c_char * 64).in_dll(library, "two")

    assert bytes(one) == bytes(64)
    assert abs(ctypes.addressof(one) - ctypes.addressof(two)) >= 64


def test_a_library_without_symbols_still_loads(tmp_path):
    assert load(tmp_path, "libcurand.so.10", []) is not None


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(SYMBOLS, max_size=60, unique_by=lambda each: each.name))
def test_every_exported_name_is_found_by_the_loader_and_by_our_reader(tmp_path, symbols):
    file = tmp_path / "libany.so.1"
    file.unlink(missing_ok=True)
    file.write_bytes(build("libany.so.1", symbols))

    assert elf.read(file).defined == {each.name for each in symbols}
    assert elf.read(file).soname == "libany.so.1"
    lookup = subprocess.run(
        [sys.executable, "-I", "-c", _LOOKUP, str(file), json.dumps([each.name for each in symbols])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert lookup.returncode == 0, lookup.stderr


_LOOKUP = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
for name in json.loads(sys.argv[2]):
    ctypes.c_char.in_dll(library, name)
"""


@given(st.lists(SYMBOLS, max_size=20, unique_by=lambda each: each.name), st.randoms())
def test_equal_symbols_in_any_order_give_equal_bytes(symbols, random):
    shuffled = list(symbols)
    random.shuffle(shuffled)

    assert build("liba.so.1", symbols) == build("liba.so.1", shuffled)


def test_the_reader_sees_versioned_imports_of_a_real_library():
    real = next(Path("/usr/lib/x86_64-linux-gnu").glob("libstdc++.so.6"))

    library = elf.read(real)

    assert "libc.so.6" in library.needed
    wanted = {each.name: each for each in library.imports}["malloc"]
    assert wanted.file == "libc.so.6"
    assert wanted.version is not None
    assert wanted.version.startswith("GLIBC_")


@given(st.binary(max_size=400))
def test_a_file_that_is_no_library_is_refused_not_crashed_on(content):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.so"
        file.write_bytes(b"\x7fELF\x02\x01\x01" + content)
        with pytest.raises(elf.NotElf):
            elf.read(file)


def library(
    name: str, needed: tuple[str, ...] = (), imports: tuple[Import, ...] = (), defined: set[str] | None = None
):
    return Library(name, name, needed, imports, frozenset(defined or ()))


def test_only_missing_cuda_libraries_get_a_stub_and_the_driver_never():
    torch = library(
        "libtorch_cuda.so",
        ("libcudart.so.12", "libcuda.so.1", "libz.so.1", "libc10.so", "libnvrtc.so.12", "libc.so.6"),
    )

    assert set(stubs.missing([torch, library("libc10.so"), library("libnvrtc.so.12")])) == {"libcudart.so.12"}


def test_a_stub_exports_what_is_wanted_from_it_with_its_version():
    torch = library(
        "libtorch_cuda.so",
        ("libcublas.so.12", "libnccl.so.2"),
        (
            Import("cublasCreate_v2", 1, 2, "libcublas.so.12", "libcublas.so.12"),
            Import("ncclAllReduce", 1, 0, None, None),
            Import("printf", 1, 2, "libc.so.6", "GLIBC_2.2.5"),
            Import("PyList_New", 1, 0, None, None),
            Import("ncclWeak", 2, 0, None, None),
        ),
    )

    found = stubs.missing([torch])

    assert found["libcublas.so.12"] == {Symbol("cublasCreate_v2", "libcublas.so.12", "error")}
    assert found["libnccl.so.2"] == {Symbol("ncclAllReduce", None, "error")}


def test_a_name_that_torch_defines_itself_is_not_exported_by_a_stub():
    torch = library("libtorch_cuda.so", ("libcudnn.so.9",), (Import("cudnnOwn", 1, 0, None, None),))

    assert stubs.missing([torch, library("libother.so", defined={"cudnnOwn"})]) == {"libcudnn.so.9": set()}


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ('nvidia-cudnn-cu13==9.26.0.51; platform_system == "Linux"', (9, 26, 0)),
        ("nvidia-cudnn-cu12 (==8.9.2.26) ; x", (8, 9, 2)),
        ("numpy", (9, 0, 0)),
    ],
)
def test_the_cudnn_version_comes_from_the_wheels_requirements(line, version):
    assert stubs.cudnn_version(["filelock", line]) == version


def test_a_second_run_writes_the_same_stubs_and_removes_stale_ones(tmp_path):
    lib = tmp_path / "torch" / "lib"
    lib.mkdir(parents=True)
    (lib / "libold.so").write_bytes(b"")
    (lib / ".vlm-stubs.json").write_text('{"stubs": ["libold.so", "../libkept.so"]}')
    (tmp_path / "torch" / "libkept.so").write_bytes(b"")

    assert stubs.install(tmp_path / "torch", cudnn=(9, 0, 0)) == ()

    assert not (lib / "libold.so").exists()
    assert (tmp_path / "torch" / "libkept.so").exists()
