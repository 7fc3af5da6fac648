from __future__ import annotations

import ast
import errno
from pathlib import Path

import pytest

from lifecycle.domain import failpoints
from lifecycle.vault.failpoints import arm_from

LIFECYCLE = Path(failpoints.__file__).parents[1]


@pytest.fixture(autouse=True)
def _disarm():
    yield
    failpoints.arm(None)


def names_in_the_code() -> set[str]:
    found = set()
    for path in LIFECYCLE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in {"hit", "failpoint", "passed"}:
                    found.add(node.args[0].value)
    return found


def test_every_failpoint_of_the_code_is_listed_and_every_listed_one_is_in_the_code():
    assert names_in_the_code() == set(failpoints.POINTS)
    assert len(set(failpoints.POINTS)) == len(failpoints.POINTS)


def test_a_failpoint_does_nothing_unless_it_is_armed_and_enabled():
    arm_from({"VLM_FAILPOINT": "keys.after_epoch:enospc"})
    failpoints.hit("keys.after_epoch")

    arm_from({"VLM_FAILPOINT": "keys.after_epoch:enospc", "VLM_FAILPOINTS_ENABLED": "1"})
    failpoints.hit("keys.after_rewrap")
    with pytest.raises(OSError, match="No space") as raised:
        failpoints.hit("keys.after_epoch")
    assert raised.value.errno == errno.ENOSPC
