"""A worker as it really runs: the engine behind a fence, and impostors that lie, die or never answer."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.domain.errors import Unavailable, UnreadableFile
from lifecycle.runtimes import sandbox
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.sandbox import Sandbox
from lifecycle.runtimes.snapshot import EngineCopy, snapshot
from lifecycle.runtimes.store import RuntimeStore, engine_folder
from lifecycle.runtimes.worker import Limits, Worker, WorkerCrashed, WorkerFailure
from tests.conftest import TEST_RUNTIMES

FENCES = [fence for fence in sandbox.FENCES if sandbox.works(fence)]
pytestmark = pytest.mark.skipif(not FENCES, reason="no fence works on this machine")


# --- the engine -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runtime(torch_runtime: str) -> Runtime:
    return RuntimeStore(TEST_RUNTIMES).get(torch_runtime)


@pytest.fixture(scope="module", params=FENCES, ids=lambda fence: fence.value)
def worker(request, runtime: Runtime, tmp_path_factory) -> Iterator[Worker]:
    copy = snapshot(engine_folder(), TEST_RUNTIMES)
    work = tmp_path_factory.mktemp("work")
    with Worker.start(
        runtime, sandbox=Sandbox(request.param), engine=copy, work=work, limits=Limits(address_space=6 << 30)
    ) as running:
        yield running
    assert list(work.iterdir()) == []


def test_a_worker_says_who_it_is_before_anything_else(worker, runtime):
    assert worker.hello.torch == runtime.torch
    assert worker.hello.python == runtime.python
    assert worker.hello.threads == 2


def test_a_worker_describes_its_torch(worker, runtime):
    told = worker.call("describe").values

    assert told["torch"].startswith(runtime.torch)
    assert told["numpy"] == runtime.numpy
    assert told["cuda_available"] is False


def test_values_and_bytes_come_back_as_they_went(worker):
    reply = worker.call("ping", {"echo": ["ä", 1.5, None]}, payload=bytes(range(256)) * 4096)

    assert reply.values == {"echo": ["ä", 1.5, None]}
    assert reply.bytes == bytes(range(256)) * 4096


def test_an_operation_that_does_not_exist_is_answered_and_the_worker_goes_on(worker):
    with pytest.raises(WorkerFailure) as caught:
        worker.call("format_disk")

    assert caught.value.code == "unknown_operation"
    assert worker.call("ping").values == {"echo": None}


def test_a_missing_parameter_is_answered_and_the_worker_goes_on(worker):
    with pytest.raises(WorkerFailure) as caught:
        worker.call("try_load", {"kind": "checkpoint"})

    assert caught.value.code == "exception"
    assert "path" in caught.value.message
    assert worker.alive


def test_a_checkpoint_loads_and_its_tensors_are_named_by_hash(worker, tmp_path):
    values = struct.pack("<4f", 1, 2, 3, 4)
    file = checkpoint(tmp_path / "voice.pth", values)

    told = worker.call("try_load", {"path": worker.put(file), "kind": "checkpoint"}).values

    assert told["tensors"] == [
        {"name": "weight", "dtype": "float32", "shape": [2, 2], "sha256": hashlib.sha256(values).hexdigest()}
    ]


def test_a_pickle_that_calls_something_is_refused_and_runs_nothing(worker, tmp_path):
    class Payload:
        def __reduce__(self):
            return (print, ("it ran",))

    file = tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps(Payload(), protocol=2))

    with pytest.raises(WorkerFailure) as caught:
        worker.call("try_load", {"path": worker.put(file), "kind": "checkpoint"})

    assert caught.value.code == "refused"
    assert "it ran" not in worker.stderr


@pytest.mark.parametrize("kind", ["checkpoint", "torchscript", "safetensors"])
def test_noise_is_refused_by_every_loader(worker, kind):
    path = worker.put_bytes(b"\x00\x01noise" * 100, "noise.bin")

    with pytest.raises(WorkerFailure) as caught:
        worker.call("try_load", {"path": path, "kind": kind})

    assert caught.value.code == "refused"


def test_a_kind_that_nothing_loads_here_is_said_to_be_so(worker):
    path = worker.put_bytes(b"x", "model.onnx")

    for kind in ("onnx", "tensorflow"):
        with pytest.raises(WorkerFailure) as caught:
            worker.call("try_load", {"path": path, "kind": kind})
        assert caught.value.code == "unsupported"


def test_a_file_that_asks_for_more_memory_than_allowed_does_not_end_the_worker(worker, tmp_path):
    huge = checkpoint(tmp_path / "huge.pth", b"\0" * 16, shape=(1 << 33,), stride=(0,))

    with pytest.raises(WorkerFailure):
        worker.call("try_load", {"path": worker.put(huge), "kind": "checkpoint"})

    assert worker.call("ping").values == {"echo": None}


def test_clearing_leaves_nothing_of_a_job(worker):
    worker.put_bytes(b"x", "left.bin")

    worker.clear()

    with pytest.raises(WorkerFailure):
        worker.call("try_load", {"path": f"{worker.out()}/../inputs/left.bin", "kind": "safetensors"})


def checkpoint(
    file: Path, storage: bytes, *, shape: tuple[int, ...] = (2, 2), stride: tuple[int, ...] = (2, 1)
) -> Path:
    """Write the zip that `torch.save({"weight": tensor})` writes, without torch."""
    out = io.BytesIO()
    out.write(
        b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
    )
    out.write(
        b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + _integer(len(storage) // 4) + b"tQ"
    )
    out.write(_integer(0))
    for numbers in (shape, stride):
        out.write(b"(" + b"".join(map(_integer, numbers)) + b"t")
    out.write(b"\x89ccollections\nOrderedDict\n)RtRs.")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", out.getvalue())
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", storage)
        archive.writestr("archive/version", "3\n")
    return file


def _integer(value: int) -> bytes:
    """A pickled integer."""
    if value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes([len(raw)]) + raw


# --- impostors ------------------------------------------------------------------------------------------------

_PREFACE = """
import json, os, sys, time
out = os.fdopen(os.dup(1), "wb", buffering=0)
digest = sys.argv[sys.argv.index("--engine-hash") + 1]
hello = {"type": "hello", "protocol": 1, "engine_hash": digest, "torch": "2.0.0", "build": "cpu", "python": "3",
         "numpy": "1", "device": "cpu", "cpu_capability": "x", "threads": 1}
def send(message, body=b""):
    out.write(json.dumps(message).encode() + b"\\n" + body)
def ask():
    return json.loads(sys.stdin.buffer.readline())
"""


@pytest.fixture
def impostor(tmp_path):
    """Start a program of ours in place of the engine; plain Python, no torch."""
    python = tmp_path / "runtime" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(Path(sys.executable).resolve())
    runtime = Runtime(
        path=tmp_path / "runtime",
        id="fake",
        torch="2.0.0",
        build="cpu",
        python="3",
        python_prefix=sys.base_prefix,
        platform="",
        source="",
        created="",
        lock=(),
        lock_hash="",
    )
    running: list[Worker] = []

    def start(script: str, *, limits: Limits = Limits()) -> Worker:
        folder = tmp_path / "copy" / "engine"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__main__.py").write_text(_PREFACE + script)
        copy = EngineCopy(tmp_path / "copy", "blake3:ours")
        worker = Worker.start(runtime, sandbox=Sandbox(FENCES[0]), engine=copy, work=tmp_path, limits=limits)
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.close(grace_s=0)


def test_a_worker_of_another_engine_is_not_used(impostor):
    with pytest.raises(Unavailable, match="another engine"):
        impostor('send({**hello, "engine_hash": "blake3:theirs"}); time.sleep(30)')


def test_a_worker_that_does_not_introduce_itself_is_a_crash(impostor):
    with pytest.raises(WorkerCrashed):
        impostor('print("hello", flush=True); time.sleep(30)')


def test_a_torch_that_does_not_import_is_told_in_its_own_words(impostor):
    with pytest.raises(WorkerFailure) as caught:
        impostor(
            'send({"type": "error", "id": 0, "code": "exception", "message": "libcudnn.so.9: \\x1b[31mgone"})'
        )

    assert caught.value.message == "libcudnn.so.9: [31mgone"


@pytest.mark.parametrize(
    "answer",
    [
        'out.write(b"noise\\n")',
        'out.write(b"x" * (5 << 20))',
        'send({"type": "result", "id": 1, "values": {}, "bytes": 99}); out.close(); os.close(1); sys.exit(0)',
        'send({"type": "result", "id": 1, "values": {}, "bytes": 10 ** 11})',
        'send({"type": "result", "id": 1, "values": {}, "arrays": [{"name": "a", "dtype": "<f4", "shape": [9]}]})',
        "send(hello)",
        'send({"type": "request", "id": 1, "op": "ping", "params": {}})',
    ],
)
def test_a_worker_that_breaks_the_protocol_is_killed(impostor, answer):
    worker = impostor(f"send(hello); ask(); {answer}; time.sleep(30)")

    with pytest.raises(WorkerCrashed):
        worker.call("ping", timeout_s=20)

    assert not worker.alive


def test_a_worker_that_dies_is_reported_with_signal_and_last_words(impostor):
    worker = impostor(
        'send(hello); ask(); sys.stderr.write("ld.so: \\x1b]0;boom\\x07 gone\\n"); os.kill(os.getpid(), 11)'
    )

    with pytest.raises(WorkerCrashed) as caught:
        worker.call("ping")

    assert "SIGSEGV" in caught.value.why
    assert caught.value.stderr == "ld.so: ]0;boom gone\n"


def test_standard_error_is_bounded(impostor):
    worker = impostor('send(hello); ask(); sys.stderr.write("x" * 10_000_000 + "end"); sys.exit(3)')

    with pytest.raises(WorkerCrashed) as caught:
        worker.call("ping")

    assert len(caught.value.stderr) <= 4096
    assert caught.value.stderr.endswith("end")


def test_a_worker_that_is_too_slow_is_killed(impostor):
    worker = impostor("send(hello); ask(); time.sleep(60)")

    with pytest.raises(WorkerCrashed, match="too slow"):
        worker.call("ping", timeout_s=0.5)

    assert not worker.alive


def test_events_are_handed_on_and_a_cancel_reaches_the_worker(impostor):
    worker = impostor(
        'send(hello); ask(); send({"type": "event", "id": 1, "values": {"step": 1}}); message = ask();'
        'send({"type": "error", "id": 1, "code": "cancelled", "message": message["type"]})'
    )
    seen: list[object] = []

    with pytest.raises(WorkerFailure) as caught:
        worker.call("fit", on_event=seen.append, cancelled=lambda: bool(seen), timeout_s=20)

    assert seen == [{"step": 1}]
    assert (caught.value.code, caught.value.message) == ("cancelled", "cancel")


def test_answers_to_another_request_are_not_taken(impostor):
    worker = impostor(
        'send(hello); ask(); send({"type": "result", "id": 7, "values": {"whose": "other"}});'
        'send({"type": "result", "id": 1, "values": {"whose": "mine"}}); ask()'
    )

    assert worker.call("ping", timeout_s=20).values == {"whose": "mine"}


def test_arrays_arrive_as_numpy_and_cannot_be_written(impostor):
    arrays = [{"name": "a", "dtype": "<f4", "shape": [2, 1]}, {"name": "none", "dtype": "<i8", "shape": [0]}]
    worker = impostor(
        f"import struct; send(hello); ask(); send({{'type': 'result', 'id': 1, 'values': {{}}, 'bytes': 10,"
        f" 'arrays': json.loads({json.dumps(arrays)!r})}}, struct.pack('<2f', 1, 2) + b'xy'); ask()"
    )

    reply = worker.call("ping", timeout_s=20)

    assert reply.arrays["a"].tolist() == [[1.0], [2.0]]
    assert reply.arrays["none"].shape == (0,)
    assert reply.bytes == b"xy"
    assert not reply.arrays["a"].flags.writeable


@pytest.mark.parametrize(
    "make",
    [
        'os.symlink("/etc/ld.so.cache", "result.bin")',
        'os.mkfifo("result.bin")',
        'os.mkdir("result.bin")',
        'open("other", "w").write("x"); os.link("other", "result.bin")',
        'open("result.bin", "wb").write(bytes(2000))',
        "pass",
    ],
)
def test_only_a_plain_bounded_file_is_taken_out(impostor, make):
    worker = impostor(f"{make}; send(hello); ask()")

    with pytest.raises(UnreadableFile):
        worker.take("result.bin", max_bytes=1000)


def test_a_plain_file_is_taken_out_and_the_folders_are_gone_afterwards(impostor, tmp_path):
    worker = impostor('open("result.bin", "wb").write(b"audio"); send(hello); ask()')

    assert worker.take("result.bin", max_bytes=5) == b"audio"
    assert worker.out("result.bin").endswith("/result.bin")
    worker.close()

    assert list(tmp_path.glob("worker-*")) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\0b"])
def test_a_file_is_handed_in_under_a_plain_name_only(impostor, name):
    worker = impostor("send(hello); ask()")

    with pytest.raises(UnreadableFile):
        worker.put_bytes(b"x", name)
