"""Variables of the environment that a program sets for itself, in whatever spelling."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Context
from trainworthy.check.static.values import Const, Ref, Sequence, Value

Set = tuple[str, Value, ast.AST, Context]


def set_variables(analysis: Analysis) -> Iterator[Set]:
    """Yield what is set: its name, value and place; `os.environ[...] = ...`, `setdefault`, `update` and `putenv`."""
    for store in analysis.stores:
        target = store.target
        if isinstance(store.owner, Ref) and store.owner.name == "os.environ" and isinstance(target, ast.Subscript):
            if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
                yield target.slice.value, store.value, store.node, store.context
    for call in analysis.calls("os.environ.setdefault", "os.putenv", "os.environ.__setitem__"):
        name, value = call.constant(0, "key"), call.argument(1, "value")
        if isinstance(name, str) and value is not None:
            yield name, value, call.node, call.context
    for call in analysis.calls("os.environ.update"):
        first = call.args[0] if call.args else None
        entries = first.entries.values if isinstance(first, Sequence) and first.entries is not None else {}
        for key, value in {**entries, **call.keywords}.items():
            if isinstance(key, str):
                yield key, value, call.node, call.context
