"""The families of commands, imported only when one of their commands is called.

`vlm --help` reads one line per command from `index.py`, which `python -m lifecycle.cli.reference` writes from the
commands themselves and a test holds against them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from lifecycle.cli.index import INDEX

_INDEXED = {family for family, _ in INDEX.values()}


def load(family: str) -> dict[str, Any]:
    """Import a family and return its commands by name."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    import_module(f"lifecycle.cli.{family}").add(app)
    return dict(getattr(typer.main.get_command(app), "commands", {}))


class LazyGroup(TyperGroup):
    """The root of `vlm`: knows the names of its commands, and imports what is called.

    Whoever asks for `commands` gets all of them, imported.

    Attributes:
        families: Modules of `lifecycle.cli`, each with `add(app)`, in the order of the help.
    """

    families: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **settings: Any) -> None:
        self._loaded: dict[str, dict[str, Any]] = {}
        super().__init__(**settings)

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """Every command, in the order of a voice's life."""
        return {name: command for family in self.families for name, command in self._family(family).items()}

    @commands.setter
    def commands(self, _given: object) -> None:
        pass

    def _family(self, family: str) -> Mapping[str, Any]:
        if family not in self._loaded:
            self._loaded[family] = load(family)
        return self._loaded[family]

    def list_commands(self, _ctx: object) -> list[str]:
        """Return every name; a family that the index does not know yet is imported."""
        names = [
            name
            for family in self.families
            for name in (_names(family) if family in _INDEXED else self._family(family))
        ]
        return list(dict.fromkeys(names))

    def get_command(self, _ctx: object, cmd_name: str) -> Any:
        """Return one command, importing its family; all of them where the index does not know it."""
        if cmd_name in INDEX:
            found = self._family(INDEX[cmd_name][0]).get(cmd_name)
            if found is not None:
                return found
        for family in self.families:
            if family not in _INDEXED and cmd_name in self._family(family):
                return self._family(family)[cmd_name]
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, from the index where it has them."""
        rows: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            if name in INDEX:
                short = INDEX[name][1]
            else:
                command = self.get_command(ctx, name)
                short = None if command is None or command.hidden else command.get_short_help_str(1000)
            if short is not None:
                rows.append((name, short))
        limit = formatter.width - 6 - max(len(name) for name, _ in rows)
        with formatter.section("Commands"):
            formatter.write_dl([(name, _cut(short, limit)) for name, short in rows])


def _names(family: str) -> list[str]:
    return [name for name, (where, _) in INDEX.items() if where == family]


def _cut(text: str, limit: int) -> str:
    from typer._click.utils import make_default_short_help

    return make_default_short_help(text, limit)
