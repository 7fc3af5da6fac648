"""GPT-SoVITS voices are told by tensors and head, never by size."""

import io

import pytest

from lifecycle.formats import inspect
from tests.formats import build


def look(value, head: bytes = b"PK", name: str = "x.pth"):
    data = build.torch_zip(value, head=head)
    return inspect(io.BytesIO(data), name=name, size=len(data))


def codes(found) -> list[str]:
    return [finding.code for finding in found.findings]


@pytest.mark.parametrize(("rows", "version"), [(512, "v1"), (732, "v2")])
def test_a_gpt_half_is_told_by_its_phone_table(rows, version):
    found = look(build.gpt_half(rows))

    assert found.kind == "gpt-sovits-gpt"
    assert found.summary == (
        f"GPT-SoVITS GPT half, {version}, fp16, 295 tensors     pickle: safe to read, 0 calls"
    )
    assert found.facts["epoch"] == 15
    assert codes(found) == ["training_paths"]


@pytest.mark.parametrize(
    ("version", "head", "count"),
    [("v1", b"PK", 673), ("v1", b"00", 673), ("v2", b"PK", 673), ("v2", b"01", 673), ("v2Pro", b"05", 678),
     ("v2ProPlus", b"06", 678), ("v2Pro", b"PK", 678)],
)  # fmt: skip
def test_a_sovits_half_is_told_by_its_tensors(version, head, count):
    found = look(build.sovits_half(version), head)

    assert found.kind == "gpt-sovits-sovits"
    assert found.summary == (
        f"GPT-SoVITS SoVITS half, {version}, fp16, {count} tensors"
        "     pickle: one class, utils.HParams, not executed"
    )
    assert (found.facts["sample_rate"], found.facts["epoch"], found.facts["step"]) == (32_000, 8, 1200)
    assert found.facts["config"]["model"]["version"] == version
    assert codes(found) == ["class"]


@pytest.mark.parametrize(("version", "rate"), [("v3", 24_000), ("v4", 48_000)])
def test_v3_and_v4_are_told_apart_by_their_settings(version, rate):
    found = look(build.sovits_half(version))

    assert (found.facts["version"], found.facts["sample_rate"]) == (version, rate)


@pytest.mark.parametrize(
    ("head", "version", "base"), [(b"03", "v3", "s2Gv3.pth"), (b"04", "v4", "s2Gv4.pth")]
)
def test_a_lora_voice_names_the_base_it_needs(head, version, base):
    found = look(build.lora_half("unknown"), head)

    assert (found.facts["version"], found.facts["lora"], found.facts["lora_rank"]) == (version, True, 32)
    assert any(base in finding.message for finding in found.findings)
    assert f"{version} LoRA" in found.summary


def test_settings_may_be_a_plain_dictionary():
    assert look(build.sovits_half("v2", config_class=False)).facts["config"] == {
        "model": {"version": "v2", "gin_channels": 512}
    }


@pytest.mark.parametrize(("version", "head"), [("v2", b"05"), ("v2Pro", b"06"), ("v2", b"03"), ("v1", b"01")])
def test_a_head_that_contradicts_the_tensors_is_said(version, head):
    found = look(build.sovits_half(version), head)

    assert "head_disagrees" in codes(found)
    assert found.facts["version"] == version


def test_missing_tensors_are_said():
    voice = build.sovits_half("v2")
    del voice["weight"]["dec.more.5.weight"]

    assert "incomplete" in codes(look(voice))


def test_base_models_and_training_checkpoints_have_their_own_word():
    base = build.sovits_half("v2")
    base["weight"]["enc_q.pre.weight"] = build.Tensor.flat(192, 1025, 1)
    training = {"model": base["weight"], "iteration": 1200, "optimizer": {}, "learning_rate": 1e-4}
    lightning = {"state_dict": build.gpt_half()["weight"], "epoch": 3, "pytorch-lightning_version": "2.4.0"}
    discriminator = {"model": {"discriminators.0.convs.0.weight": build.Tensor.flat(4)}, "iteration": 1}

    assert look(base).kind == "gpt-sovits-base"
    assert look(training).kind == "gpt-sovits-sovits-training"
    assert look(lightning).kind == "gpt-sovits-gpt-training"
    assert look(lightning).facts["lightning"] == "2.4.0"
    assert "cannot speak" in look(discriminator).summary


def test_another_checkpoint_is_none_of_them():
    found = look({"weight": {"layer.weight": build.Tensor((2, 2))}})

    assert found.kind == "torch-checkpoint"


def test_a_dangerous_voice_is_not_described_by_its_tensors():
    found = look(build.sovits_half("v2", extra=build.EVIL))

    assert (found.safe, found.tensors) == (False, ())
    assert "posix.system" in found.summary
