"""Where a program turns gradients off, as far as names tell: in functions, and in what is called from there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.facts import Context
from trainworthy.check.static.source import Source, UnreadableError, kept_with_source, read_source
from trainworthy.check.static.tree import nodes_of, unparsed, walk

CONTEXTS = ("torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled")
_OFF = re.compile(r"no_?grad|inference_?mode|set_grad_enabled|grad_mode|evaluating|eval_?mode", re.IGNORECASE)
# Methods that ask for no gradients of a whole network, and switches that stay.
_FROZEN = re.compile(
    r"\brequires_grad_\s*\(\s*(False|requires_grad\s*=\s*False)|\.requires_grad\s*=\s*False|set_requires_grad"
)
_HARMLESS = frozenset({"staticmethod", "classmethod", "property", "torch_distributed_zero_first", "override"})
_Body = ast.FunctionDef | ast.AsyncFunctionDef


class GradientsOff:
    """Answers for one file and what it imports of the project."""

    def __init__(self, analysis: Analysis) -> None:
        self.freezes = bool(_FROZEN.search(analysis.source.code))
        self.everywhere = _switched_for_good(analysis.source.tree)
        speaking = [one for one in analysis.sources if one is analysis.source or _speaks_of_it(one)]
        known = [_known(one) for one in speaking]
        self._names = {name for called, _, _ in known for name in called}  # a function that is quiet itself tells so
        self._decorators = {name for one in speaking for name in _quiet_decorators(one)}
        quiet = {name for _, quiet, _ in known for name in quiet}
        self._spread(quiet, {node.name: node for _, _, functions in known for node in functions})

    def _spread(self, quiet: set[str], left: dict[str, _Body]) -> None:
        """Add what quiet functions call."""
        while True:
            reached = [left.pop(name) for name in list(left) if name in quiet or name in self._names]
            if not reached:
                return
            for node in reached:
                self._names |= _called_in(node)

    def around(self, context: Context) -> bool:
        """Say whether gradients may be off at a place: a context is open, or its function is called from such a one."""
        if self.everywhere or context.under(*CONTEXTS) or any(_OFF.search(one.name) for one in context.withs):
            return True
        outermost = context.callers[0].context.function if context.callers else context.function
        frames = [one for one in (context.function, *(c.context.function for c in context.callers)) if one is not None]
        if any(self._is_decorated(one.node) for one in frames):
            return True
        if outermost is None:
            return False  # the whole way here is known
        if any(one.name in self._names or _is_quiet(one.node) for one in frames):
            return True
        return _only_called_quietly(outermost.source.path, outermost.name)

    def _is_decorated(self, node: ast.AST) -> bool:
        """Say whether a decorator turns gradients off, by its name or as the project writes it."""
        names = [last_name(getattr(one, "func", one)) for one in getattr(node, "decorator_list", ())]
        return any(one in self._decorators or _OFF.search(one) for one in names)


@lru_cache(maxsize=512)
def _only_called_quietly(path: str, name: str) -> bool:
    """Say whether other files of the project import a function, and none calls it with gradients on."""
    imports = re.compile(rf"^\s*(from|import)\b.*\b{re.escape(Path(path).stem)}\b", re.MULTILINE)
    found = False
    for file in project_files(path) or ():
        text = text_of(file)
        if name not in text or not imports.search(text) or Path(file).samefile(path):
            continue
        try:
            tree = read_source(file).tree
        except UnreadableError:
            return False
        if any(isinstance(node, _Body) and node.name == name for node in walk(tree)):
            return False  # it has one of its own, and which is called is not clear
        calls = _calls_of(tree, name)
        quiet = [node for node in walk(tree) if _is_quiet(node)]
        found = found or bool(calls)
        if calls - {one for block in (*_quiet_blocks(tree), *quiet) for one in _calls_of(block, name)}:
            return False
    return found


def _calls_of(node: ast.AST, name: str) -> set[ast.AST]:
    return {one for one in nodes_of(node, ast.Call) if last_name(one.func) == name}


@kept_with_source
def _quiet_decorators(source: Source) -> frozenset[str]:
    """Name the functions of a file that would turn gradients off if they were decorators: such a block is in them."""
    return frozenset(one.name for one in _known(source)[2] if next(_quiet_blocks(one), None) is not None)


@kept_with_source
def _known(source: Source) -> tuple[frozenset[str], frozenset[str], tuple[_Body, ...]]:
    """Return the names that a file calls where gradients are off, its functions that turn them off, and all."""
    functions = tuple(node for node in walk(source.tree) if isinstance(node, _Body))
    called = {name for block in _quiet_blocks(source.tree) for name in _called_in(block)}
    return frozenset(called), frozenset(node.name for node in functions if _is_quiet(node)), functions


@kept_with_source
def _speaks_of_it(source: Source) -> bool:
    return _OFF.search(source.text) is not None


def _is_quiet(node: ast.AST) -> bool:
    """Say whether a function is decorated, or begins, with something that may turn gradients off."""
    if not isinstance(node, _Body):
        return False
    for one in node.decorator_list:
        if _OFF.search(unparsed(one)):
            return True
        if last_name(getattr(one, "func", one)) not in _HARMLESS:
            return True
    return _switched_for_good(node)


def _switched_for_good(node: ast.AST) -> bool:
    """Say whether gradients are turned off by a call that stands alone."""
    return any(
        isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) and _OFF.search(last_name(one.value.func))
        for one in walk(node)
    )


def _quiet_blocks(tree: ast.AST) -> Iterator[ast.AST]:
    for node in walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith) and any(
            _OFF.search(unparsed(item.context_expr)) for item in node.items
        ):
            yield node


@lru_cache(maxsize=1024)
def _called_in(node: ast.AST) -> frozenset[str]:
    """Return the last names of everything that is called, or handed on as a function, below a node."""
    calls = nodes_of(node, ast.Call)
    return frozenset(last_name(one) for call in calls for one in (call.func, *call.args))
