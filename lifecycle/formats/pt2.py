"""What `torch.export.save` writes: a graph in JSON beside its weights, in the layouts before and since torch 2.8.

Two parts of the JSON are evaluated as Python by torch when such a file is loaded or run: symbolic sizes
(through sympy) and guards. Both are held against a small grammar; so are the functions that nodes call.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from lifecycle.formats import checkpoints, known
from lifecycle.formats.checkpoints import Checkpoint
from lifecycle.formats.jsons import parse
from lifecycle.formats.limits import MAX_NODES, MIB
from lifecycle.formats.model import Finding, Inspection, TensorInfo, Unread, plural, shown
from lifecycle.formats.pickles import Walk
from lifecycle.formats.safetensors import common_dtype
from lifecycle.formats.source import Source, memory
from lifecycle.formats.values import Storage, Tensor
from lifecycle.formats.zips import Zip

_OLD_GRAPH: Final = "serialized_exported_program.json"
_MAX_GRAPH: Final = 32 * MIB
_MAX_EXPRESSION: Final = 2_000
_DTYPES: Final = {
    1: "U8", 2: "I8", 3: "I16", 4: "I32", 5: "I64", 6: "F16", 7: "F32", 8: "F64", 9: "C32", 10: "C64",
    11: "C128", 12: "BOOL", 13: "BF16", 28: "U16", 29: "F8_E4M3", 30: "F8_E5M2",
}  # fmt: skip
_OPERATOR = re.compile(r"torch\.ops\.([A-Za-z_]\w{0,60})\.([A-Za-z_]\w{0,100})(?:\.\w{1,100})?")
_SYMBOLIC = re.compile(r"torch\._?sym_[a-z]{1,20}|math\.(?:ceil|floor|sqrt|trunc|log2|pow)|round")
_ARITHMETIC: Final = frozenset(
    f"_operator.{name}"
    for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "abs", "eq", "ne", "lt", "le",
        "gt", "ge", "and_", "or_", "not_", "xor", "getitem", "lshift", "rshift", "matmul",
    )
)  # fmt: skip
_SYMPY: Final = frozenset({
    "Symbol", "Integer", "Float", "Rational", "Mul", "Add", "Pow", "Mod", "Max", "Min", "Abs", "Eq", "Ne",
    "Equality", "Unequality", "StrictLessThan", "StrictGreaterThan", "LessThan", "GreaterThan", "And", "Or",
    "Not", "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing", "PythonMod", "IntTrueDiv", "FloatTrueDiv",
    "ToFloat", "TruncToInt", "CeilToInt", "FloorToInt", "RoundToInt", "FloatPow", "PowByNatural", "Where",
    "Identity", "LShift", "RShift", "floor", "ceiling", "sqrt",
})  # fmt: skip
_GUARD_METHODS: Final = frozenset({"size", "stride", "dim", "numel", "storage_offset", "shape", "ndim"})
_GUARD_CALLS: Final = frozenset({"len", "int", "float", "bool", "min", "max", "abs"})
_EXPRESSIONS: Final = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Call, ast.keyword, ast.Subscript, ast.Attribute,
)  # fmt: skip
_TEXTS: Final = frozenset({"archive_format", "archive_version", "version", "byteorder"})
_TEXT_FOLDERS: Final = (".data/", "extra/", "extra_files/")
_NATIVE: Final = (".so", ".dll", ".dylib", ".pyd", ".cubin", ".cpp", ".cu", ".py", ".exe", ".sh")


@dataclass(slots=True)
class _Graph:
    operators: set[str] = field(default_factory=set)
    dangers: dict[str, None] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)


def is_pt2(container: Zip) -> bool:
    """Say whether the members are those of an exported program, in either layout."""
    names = container.members
    return _OLD_GRAPH in names or any(
        name.count("/") == 1 and name.endswith("/archive_format") for name in names
    )


def read(container: Zip, *, digests: bool = False) -> Inspection:
    """Inspect an exported program.

    Raises:
        Unread: It is damaged or ambiguous, or its JSON cannot be followed.
    """
    old = _OLD_GRAPH in container.members
    folder = "" if old else f"{container.folder()}/"
    if not old and container.text(f"{folder}archive_format", 32).strip() != "pt2":
        raise Unread("is an archive of torch of an unknown kind", kind="pt2")
    graph = _Graph()
    graphs = [
        name
        for name in container.members
        if name == _OLD_GRAPH or (name.startswith(f"{folder}models/") and name.endswith(".json"))
    ]
    if not graphs:
        raise Unread("is an exported program without a graph", kind="pt2")
    for name in graphs:
        _read_graph(parse(container.read(name, _MAX_GRAPH), "graph"), graph)
    graph.facts["container"] = "torch.export" if old else "torch.export (PT2 archive)"
    if old and "version" in container.members:
        graph.facts["container_version"] = shown(container.text("version", 32).strip())
    findings = [Finding("danger", "code", message) for message in graph.dangers]
    findings += container.check()
    raw, infos = _raw_weights(container, folder, digests=digests)
    nested = list(_nested(container, folder, raw | set(graphs), findings))
    for part in nested:
        findings += [finding for walk in part.walks for finding in walk.findings]
        infos += part.infos(digests=digests) if not part.unsafe and not part.facts.get("sample") else ()
    return _result(graph, findings, infos, tuple(walk for part in nested for walk in part.walks))


def _result(
    graph: _Graph, findings: list[Finding], infos: tuple[TensorInfo, ...], walks: tuple[Walk, ...]
) -> Inspection:
    operators = sorted(graph.operators)
    dangers = [finding for finding in findings if finding.severity == "danger"]
    foreign = sorted(
        {name.partition("::")[0] for name in operators if "::" in name} - {"aten", "prim", "prims"}
    )
    if foreign:
        message = f"needs operators that are not aten's: {', '.join(foreign[:5])}"
        findings.append(Finding("info", "foreign_operators", message))
    dtype = common_dtype([info.dtype for info in infos])
    facts = graph.facts | {
        "n_tensors": len(infos),
        "dtype": dtype,
        "ops": operators,
        "globals": sorted({name for walk in walks for name in walk.globals}),
    }
    what = f"exported program, {dtype}, {plural(len(infos), 'tensor')}, {plural(len(operators), 'operator')}"
    scan = dangers[0].message if dangers else "graph only, no code of its own"
    summary = f"{what}     {scan}"
    return Inspection("pt2", not dangers, tuple(findings), facts, infos, None, summary)


def _read_graph(root: object, graph: _Graph) -> None:
    if not isinstance(root, dict):
        raise Unread("is an exported program whose graph is no JSON object", kind="pt2")
    for key in ("torch_version", "schema_version", "opset_version"):
        value = root.get(key)
        if isinstance(value, (str, dict)) and len(str(value)) < 200:
            graph.facts["torch_writer" if key == "torch_version" else key] = value
    for node in _objects(root):
        target = node.get("target")
        if isinstance(target, str) and "inputs" in node:
            _target(target, graph)
        for key, kinds in (("expr_str", _SYMPY), ("guards_code", None)):
            for text in _texts(node.get(key)):
                if not _is_plain(text, kinds):
                    word = "a size" if kinds else "a guard"
                    graph.dangers[f"holds {word} that is Python code: {shown(text, 60)}"] = None
        if len(graph.dangers) > 100 or len(graph.operators) > 10_000:
            raise Unread("is an exported program with more functions than can be looked at", kind="pt2")


def _objects(root: object) -> Iterator[dict[str, object]]:
    pending = [root]
    for _ in range(MAX_NODES):
        if not pending:
            return
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    raise Unread("is an exported program with a graph too large to be looked at", kind="pt2")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [item if isinstance(item, str) else "?" for item in value]
    return []


def _target(target: str, graph: _Graph) -> None:
    found = _OPERATOR.fullmatch(target)
    if found is not None:
        graph.operators.add(f"{found.group(1)}::{found.group(2)}")
    elif target in _ARITHMETIC or _SYMBOLIC.fullmatch(target):
        graph.operators.add(target)
    else:
        graph.dangers[f"calls {shown(target)} when it runs"] = None


def _is_plain(text: str, calls: frozenset[str] | None) -> bool:
    """Say whether an expression only computes with sizes; `calls` are the functions it may use."""
    if len(text) > _MAX_EXPRESSION:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return all(_is_plain_node(node, calls) for node in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain_node(node: ast.AST, calls: frozenset[str] | None) -> bool:
    if not isinstance(node, _EXPRESSIONS):
        return False
    if isinstance(node, ast.Attribute):
        return calls is None and node.attr in _GUARD_METHODS
    if isinstance(node, ast.Subscript):
        return calls is None
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id in (calls or _GUARD_CALLS)
        return calls is None and isinstance(node.func, ast.Attribute)
    if isinstance(node, ast.Name):
        return "__" not in node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.isidentifier() and "__" not in node.value
    return True


def _raw_weights(container: Zip, folder: str, *, digests: bool) -> tuple[set[str], tuple[TensorInfo, ...]]:
    """Describe the weights that lie in the archive as plain bytes, and name their members."""
    used: set[str] = set()
    infos: list[TensorInfo] = []
    for place, config in (
        ("weights", "model_weights_config.json"),
        ("constants", "model_constants_config.json"),
    ):
        name = f"{folder}data/{place}/{config}"
        if not folder or name not in container.members:
            continue
        used.add(name)
        root = parse(container.read(name, _MAX_GRAPH), "list of weights")
        table = root.get("config") if isinstance(root, dict) else None
        for path, entry in (table if isinstance(table, dict) else {}).items():
            if isinstance(entry, dict) and entry.get("use_pickle") is False:
                member = f"{folder}data/{place}/{entry.get('path_name')}"
                infos.append(_raw_weight(container, path, member, entry.get("tensor_meta"), digests=digests))
                used.add(member)
    return used, tuple(infos)


def _raw_weight(container: Zip, path: str, member: str, meta: object, *, digests: bool) -> TensorInfo:
    lies = Unread(
        f'is an exported program whose weight "{shown(path)}" is not described as it is', kind="pt2"
    )
    if not isinstance(meta, dict) or member not in container.members:
        raise lies
    dtype = _DTYPES.get(meta["dtype"]) if isinstance(meta.get("dtype"), int) else None
    shape, strides = _numbers(meta.get("sizes")), _numbers(meta.get("strides"))
    offset = _numbers([meta.get("storage_offset")])
    held = container.window(member)
    if dtype is None or shape is None or strides is None or offset is None or len(shape) != len(strides):
        raise lies
    item = known.ITEM_BYTES[dtype]
    storage = Storage("0", dtype, held.size // item, "cpu")
    tensor = Tensor(dtype, shape, strides, offset[0], storage)
    part = Checkpoint((), ((path, tensor),), {"0": held}, (), {})
    checkpoints.check_extent(path, tensor, storage, part.storages)
    return part.infos(digests=digests)[0]


def _numbers(items: object) -> tuple[int, ...] | None:
    if not isinstance(items, list) or len(items) > 64:
        return None
    numbers = [item.get("as_int") if isinstance(item, dict) else None for item in items]
    if any(not isinstance(n, int) or isinstance(n, bool) or not 0 <= n < 1 << 50 for n in numbers):
        return None
    return tuple(n for n in numbers if isinstance(n, int))


def _nested(container: Zip, folder: str, used: set[str], findings: list[Finding]) -> Iterator[Checkpoint]:
    """Read every member that torch would unpickle; only what it reads as text or as raw numbers is left out."""
    for name, member in container.members.items():
        if name in used or member.size == 0 or name.endswith("/"):
            continue
        if name.endswith(_NATIVE):
            message = f'holds "{shown(name)}", which is code of the machine'
            findings.append(Finding("danger", "native_code", message))
            continue
        rest = name.removeprefix(folder)
        if rest in _TEXTS or rest.startswith(_TEXT_FOLDERS):
            continue
        inside = container.window(name) if member.stored else memory(container.read(name))
        part = _member(inside, name)
        part.facts["sample"] = "sample_inputs" in name or "example_inputs" in name
        yield part


def _member(inside: Source, name: str) -> Checkpoint:
    try:
        if inside.at(0, min(4, inside.size)) == b"PK\x03\x04":
            return checkpoints.read_zip(Zip(inside))
        return checkpoints.read_legacy(inside) or checkpoints.read_pickle(inside)
    except Unread as unread:
        raise Unread(f'holds a member "{shown(name)}" that {unread.reason}', kind="pt2") from None
