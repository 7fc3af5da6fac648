"""Named places where a test may stop the program, to show that what follows a crash is whole.

A failpoint costs one comparison while none is armed. The environment is read by whoever arms them
(`lifecycle/vault/failpoints.py`); this module only knows the names and the one that is armed.
"""

from __future__ import annotations

from collections.abc import Callable

# Every failpoint of the program, so that a test can walk them all; a test holds this list against the code.
POINTS: tuple[str, ...] = (
    "blob.before_write",
    "blob.before_rename",
    "blob.after_rename",
    "blob.before_remove",
    "blob.after_remove",
    "keys.before_epoch",
    "keys.after_holder",
    "keys.after_epoch",
    "keys.after_rewrap",
    "keys.after_fresh_process",
    "keys.after_switch",
    "keys.after_keybag",
    "keys.after_destroy",
    "keys.after_vacuum",
    "keys.after_scan",
    "ledger.before_append",
    "ledger.after_append",
    "anchor.before_advance",
    "anchor.after_advance",
    "job.after_row",
    "lock.before_commit",
    "states.before_commit",
    "register.after_files",
    "register.before_commit",
    "register.before_keep",
    "register.after_commit",
    "register.during_move",
    "import.after_row",
    "subject.before_commit",
    "subject.after_commit",
    "use.before_commit",
    "audit.before_commit",
    "trail.before_anchor",
    "retire.before_commit",
    "policy.before_plan_commit",
    "policy.after_begun",
    "policy.after_action",
    "policy.before_done_commit",
    "purge.after_journal",
    "purge.after_plan",
    "purge.after_ledger_planned",
    "purge.before_commit",
    "purge.after_commit",
    "purge.after_ledger_committed",
    "purge.after_ledger",
    "purge.during_originals",
    "purge.after_originals",
    "purge.after_work",
    "purge.during_blobs",
    "purge.after_blobs",
    "purge.after_keys",
    "purge.before_rows_commit",
    "purge.after_rows",
    "purge.after_vacuum",
    "purge.before_verify_commit",
    "purge.after_verify",
    "purge.after_receipt_written",
    "purge.before_close",
    "purge.after_receipt",
    "move.after_mark",
    "move.during_copy",
    "move.after_copy",
    "move.after_check",
    "move.after_source",
    "move.after_target",
    "nightly.after_file",
    "nightly.after_notify",
    "backup.after_snapshot",
    "backup.during_blobs",
    "backup.after_batch",
    "backup.before_manifest",
    "backup.after_manifest",
    "backup.during_keys",
    "backup.before_row",
    "restore.after_keys",
    "restore.after_databases",
    "restore.after_keybag",
    "restore.before_end",
)

_armed: tuple[str, Callable[[], None]] | None = None


def arm(name: str | None, action: Callable[[], None] | None = None) -> None:
    """Let `action` happen where the program passes `name`; None disarms.

    Args:
        action: Ends the process or raises; called each time the point is passed.
    """
    global _armed  # noqa: PLW0603
    _armed = None if name is None or action is None else (name, action)


def hit(name: str) -> None:
    """Pass a failpoint: nothing happens unless a test armed exactly this one."""
    if _armed is not None and _armed[0] == name:
        _armed[1]()
