"""A tensor is shifted onto itself without a copy.

What it finds:
    `x[:, :-k] = x[:, k:]`: two slices of one tensor that overlap, one written from the other.

Why:
    Torch copies in no particular order: elements may be overwritten before they are read. It raises where it notices,
    which it does not for strided slices; the result then depends on the device and the shape.

How sure:
    Both sides are slices of the same tensor that start or end at different places, and there is no `clone` or
    arithmetic between. Silent for NumPy, which makes a copy where it is needed, and for lists.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Store
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Sequence, Tensor

BAD = """\
import torch

frames = torch.zeros(8, 12, 4)
for step in range(10):
    frames[:, :-3] = frames[:, 3:]  # <- TW542
    frames[:, -3:] = torch.rand(8, 3, 4)
"""

GOOD = """\
import torch

frames = torch.zeros(8, 12, 4)
for step in range(10):
    frames[:, :-3] = frames[:, 3:].clone()
    frames[:, -3:] = torch.rand(8, 3, 4)
    frames[:, 0] = frames[:, 1]
"""


@rule(code="TW542", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at slices assigned to slices."""
    seen = set()
    for store in analysis.stores:
        value = getattr(store.node, "value", None)
        target = store.target
        if not isinstance(target, ast.Subscript) or not isinstance(value, ast.Subscript) or store.node in seen:
            continue
        if unparsed(target.value) != unparsed(value.value) or not _of_torch(analysis, store, value):
            continue
        if _overlap(target.slice, value.slice):
            seen.add(store.node)
            yield Hit(
                place=analysis.place(store.node, store.context),
                message="the slices overlap: elements may be overwritten before they are read",
                fix="Add `.clone()` to the right side, or use `torch.roll`.",
            )


def _of_torch(analysis: Analysis, store: Store, value: ast.Subscript) -> bool:
    """Say whether the object is a tensor, or an attribute of a file that makes tensors and no arrays."""
    if isinstance(store.owner, Tensor):
        return store.owner.library == "torch.Tensor"
    if isinstance(store.owner, Sequence):
        return False
    name = unparsed(value.value)
    made = [
        unparsed(one.node.value)
        for one in analysis.stores
        if unparsed(one.target) == name and isinstance(one.node, ast.Assign) and isinstance(one.node.value, ast.Call)
    ]
    return bool(made) and all(one.startswith("torch.") for one in made)


def _overlap(a: ast.expr, b: ast.expr) -> bool:
    """Say whether two indices differ in one place, where one is ``:-k`` and the other ``k:``."""
    first = a.elts if isinstance(a, ast.Tuple) else [a]
    second = b.elts if isinstance(b, ast.Tuple) else [b]
    if len(first) != len(second):
        return False
    different = [(m, n) for m, n in zip(first, second, strict=True) if unparsed(m) != unparsed(n)]
    if len(different) != 1:
        return False
    m, n = different[0]
    if not (isinstance(m, ast.Slice) and isinstance(n, ast.Slice)) or m.step or n.step:
        return False
    head, tail = (m, n) if m.lower is None else (n, m)
    shifted = head.lower is None and head.upper is not None and tail.lower is not None and tail.upper is None
    return shifted and unparsed(head.upper) in (f"-{unparsed(tail.lower)}", f"-({unparsed(tail.lower)})")  # type: ignore[arg-type]
