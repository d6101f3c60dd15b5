"""`args` of a process is a value in parentheses, not a tuple.

What it finds:
    `mp.spawn(main, args=(world_size))` and `Process(target=..., args=(x))`, also of a context from `get_context`;
    `apply_async(f, (x))` of a pool, and the `initargs` of one.

Why:
    Parentheses alone make no tuple; the child fails with a TypeError about an argument after `*`.

How sure:
    The argument is written in parentheses and is a single name, number, attribute or call.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Const, Sequence, Value

BAD = """\
import torch.multiprocessing as mp


def main(rank, world_size):
    print(rank, world_size)


if __name__ == "__main__":
    world_size = 2
    mp.spawn(main, args=(world_size), nprocs=world_size)  # <- TW417
"""

GOOD = """\
import torch.multiprocessing as mp


def main(rank, world_size):
    print(rank, world_size)


if __name__ == "__main__":
    world_size = 2
    mp.spawn(main, args=(world_size,), nprocs=world_size)
"""


_STARTERS = (
    "torch.multiprocessing.spawn", "torch.multiprocessing.Process", "multiprocessing.Process", "threading.Thread",
    "torch.multiprocessing.start_processes", "threading.Timer", "torch.multiprocessing.Pool", "multiprocessing.Pool",
    "concurrent.futures.ProcessPoolExecutor", "concurrent.futures.ThreadPoolExecutor",
)  # fmt: skip
_OF_CONTEXTS = ("Process", "Pool", "apply_async")  # methods of what `get_context` and `Pool` return


@rule(code="TW417", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the argument's text."""
    for call in once_per_place(chain(analysis.calls(*_STARTERS), _of_contexts(analysis))):
        name, at = _where(call)
        node, value = call.argument_node(at, name), call.argument(at, name)
        tuples = isinstance(value, Sequence) and value.kind != "dict"
        if node is None or tuples or not _single(call, node, value):
            continue
        place = analysis.place(node, call.context)
        text = analysis.segment(node, call.context)
        yield Hit(
            place=place,
            message=f"`({text})` is no tuple",
            fix=f"Write `({text},)`.",
            edits=(Edit(place, f"{text},"),),
        )


def _of_contexts(analysis: Analysis) -> Iterator[Call]:
    """Yield what is started by methods of a context or a pool of processes."""
    if "multiprocessing" in analysis.source.words:
        for call in analysis.method_calls(*_OF_CONTEXTS):
            if call.name not in _STARTERS and call.function is None and isinstance(call.node.func, ast.Attribute):
                yield call


def _where(call: Call) -> tuple[str, int | None]:
    """Return the name and place of the argument that must be a tuple."""
    if call.method in ("Pool", "ProcessPoolExecutor", "ThreadPoolExecutor"):
        return "initargs", None
    return "args", 1 if call.method in ("spawn", "start_processes", "apply_async") else None


def _single(call: Call, node: ast.expr, value: Value | None) -> bool:
    if not isinstance(node, ast.Name | ast.Constant | ast.Attribute):
        return False
    number = isinstance(value, Const) and value.value is not None
    return _in_parentheses(call, node) or (number and call.method not in _OF_CONTEXTS)


def _in_parentheses(call: Call, node: ast.expr) -> bool:
    """Say whether an argument stands in parentheses of its own, be they on other lines."""
    lines = call.context.source.lines
    first, last = call.node.lineno - 1, call.node.end_lineno or call.node.lineno
    if not all(line.isascii() for line in lines[first:last]):
        return False
    before = "".join([*lines[first : node.lineno - 1], lines[node.lineno - 1][: node.col_offset]]).rstrip()
    end = (node.end_lineno or node.lineno) - 1
    after = "\n".join([lines[end][node.end_col_offset or 0 :], *lines[end + 1 : last]])
    return re.search(r"[=,]\s*\($", before) is not None and re.match(r"(\s|#.*\n)*\)", after) is not None
