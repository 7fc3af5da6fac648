"""How much of a hostile file is looked at before it is refused; one number each, with its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_OPCODES: Final = 2_000_000
"""A voice with its optimiser has about 200,000."""

MAX_LITERAL: Final = MIB
"""A longer string or bytes object is measured and skipped; it is array data, not a name."""

MAX_LITERALS_TOTAL: Final = 64 * MIB
"""All strings that are kept while one pickle is walked."""

MAX_KEY_BITS: Final = 60
"""Greater integers as keys can be made to collide, which costs quadratic time."""

MAX_MARKS: Final = 4_096
"""Open marks; each costs a list, and CPython's own writer stops near 1,000 levels."""

MAX_TREE: Final = 1_000_000
"""Nodes looked at when tensors are named; shared parts are looked at once for each place."""

MAX_NAME: Final = 1_000
"""Letters of an imported name."""

MAX_KEY: Final = 4_096
"""Letters of a dictionary key, which is compared again and again."""

MAX_WORK: Final = 20_000_000
"""Items that builders may be given in one pickle; the same list can be given to each of a million calls."""

MAX_TENSORS: Final = 100_000
MAX_DIMS: Final = 64
MAX_ELEMENTS: Final = 1 << 50

MAX_MEMBERS: Final = 100_000
MAX_MEMBER_NAME: Final = 1024
MAX_DIRECTORY: Final = 32 * MIB
MAX_TEXT_MEMBER: Final = 64 * MIB
"""Pickles, code and JSON inside a container."""

MAX_INFLATED: Final = 256 * MIB
"""All compressed members of one container together; torch stores weights uncompressed."""

MAX_RATIO: Final = 400
"""Uncompressed to compressed size of one member above one MiB; source code compresses about ten-fold."""

MAX_HEADER: Final = 8 * MIB
"""JSON header of a safetensors file."""

MAX_NODES: Final = 2_000_000
"""Fields of a protobuf file; nodes of a JSON tree."""

MAX_DEPTH: Final = 64
"""Nesting of graphs, containers and JSON."""

MAX_LOCKFILE: Final = 8 * MIB
MAX_CHUNK: Final = MIB
"""Bytes read at once."""
