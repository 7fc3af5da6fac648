"""What a registry says about itself: whose it is, and whether it was moved."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, select, update

from lifecycle.registry import tables as t

# Which VLM_HOME it belongs to; a database server may hold many registries.
INSTALLATION = "installation"
# On the side that was left: where it lives now. On the side that is filled: the id of the move, until it is whole.
MOVED_TO, MOVE_ID, INCOMING, MOVED_FROM = "moved_to", "move_id", "incoming", "moved_from"
ABOUT_MOVES = frozenset({MOVED_TO, MOVE_ID, INCOMING, MOVED_FROM})


class FactQueries:
    """The registry's words about itself; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> Mapping[str, str]:
        """Return every fact by its name."""
        rows = self._connection.execute(select(t.registry_facts).order_by(t.registry_facts.c.name)).all()
        return {row.name: row.value for row in rows}

    def left_behind(self) -> bool:
        """Whether the registry was moved here, so that what it was before may still lie where it was."""
        return MOVED_FROM in self.all()

    def put(self, name: str, value: str) -> None:
        """Store a fact, in place of what was said before."""
        known = t.registry_facts.c.name == name
        if not self._connection.execute(update(t.registry_facts).where(known).values(value=value)).rowcount:
            self._connection.execute(t.registry_facts.insert().values(name=name, value=value))

    def drop(self, *names: str) -> None:
        """Forget facts."""
        self._connection.execute(delete(t.registry_facts).where(t.registry_facts.c.name.in_(names)))
