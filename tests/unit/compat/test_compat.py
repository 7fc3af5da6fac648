from __future__ import annotations

import pytest

from lifecycle.compat.findings import findings, gpu_finding, gpu_needs
from lifecycle.compat.releases import RELEASES, minor_of, pythons_for, release_of


@pytest.mark.parametrize("torch", ["2.13.0", "2.13.0+cpu", "2.13"])
def test_a_version_is_found_by_its_minor(torch):
    assert minor_of(torch) == (2, 13)
    assert release_of(torch) is RELEASES["2.13"]


def test_an_unknown_release_is_unknown_not_guessed():
    assert release_of("2.99.0") is None
    assert pythons_for("3.0.0") is None
    assert gpu_finding("2.99.0", capability=90) is None


def test_python_3_11_runs_every_release_that_is_known():
    assert all(low <= 11 <= high for low, high in (r.pythons for r in RELEASES.values()))


@pytest.mark.parametrize(
    ("torch", "operators", "gone"),
    [
        ("2.12.1", ["aten::align_to"], False),
        ("2.13.0", ["aten::align_to"], True),
        ("2.13.0", ["aten::cholesky"], False),
        ("2.14.1", ["aten::cholesky"], True),
        ("2.15.0", ["aten::conv1d"], False),
    ],
)
def test_an_operator_that_a_release_removed_is_named(torch, operators, gone):
    known = findings("torchscript", {"ops": operators}, torch)

    assert bool(known) is gone
    assert all(one.breaks and operators[0] in one.message for one in known)


def test_a_class_of_another_package_in_a_pickle_is_named():
    facts = {"globals": ["collections.OrderedDict", "torch.FloatStorage", "utils.HParams"]}

    (before,) = findings("gpt-sovits-sovits", facts, "2.5.1")
    (after,) = findings("gpt-sovits-sovits", facts, "2.6.0")

    assert "utils.HParams" in before.message
    assert "default" not in before.message
    assert "default since 2.6" in after.message


def test_a_pickle_of_tensors_alone_has_no_finding():
    assert findings("torch-checkpoint", {"globals": ["torch._utils._rebuild_tensor_v2"]}, "2.15.0") == ()


def test_half_precision_on_a_cpu_is_remarked_not_condemned():
    (known,) = findings("safetensors", {"dtype": "fp16"}, "2.1.2")

    assert not known.breaks
    assert findings("safetensors", {"dtype": "fp16"}, "2.3.1") == ()
    assert findings("safetensors", {"dtype": "fp32"}, "2.1.2") == ()


@pytest.mark.parametrize(
    ("torch", "capability", "has"),
    [
        ("2.7.1", 61, True),
        ("2.8.0", 61, False),
        ("2.10.0", 70, True),
        ("2.11.0", 70, False),
        ("2.15.0", 90, True),
        ("2.7.1", 120, False),
    ],
)
def test_a_gpu_runs_code_of_its_own_generation_only(torch, capability, has):
    known = gpu_finding(torch, capability=capability)

    assert (known is None) is has


def test_the_last_release_for_an_old_gpu_is_named():
    known = gpu_finding("2.15.0", capability=61)

    assert known is not None
    assert "2.7" in known.message


def test_an_old_driver_is_named_with_the_one_that_is_needed():
    known = gpu_finding("2.13.0", driver=535)

    assert known is not None
    assert "580" in known.message
    assert gpu_finding("2.10.0", driver=535) is None


def test_what_a_gpu_would_need_is_said_without_one():
    known = gpu_needs("2.15.0")

    assert known is not None
    assert not known.breaks
    assert "driver 580" in known.message
    assert "12.0" in known.message
    assert gpu_needs("9.9.0") is None


def test_an_altered_head_explains_why_torch_refuses():
    (known,) = findings("gpt-sovits-sovits", {"head": "05"}, "2.13.0")

    assert known.breaks
    assert '"05"' in known.message
