"""Arms a failpoint from the environment, for tests that kill the program in the middle.

VLM_FAILPOINTS_ENABLED=1 VLM_FAILPOINT=keys.after_rewrap[:kill|:enospc]; both are needed, so that a stray
variable does nothing.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping

from lifecycle.domain import failpoints
from lifecycle.domain.failpoints import hit

__all__ = ["arm_from", "hit"]


def arm_from(environment: Mapping[str, str]) -> None:
    """Arm the failpoint that the environment names, if it enables them at all."""
    spec = environment.get("VLM_FAILPOINT", "")
    if environment.get("VLM_FAILPOINTS_ENABLED") != "1" or not spec:
        return
    name, _, action = spec.partition(":")
    failpoints.arm(name, _no_room if action == "enospc" else _kill)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_room() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
