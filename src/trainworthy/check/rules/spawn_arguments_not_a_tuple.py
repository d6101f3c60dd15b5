"""`args` of a process is a value in parentheses, not a tuple.

What it finds:
    `mp.spawn(main, args=(world_size))` and `Process(target=..., args=(x))`.

Why:
    Parentheses alone make no tuple; the child fails with a TypeError about an argument after `*`.

How sure:
    The argument is written in parentheses and is a single name, number, attribute or call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Const, Sequence

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
    "torch.multiprocessing.start_processes",
)  # fmt: skip


@rule(code="TW417", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the argument's text."""
    for call in once_per_place(analysis.calls(*_STARTERS)):
        node = call.argument_node(1 if call.name.endswith("spawn") else None, "args")
        if node is None or isinstance(call.argument(1, "args"), Sequence) or not _single(call, node):
            continue
        place = analysis.place(node, call.context)
        text = analysis.segment(node, call.context)
        yield Hit(
            place=place,
            message=f"`({text})` is no tuple",
            fix=f"Write `({text},)`.",
            edits=(Edit(place, f"{text},"),),
        )


def _single(call: Call, node: ast.expr) -> bool:
    if not isinstance(node, ast.Name | ast.Constant | ast.Attribute):
        return False
    value = call.argument(1 if call.name.endswith("spawn") else None, "args")
    number = isinstance(value, Const) and value.value is not None
    lines = call.context.source.lines
    line, start, end = lines[node.lineno - 1], node.col_offset, node.end_col_offset or 0
    if node.lineno != node.end_lineno or not line.isascii():
        return number
    return line[:start].rstrip().endswith("=(") and line[end:].lstrip().startswith(")")
