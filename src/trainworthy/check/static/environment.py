"""Variables of the environment that a program sets for itself, in whatever spelling."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Context
from trainworthy.check.static.values import Ref, Sequence, Value

Set = tuple[str, Value, ast.AST, Context]


def set_variables(analysis: Analysis) -> Iterator[Set]:
    """Yield what is set: its name, value and place; `os.environ[...] = ...`, `setdefault`, `update` and `putenv`."""
    for store in analysis.stores:
        target = store.target
        key = target.slice if isinstance(target, ast.Subscript) else None
        of_environment = isinstance(store.owner, Ref) and store.owner.name == "os.environ"
        if of_environment and isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, store.value, store.node, store.context
    for call in analysis.calls("os.environ.setdefault", "os.putenv", "os.environ.__setitem__"):
        name, value = call.constant(0, "key"), call.argument(1, "value")
        if isinstance(name, str) and value is not None:
            yield name, value, call.node, call.context
    for call in analysis.calls("os.environ.update"):
        first = call.args[0] if call.args else None
        entries = first.entries.values if isinstance(first, Sequence) and first.entries is not None else {}
        for entry, given in (*entries.items(), *call.keywords.items()):
            if isinstance(entry, str):
                yield entry, given, call.node, call.context
