"""Which keywords a function of the project knows: by its parameters, and by what it takes out of its ``**kwargs``."""

from __future__ import annotations

import ast

from trainworthy.check.static.tree import nodes_of, walk
from trainworthy.check.static.values import Function

_BY_KEY = frozenset({"get", "pop", "setdefault"})


def known_keywords(function: Function) -> frozenset[str] | None:
    """Return the keywords that a function with ``**kwargs`` looks at.

    None if it has none, or does anything else with them than to ask for certain ones: hand them on, go through them.
    """
    node = function.node
    if isinstance(node, ast.Lambda) or node.args.kwarg is None:
        return None
    rest = node.args.kwarg.arg
    parents = {child: one for one in walk(node) for child in ast.iter_child_nodes(one)}
    keys = [_key(name, parents) for name in nodes_of(node, ast.Name) if name.id == rest]
    if None in keys:
        return None
    named = [one.arg for one in (*node.args.args, *node.args.kwonlyargs)]
    return frozenset((*named, *(key for key in keys if key is not None)))


def _key(name: ast.Name, parents: dict[ast.AST, ast.AST]) -> str | None:
    """Return the key that is asked for where ``**kwargs`` is named; None for another use."""
    parent = parents.get(name)
    asked: ast.AST | None = None
    if isinstance(parent, ast.Subscript) and parent.value is name:
        asked = parent.slice
    elif isinstance(parent, ast.Compare) and len(parent.ops) == 1 and isinstance(parent.ops[0], ast.In | ast.NotIn):
        asked = parent.left if parent.comparators[0] is name else None
    elif isinstance(parent, ast.Attribute) and parent.attr in _BY_KEY:
        call = parents.get(parent)
        asked = call.args[0] if isinstance(call, ast.Call) and call.func is parent and call.args else None
    return asked.value if isinstance(asked, ast.Constant) and isinstance(asked.value, str) else None


def is_slip(written: str, meant: str) -> bool:
    """Say whether a name is another one mistyped: a letter too many, too few, wrong, or two of them in turn.

    Names of which one has a number or a short word where the other has another are pairs: ``x_dim`` and ``y_dim``.

    >>> [is_slip("sampleer", "sampler"), is_slip("batchsize", "batch_size"), is_slip("x_dim", "y_dim")]
    [True, True, False]
    >>> [is_slip("conv1", "conv2"), is_slip("dropuot", "dropout"), is_slip("in_features", "out_features")]
    [False, True, False]
    """
    if written.replace("_", "").lower() == meant.replace("_", "").lower():
        return True
    words, others = written.split("_"), meant.split("_")
    if len(words) != len(others):
        return False
    differing = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]]
    return len(differing) == 1 and min(map(len, differing[0])) >= 4 and _differ_by_one(*differing[0])


def _differ_by_one(a: str, b: str) -> bool:
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    if any(one.isdigit() for one in a[:1] + b[:1]):
        return False
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
