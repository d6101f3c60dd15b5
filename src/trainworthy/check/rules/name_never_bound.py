"""A function reads a name that nothing binds, or that it binds only further down.

What it finds:
    A name in a function that is no parameter, is bound neither in the function nor at the top of the file, and is not
    built in; and a local name that is read on a way on which no line before has bound it.

Why:
    NameError or UnboundLocalError where the line is reached: in validation, in the last epoch, with another option.

How sure:
    Certain, as far as the file tells. Silent for files that import with `*` or make names by `exec` or `globals()`,
    and for methods that a notebook shows without their class.
"""

from __future__ import annotations

import ast
import builtins
import re
from bisect import bisect_right
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk
from trainworthy.check.static.unbound import parameters_of, read_too_early

BAD = """\
import torch


class Encoder(torch.nn.Module):
    def forward(self, x, mask):
        if self.training:
            loss = torch.zeros(1, device=out.device)  # <- TW831
        else:
            loss = None
        out = x.masked_fill(~chunk_mask, 0.0)  # <- TW831
        return out, loss
"""

GOOD = """\
import torch


class Encoder(torch.nn.Module):
    def forward(self, x, mask):
        if self.training:
            loss = torch.zeros(1, device=x.device)
        else:
            loss = None
        out = x.masked_fill(~mask, 0.0)
        return out, loss
"""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_KNOWN = frozenset(dir(builtins)) | frozenset(
    "__file__ __name__ __doc__ __path__ __spec__ __class__ __builtins__ WindowsError unicode xrange raw_input long "
    "basestring unichr reduce file cmp profile reveal_type get_ipython display".split()
)
_NAMED_BY = ("asname", "name", "arg", "rest")
_MAKES_NAMES = frozenset({"exec", "globals", "execfile"})


@rule(code="TW831", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the functions of a file."""
    source = analysis.source
    if not source.words & {"torch", "numpy"} or source.words & _MAKES_NAMES:
        return
    if any(one.name == "*" for one in analysis.nodes.get(ast.alias, []) if isinstance(one, ast.alias)):
        return
    scopes = _Scopes(analysis)
    for at, function in enumerate(scopes.functions):
        if _is_shown(analysis, function):
            continue
        names = scopes.loads.get(at, {})
        visible = scopes.visible(at)
        unknown = [node for name, node in names.items() if not any(name in some for some in visible)]
        elsewhere = frozenset(re.findall(r"\w+", source.left_out)) if unknown else frozenset[str]()
        unknown = [node for node in unknown if node.id not in elsewhere]  # a cell that does not parse may bind it
        yield from _unknown(analysis, function, unknown)
        early = {name for name, node in names.items() if node.lineno < scopes.first_store.get((at, name), 0)}
        if early - parameters_of(function):
            yield from _early(analysis, function)


class _Scopes:
    """Which names the functions of a file read and bind; scopes are told by lines."""

    def __init__(self, analysis: Analysis) -> None:
        nodes = [*analysis.nodes.get(ast.FunctionDef, []), *analysis.nodes.get(ast.AsyncFunctionDef, [])]
        self.functions = sorted((one for one in nodes if isinstance(one, _Function)), key=lambda one: one.lineno)
        self._starts = [one.lineno for one in self.functions]
        self._outer: list[int] = []
        for at, one in enumerate(self.functions):
            self._outer.append(self._around(at - 1, one.lineno))
        self.loads: dict[int, dict[str, ast.Name]] = {}
        self.first_store: dict[tuple[int, str], int] = {}
        self._bound: dict[int, set[str]] = {-1: set(_KNOWN)}
        self._of_comprehensions = {id(inner) for one in analysis.nodes.get(ast.comprehension, [])
                                   if isinstance(one, ast.comprehension) for inner in walk(one.target)}  # fmt: skip
        augmented = {id(one.target) for one in analysis.nodes.get(ast.AugAssign, []) if isinstance(one, ast.AugAssign)}
        easy = _KNOWN | _at_top(analysis.source.tree) | {"self", "cls"}  # most of what is read, and no local name
        names = [one for one in analysis.nodes.get(ast.Name, []) if isinstance(one, ast.Name)]
        easy -= {one.id for one in names if not isinstance(one.ctx, ast.Load)}
        for node in names:
            if node.id not in easy:
                self._add(node, id(node) in augmented)
        for line, name in _other_bindings(analysis):
            self._bound.setdefault(self._at(line), set()).add(name)
        members = {one for cls in analysis.nodes.get(ast.ClassDef, []) for one in getattr(cls, "body", [])}
        for at, function in enumerate(self.functions):
            if function not in members or self._outer[at] >= 0:  # a class in a function reads its members by name
                self._bound.setdefault(self._outer[at], set()).add(function.name)
        self._bound[-1] |= {name for one in analysis.nodes.get(ast.Global, []) for name in getattr(one, "names", [])}

    def visible(self, at: int) -> list[set[str]]:
        """Return what a function can read: its own names, those of functions around it, and the file's."""
        names = []
        while at >= 0:
            names.append(self._bound.get(at, set()))
            at = self._outer[at]
        return [*names, self._bound[-1]]

    def _add(self, node: ast.Name, is_changed: bool) -> None:
        at = self._at(node.lineno)
        if isinstance(node.ctx, ast.Load) or is_changed:
            known = self.loads.setdefault(at, {})
            if node.id not in known or node.lineno < known[node.id].lineno:
                known[node.id] = node
        if not isinstance(node.ctx, ast.Load):
            self._bound.setdefault(at, set()).add(node.id)
            if id(node) in self._of_comprehensions:  # bound after it is read, as it is written
                return
            if is_changed and (at, node.id) not in self.first_store:
                self.first_store[at, node.id] = node.lineno + 1
            elif not is_changed:
                self.first_store[at, node.id] = min(node.lineno, self.first_store.get((at, node.id), node.lineno))

    def _at(self, line: int) -> int:
        """Return the innermost function that a line stands in; -1 if there is none."""
        return self._around(bisect_right(self._starts, line) - 1, line)

    def _around(self, at: int, line: int) -> int:
        while at >= 0 and line > (self.functions[at].end_lineno or 0):
            at = self._outer[at]
        return at


def _at_top(tree: ast.Module) -> set[str]:
    """Return what definitions and imports at the top of a file bind."""
    found = {one.name for one in tree.body if isinstance(one, _Function | ast.ClassDef)}
    for one in tree.body:
        if isinstance(one, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in one.names}
    return found


def _other_bindings(analysis: Analysis) -> Iterator[tuple[int, str]]:
    """Yield what classes, imports, parameters and handlers bind."""
    for kind in (ast.ClassDef, ast.arg, ast.alias, ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping):
        for node in analysis.nodes.get(kind, []):
            name = next((one for key in _NAMED_BY if (one := getattr(node, key, None))), None)
            if isinstance(name, str):
                yield getattr(node, "lineno", 1), name.partition(".")[0]


def _unknown(analysis: Analysis, function: _Function, nodes: list[ast.Name]) -> Iterator[Hit]:
    """Yield names that nothing binds, those in the function's header and such that are tried left out."""
    if not nodes:
        return
    header = {one for part in (function.args, function.returns) if part is not None for one in walk(part)}
    tried = any(isinstance(one, ast.Name) and one.id == "NameError" for one in walk(function))
    annotations = {inner for one in walk(function) for part in (getattr(one, "annotation", None),)
                   if isinstance(part, ast.AST) for inner in walk(part)}  # fmt: skip
    for node in nodes:
        if node not in header and node not in annotations and not tried:
            yield Hit(
                place=analysis.place(node),
                message=f"nothing binds `{node.id}`",
                fix="Import it, or write the name that is meant.",
            )


def _is_shown(analysis: Analysis, function: _Function) -> bool:
    """Say whether a notebook shows a method without the class that it is of."""
    first = function.args.args[0].arg if function.args.args else ""
    return first == "self" and analysis.source.path.endswith(".ipynb") and function in analysis.source.tree.body


def _early(analysis: Analysis, function: _Function) -> Iterator[Hit]:
    """Yield reads of local names that nothing on the way has bound."""
    for node in {(one.id, one.lineno): one for one in read_too_early(function)}.values():
        yield Hit(
            place=analysis.place(node),
            message=f"`{node.id}` is read here and bound only further down",
            fix="Bind it first, or write the name that is meant.",
        )
