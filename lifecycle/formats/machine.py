"""Follow a pickle without running it: which names it imports, what it calls, and the plain values it holds.

The walker keeps a stack and a memo as CPython does, but every object is an inert stand-in. What cannot be
followed without doubt is refused; what would run something is a danger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lifecycle.formats import calls, known
from lifecycle.formats.limits import MAX_MARKS, MAX_NAME, MAX_WORK
from lifecycle.formats.model import Finding, Severity, Unread, shown
from lifecycle.formats.values import Global, Mapping, Opaque, Record, Walk, is_key

_OLD_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_OLD_NAMES: Final = {"builtins.unicode": "builtins.str", "builtins.long": "builtins.int"}
_VERBS: Final = {"import": "imports", "object": "makes an object of", "call": "calls", "change": "changes"}
_RANK: Final = ("import", "object", "change", "call")


class Machine:
    """The stack and memo of one pickle; feed it each operation, then ask for the result."""

    def __init__(self, *, script: bool, external: bool) -> None:
        self._script = script
        self._external = external
        self._stack: list[object] = []
        self._marks: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._globals: dict[str, None] = {}
        self._classes: dict[str, None] = {}
        self._dangers: dict[str, str] = {}
        self._notes: list[Finding] = []
        self._protocol = 0
        self._count = 0
        self._work = 0
        self._value: object = None
        self._handlers: dict[str, Callable[[object], None]] = {
            name.removeprefix("_op_").upper(): getattr(self, name)
            for name in dir(self)
            if name.startswith("_op_")
        }

    # what the walk found

    @property
    def unsafe(self) -> bool:
        """Whether something was met that would run."""
        return bool(self._dangers) or any(note.severity == "danger" for note in self._notes)

    def note(self, severity: Severity, code: str, message: str) -> None:
        """Keep a finding, once."""
        finding = Finding(severity, code, message)
        if len(self._notes) < 100 and finding not in self._notes:
            self._notes.append(finding)

    def _danger(self, use: str, name: str) -> None:
        before = self._dangers.get(name)
        if (before is None or _RANK.index(use) > _RANK.index(before)) and len(self._dangers) < 1000:
            self._dangers[name] = use

    def result(self, end: int | None) -> Walk:
        """Return what was found; `end` is the byte behind the pickle."""
        order = sorted(self._dangers.items(), key=lambda item: -_RANK.index(item[1]))
        dangers = [Finding("danger", use, f"{_VERBS[use]} {shown(name)} when loaded") for name, use in order]
        return Walk(
            value=self._value,
            globals=tuple(self._globals),
            classes=tuple(self._classes),
            findings=(*dangers, *self._notes),
            protocol=self._protocol,
            operations=self._count,
            end=end,
        )

    # one step

    def step(self, name: str, argument: object) -> None:
        """Follow one operation.

        Raises:
            Unread: It cannot be followed without doubt.
        """
        self._count += 1
        if name == "PROTO":
            if self._count != 1 or not isinstance(argument, int) or argument > 5:
                raise Unread("names a pickle protocol where none can be")
            self._protocol = argument
        elif name == "VALUE":
            self._stack.append(argument)
        else:
            self._handlers[name](argument)

    def _pop(self) -> object:
        if not self._stack:
            raise Unread("takes more from its pickle's stack than lies there")
        return self._stack.pop()

    def _top(self) -> object:
        if not self._stack:
            raise Unread("takes more from its pickle's stack than lies there")
        return self._stack[-1]

    def _to_mark(self) -> list[object]:
        if not self._marks:
            raise Unread("refers to a mark in its pickle that is not there")
        items, self._stack = self._stack, self._marks.pop()
        return items

    # marks, stack and memo

    def _op_mark(self, _: object) -> None:
        if len(self._marks) >= MAX_MARKS:
            raise Unread("is nested too deeply in its pickle")
        self._marks.append(self._stack)
        self._stack = []

    def _op_stop(self, _: object) -> None:
        self._value = self._pop()
        if self._stack or self._marks:
            raise Unread("leaves values on its pickle's stack, as no writer does")

    def _op_pop(self, _: object) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _op_pop_mark(self, _: object) -> None:
        self._to_mark()

    def _op_dup(self, _: object) -> None:
        self._stack.append(self._top())

    def _op_get(self, index: object) -> None:
        if index not in self._memo:
            raise Unread("refers to a value in its pickle that was never kept")
        assert isinstance(index, int)
        self._stack.append(self._memo[index])

    def _op_put(self, index: object) -> None:
        assert isinstance(index, int)
        if index in self._memo and self._memo[index] is not self._top():
            raise Unread("keeps two values of its pickle under one number")
        self._memo[index] = self._top()

    def _op_memoize(self, _: object) -> None:
        self._op_put(len(self._memo))

    # plain values

    def _op_none(self, _: object) -> None:
        self._stack.append(None)

    def _op_newtrue(self, _: object) -> None:
        self._stack.append(True)

    def _op_newfalse(self, _: object) -> None:
        self._stack.append(False)

    def _op_empty_tuple(self, _: object) -> None:
        self._stack.append(())

    def _op_empty_list(self, _: object) -> None:
        self._stack.append([])

    def _op_empty_dict(self, _: object) -> None:
        self._stack.append({})

    def _op_empty_set(self, _: object) -> None:
        self._stack.append(Record("builtins.set"))

    def _op_tuple(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(tuple(items))

    def _op_tuple1(self, _: object) -> None:
        self._stack.append((self._pop(),))

    def _op_tuple2(self, _: object) -> None:
        second, first = self._pop(), self._pop()
        self._stack.append((first, second))

    def _op_tuple3(self, _: object) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self._stack.append((first, second, third))

    def _op_list(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(items)

    def _op_dict(self, _: object) -> None:
        items = self._to_mark()
        target: dict[object, object] = {}
        self._set_items(target, items)
        self._stack.append(target)

    def _op_frozenset(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(Record("builtins.frozenset", (), None, items))

    def _op_append(self, _: object) -> None:
        item = self._pop()
        self._extend(self._top(), [item])

    def _op_appends(self, _: object) -> None:
        items = self._to_mark()
        self._extend(self._top(), items)

    def _extend(self, target: object, items: list[object]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Record) and target.cls == "builtins.list":
            target.items.extend(items)
        elif not isinstance(target, Opaque):
            raise Unread("appends to a value in its pickle that is no list")

    def _op_additems(self, _: object) -> None:
        items = self._to_mark()
        target = self._top()
        if isinstance(target, Record) and target.cls == "builtins.set":
            target.items.extend(items)
        elif not isinstance(target, Opaque):
            raise Unread("adds to a value in its pickle that is no set")

    def _op_setitem(self, _: object) -> None:
        value, key = self._pop(), self._pop()
        self._set_items(self._top(), [key, value])

    def _op_setitems(self, _: object) -> None:
        items = self._to_mark()
        self._set_items(self._top(), items)

    def _set_items(self, target: object, items: list[object]) -> None:
        if isinstance(target, Opaque):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise Unread("sets items of a value in its pickle that is no dictionary")
        for index in range(0, len(items), 2):
            if not is_key(items[index]):
                raise Unread("has a dictionary key in its pickle that is no plain value")
            target[items[index]] = items[index + 1]
        if isinstance(target, Mapping) and target.cls.endswith(".AttributeDict"):  # its keys are attributes
            calls.check_attributes(items[::2])

    # names, calls, objects

    def _name(self, module: str, attribute: str) -> Global:
        if len(module) + len(attribute) > MAX_NAME:
            raise Unread("imports a name in its pickle that is too long")
        if self._protocol < 3:
            module = _OLD_MODULES.get(module, module)
            old = _OLD_NAMES.get(f"{module}.{attribute}")
            if old is not None:
                module, _, attribute = old.rpartition(".")
        found = Global(module, attribute)
        if len(self._globals) < 10_000:
            self._globals[found.name] = None
        if not self._is_known(found.name):
            self._danger("import", found.name)
        return found

    def _is_known(self, name: str) -> bool:
        return known.is_known(name) or (self._script and name.startswith("__torch__."))

    def _op_global(self, names: object) -> None:
        self._stack.append(self._name(*_pair(names)))

    def _op_stack_global(self, _: object) -> None:
        attribute, module = self._pop(), self._pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Unread("imports a name in its pickle that is not written out")
        self._stack.append(self._name(module, attribute))

    def _op_ext(self, code: object) -> None:
        self.note("danger", "extension", f"calls extension {code} of the copyreg registry when loaded")
        self._stack.append(Opaque("extension"))

    def _op_reduce(self, _: object) -> None:
        args, function = self._pop(), self._pop()
        self._stack.append(self._call(function, args))

    def _call(self, function: object, args: object) -> object:
        if isinstance(function, Opaque):
            self.note("danger", "call", "calls what another call returned when loaded")
            return function
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise Unread("calls a value in its pickle that is no function")
        if not self._is_known(function.name):
            self._danger("call", function.name)
            return Opaque(function.name)
        self._work += len(args) + sum(
            len(item) for item in args if isinstance(item, (str, bytes, list, dict))
        )
        if self._work > MAX_WORK:
            raise Unread("builds more from its pickle than can be looked at")
        try:
            return calls.build(function, args)
        except calls.BadCall:
            if any(isinstance(item, Opaque) for item in args):
                return Opaque(function.name)
            self.note(
                "danger", "call", f"calls {shown(function.name)} in a way that no writer does when loaded"
            )
            return Opaque(function.name)

    def _op_newobj(self, _: object) -> None:
        args, cls = self._pop(), self._pop()
        self._stack.append(self._instance(cls, args))

    def _op_newobj_ex(self, _: object) -> None:
        keywords, args, cls = self._pop(), self._pop(), self._pop()
        if keywords not in ({}, None):
            self.note("danger", "object", "makes an object with named arguments when loaded")
            self._stack.append(Opaque("object"))
            return
        self._stack.append(self._instance(cls, args))

    def _op_obj(self, _: object) -> None:
        items = self._to_mark()
        if not items:
            raise Unread("makes an object of nothing in its pickle")
        self._stack.append(self._old_instance(items[0], tuple(items[1:])))

    def _op_inst(self, names: object) -> None:
        args = tuple(self._to_mark())
        self._stack.append(self._old_instance(self._name(*_pair(names)), args))

    def _old_instance(self, cls: object, args: tuple[object, ...]) -> object:
        # with arguments these opcodes call the class; without them they may
        if args or (isinstance(cls, Global) and not self._is_known(cls.name)):
            return self._call(cls, args)
        return self._instance(cls, args)

    def _instance(self, cls: object, args: object) -> object:
        if isinstance(cls, Opaque):
            return cls
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise Unread("makes an object in its pickle of something that is no class")
        if not self._is_known(cls.name):
            self._danger("object", cls.name)
            return Opaque(cls.name)
        self._classes[cls.name] = None
        if self._script and cls.name.startswith("__torch__.") and not args:
            return Record(cls.name)
        try:
            return calls.instance(cls, args)
        except calls.BadCall:
            self.note(
                "danger", "object", f"makes an object of {shown(cls.name)} in a way that no writer does"
            )
            return Opaque(cls.name)

    def _op_build(self, _: object) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Global):
            self._danger("change", target.name)
        elif not isinstance(target, Opaque):
            calls.set_state(target, state, script=self._script)

    # data outside the pickle

    def _op_persid(self, _: object) -> None:
        raise Unread("refers to data outside its pickle in a way that torch never writes")

    def _op_binpersid(self, _: object) -> None:
        if not self._external:
            raise Unread("refers to data outside its pickle, but nothing lies there")
        self._stack.append(calls.storage(self._pop()))

    def _op_next_buffer(self, _: object) -> None:
        raise Unread("refers to buffers outside its pickle, but nothing lies there")

    def _op_readonly_buffer(self, _: object) -> None:
        raise Unread("refers to buffers outside its pickle, but nothing lies there")


def _pair(names: object) -> tuple[str, str]:
    assert isinstance(names, tuple)
    return str(names[0]), str(names[1])
