"""Which ranks of a virtual cluster can differ from rank 0: by what the source compares, and by what tapes show."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from trainworthy.inspect.collectives import POINT_TO_POINT, calls_of
from trainworthy.tape.record import Tape

MOST_RANKS = 64  # of one rehearsal; a script that tells more ranks apart needs --ranks
_MOST_CLASSES = 8  # ranks of a modulus that are told apart
_MOST_FILE_BYTES = 1 << 20


def first_choice(paths: Sequence[Path], *, world_size: int, gpus_per_node: int) -> list[int]:
    """List ranks to rehearse before any tape is known, rank 0 first.

    Rank 1, the first rank of the second node and the last rank, and the numbers that the source compares a rank with,
    with their neighbours.
    """
    wanted = [0, 1, gpus_per_node, world_size - 1]
    for number in sorted({n for path in paths for n in rank_constants(_read(path))}):
        wanted.append(number)
    return _in_world(wanted, world_size)


def next_choice(tapes: Mapping[int, Tape], *, world_size: int) -> list[int]:
    """List ranks that the tapes at hand point to and that have none yet.

    These are peers of sends and receives (stages of a pipeline), one member and one stranger of each group that the
    world cannot be tiled with, and all ranks if they update different parameters.
    """
    wanted: list[int] = []
    for tape in tapes.values():
        wanted += [
            c.collective.peer for c in calls_of(tape) if c.kind in POINT_TO_POINT and c.collective.peer is not None
        ]
        for group in tape.groups:
            if not _tiles_the_world(group.ranks, world_size):
                strangers = sorted(set(range(world_size)) - set(group.ranks))
                wanted += [*group.ranks[:2], group.ranks[-1], *strangers[:1], *strangers[-1:]]
    unused = {tuple(sorted(str(u["name"]) for u in t.notes.get("unused_parameters") or ())) for t in tapes.values()}
    if len(unused) > 1 and world_size <= MOST_RANKS:
        wanted += range(world_size)  # ranks update different parameters: only all of them tell which nobody updates
    return [rank for rank in _in_world(wanted, world_size) if rank not in tapes]


def _in_world(ranks: Sequence[int], world_size: int) -> list[int]:
    return [rank for rank in dict.fromkeys(ranks) if 0 <= rank < world_size]


def _tiles_the_world(ranks: Sequence[int], world_size: int) -> bool:
    """Whether shifted copies of a group fill the world: evenly spaced, and whole blocks of it.

    >>> _tiles_the_world([0, 1, 2, 3], 8), _tiles_the_world([0, 4], 8), _tiles_the_world([0, 1, 2], 8)
    (True, True, False)
    >>> _tiles_the_world([0, 3], 8), _tiles_the_world([5], 8)
    (False, True)
    """
    strides = {b - a for a, b in pairwise(ranks)}
    if not strides:
        return True
    if len(strides) > 1 or (stride := strides.pop()) < 1:
        return False
    block = stride * len(ranks)
    return world_size % block == 0 and ranks[0] % block < stride


# --- what the source says -----------------------------------------------------------------------------------------


def source_files(target: str, kind: str) -> list[Path]:
    """List the file of a target and the modules of its folder that it imports, directly or not."""
    start = _start(target, kind)
    if start is None:
        return []
    folders = (start.parent, Path.cwd())
    found, todo = {start}, [start]
    while todo:
        for name in _imports(_read(todo.pop())):
            for path in _module_files(name, folders):
                if path not in found:
                    found.add(path)
                    todo.append(path)
    return sorted(found)


def _start(target: str, kind: str) -> Path | None:
    if kind == "script":
        return Path(target)
    name = target.partition(":")[0]
    if name.endswith(".py"):
        return Path(name)
    return next(iter(_module_files(f"{name}.__main__", (Path.cwd(),))), None) or next(
        iter(_module_files(name, (Path.cwd(),))), None
    )


def _module_files(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    parts = name.split(".")
    for folder in folders:
        for end in range(len(parts), 0, -1):
            base = folder.joinpath(*parts[:end])
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path.is_file():
                    yield path


def _read(path: Path) -> ast.AST:
    """Parse a file; one that cannot be read or parsed says nothing."""
    try:
        if path.stat().st_size > _MOST_FILE_BYTES:
            return ast.Module([], [])
        return ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ast.Module([], [])


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if base:
                yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")


def rank_constants(tree: ast.AST) -> set[int]:
    """Collect the numbers that tell ranks apart in a program: ``rank == 3``, ``rank % 2``, ``new_group([0, 1])``.

    >>> sorted(rank_constants(ast.parse("if args.local_rank == 3: pass")))
    [2, 3, 4]
    >>> sorted(rank_constants(ast.parse("if dist.get_rank() % 4 == 1: pass")))
    [0, 1, 2, 3, 4]
    >>> sorted(rank_constants(ast.parse("x = loss < 7")))
    []
    """
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(_names_a_rank(side) for side in sides):
                found |= {n + by for side in sides for n in _numbers(side) for by in (-1, 0, 1)}
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.FloorDiv)) and _names_a_rank(node.left):
            for number in _numbers(node.right):
                is_small = isinstance(node.op, ast.Mod) and 0 < number <= _MOST_CLASSES
                found |= set(range(number + 1)) if is_small else {number - 1, number}
        elif isinstance(node, ast.Call) and _name(node.func).endswith("new_group"):
            for values in (node.args[:1], [k.value for k in node.keywords if k.arg == "ranks"]):
                found |= {n + by for value in values for n in _numbers(value) for by in (0, 1)}
    return {n for n in found if n >= 0}


def _names_a_rank(node: ast.AST) -> bool:
    names = [_name(part).lower() for part in ast.walk(node)]
    return any("rank" in name and "lora" not in name for name in names)


def _name(node: ast.AST) -> str:
    """Return the last part of a name, an attribute or a key, such as ``RANK`` of ``os.environ["RANK"]``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def _numbers(node: ast.AST) -> Iterator[int]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, int) and not isinstance(part.value, bool):
            yield part.value
