"""Shut a program in without bubblewrap: own user, network and IPC namespaces, and Landlock on files.

Runs as a script (`python -I landlock.py JSON -- PROGRAM ...`), standard library only: it confines itself and
becomes the program. Source: Linux, Documentation/userspace-api/landlock.rst; unshare(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from typing import Any

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_NOBODY = 65534
#: Rights on files by the ABI that brought them.
_FILE_RIGHTS = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_READ = 1 | 4 | 8  # execute, read file, read folder
_WRITE_FILE = 2 | 4
_PATH_BENEATH = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Unconfined(Exception):
    """The kernel does not give all that is needed; nothing was started."""


def abi() -> int:
    """Return the kernel's Landlock ABI, 0 without Landlock."""
    version = _libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(int(version), 0)


def _check(what: str, result: int) -> int:
    if result < 0:
        raise Unconfined(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def own_namespaces() -> None:
    """Leave the network and the IPC of the machine, as an unprivileged user of a namespace of our own.

    Raises:
        Unconfined: The kernel or the container forbids it.
    """
    uid, gid = os.getuid(), os.getgid()
    _check("unshare", _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC))
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NOBODY} {uid} 1"),
        ("gid_map", f"{_NOBODY} {gid} 1"),
    ):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def restrict(read: list[str], write: list[str]) -> None:
    """Allow reading below `read`, anything but devices and execution below `write`, and nothing else.

    Raises:
        Unconfined: There is no Landlock, or it refuses.
    """
    level = abi()
    if level < 1:
        raise Unconfined("this kernel has no Landlock")
    rights = _FILE_RIGHTS
    rights |= _REFER if level >= 2 else 0
    rights |= _TRUNCATE if level >= 3 else 0
    rights |= _IOCTL if level >= 5 else 0
    attributes = struct.pack("<QQQ", rights, 3 if level >= 4 else 0, 3 if level >= 6 else 0)
    size = 24 if level >= 6 else 16 if level >= 4 else 8
    ruleset = _check(
        "landlock", _libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    )
    writing = rights & ~(1 | _IOCTL)
    for paths, allowed in ((read, _READ), (write, writing)):
        for path in paths:
            _allow(ruleset, path, allowed)
    _check("prctl", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check("landlock", _libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)))
    os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):  # noqa: PTH112 - this script starts often and imports little
        allowed &= 1 | _WRITE_FILE | _TRUNCATE
    rule = struct.pack("<Qi", allowed, descriptor)
    try:
        _check("landlock", _libc.syscall(_ADD, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0)))
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> int:
    """Confine this process and become the program; returns 126 only if it cannot be confined."""
    rules: dict[str, Any] = json.loads(arguments[0])
    program = arguments[2:]
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != rules["parent"]:
        return 126
    try:
        own_namespaces()
        restrict(rules["read"], rules["write"])
    except (Unconfined, OSError) as error:
        sys.stderr.write(f"landlock: {error}\n")
        return 126
    # a change of credentials clears the signal, so it is set again
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    os.chdir(rules["cwd"])
    os.execve(program[0], program, rules["environment"])  # noqa: S606 - becoming the program is the purpose
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
