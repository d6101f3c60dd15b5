"""What a file calls the libraries that it imports."""

from __future__ import annotations

import ast

from trainworthy.check.static.source import Source, kept_with_source
from trainworthy.check.static.tree import nodes_of, unparsed


@kept_with_source
def libraries(source: Source) -> dict[str, str]:
    """Return the modules of torch and NumPy that a file imports, by what they are called there.

    >>> from trainworthy.check.static.source import parse_source
    >>> libraries(parse_source("x.py", "import torch as th, numpy as np; from torch import nn"))
    {'th': 'torch', 'np': 'numpy', 'nn': 'torch.nn'}
    """
    found: dict[str, str] = {}
    for plain in nodes_of(source.tree, ast.Import):
        for one in plain.names:
            if one.name.partition(".")[0] in ("torch", "numpy"):
                found[one.asname or one.name.partition(".")[0]] = one.name if one.asname else one.name.split(".")[0]
    for node in nodes_of(source.tree, ast.ImportFrom):
        if node.module in ("torch", "torch.nn"):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names if one.name in _MODULES}
    return found


_MODULES = frozenset({"nn", "functional", "optim"})
_USUAL = frozenset({"torch", "th", "pt", "T", "nn", "F", "np", "numpy", "jnp", "math"})


def is_usual_name(node: ast.expr) -> bool:
    """Say whether an expression is a library by the name that everybody gives it, or a part of one.

    For where a tree is all there is; with the file at hand, ``library_of`` knows.
    """
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in _USUAL


def library_of(source: Source, node: ast.expr) -> str:
    """Return the module that an expression names, as `torch` or `torch.nn`; "" if it names none."""
    if isinstance(node, ast.Name):
        return libraries(source).get(node.id, "")
    if isinstance(node, ast.Attribute):
        outer = library_of(source, node.value)
        return f"{outer}.{node.attr}" if outer and node.attr in (*_MODULES, "init") else ""
    return ""


def is_called(source: Source, call: ast.Call, library: str, name: str) -> bool:
    """Say whether a call is one of a library's function, written with the library's name."""
    func = call.func
    return isinstance(func, ast.Attribute) and func.attr == name and library_of(source, func.value) == library


@kept_with_source
def _imported(source: Source) -> dict[str, str]:
    """Return what a file imports by name from torch, in full.

    >>> from trainworthy.check.static.source import parse_source
    >>> _imported(parse_source("x.py", "from torch.nn import Linear as L"))
    {'L': 'torch.nn.Linear'}
    """
    return {
        one.asname or one.name: f"{node.module}.{one.name}"
        for node in nodes_of(source.tree, ast.ImportFrom)
        if not node.level and (node.module or "").partition(".")[0] == "torch"
        for one in node.names
    }


def full_name(source: Source, func: ast.expr) -> str:
    """Write what is called with the name of its library in full: ``numpy.random.rand`` for ``np.random.rand``."""
    first, dot, rest = unparsed(func).partition(".")
    full = libraries(source).get(first) or _imported(source).get(first, first)
    return f"{full}{dot}{rest}"
