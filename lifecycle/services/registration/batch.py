"""What the registrations of one command share: files copied ahead, policies read once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.services.registration.ahead import Ahead
from lifecycle.services.retention.files import load_policy, policy_home

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.policies import Policy


# A thread that comes back from the kernel gets the interpreter this soon, not after Python's 5 ms.
_SWITCH_S = 0.0005


@dataclass(slots=True)
class Batch:
    """Registrations that follow one another.

    Attributes:
        goldens: Record what each voice says today, where a runtime is here; else that stays pending.
    """

    rooms: Rooms
    ahead: Ahead
    goldens: bool = True
    _policies: dict[str, Policy] = field(default_factory=dict)

    def policy(self, name: str) -> Policy:
        """Return a policy, read once; see `load_policy`."""
        if name not in self._policies:
            self._policies[name] = load_policy(name, own=policy_home(self.rooms))
        return self._policies[name]


@contextmanager
def batch(rooms: Rooms, weights: Iterable[Path], *, goldens: bool = True) -> Iterator[Batch]:
    """Begin registrations whose files of weights are known, in order; they are copied ahead.

    The key database stays open meanwhile: SQLite empties its log whenever the last connection closes, which costs a
    sync for every row that is sealed.
    """
    ahead = Ahead(rooms.vault.blobs)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        with rooms.vault.keys.database.kept_open():
            ahead.announce(weights)
            yield Batch(rooms, ahead, goldens)
    finally:
        sys.setswitchinterval(interval)
        ahead.close()
