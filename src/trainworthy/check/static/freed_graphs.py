"""Backward passes through a graph that another has freed: both reach the output of one call of a network."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.backward_losses import loss_of_backward
from trainworthy.check.static.external import is_loss_module, is_module
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Instance

# Switches that may leave a network without a graph, and contexts.
_SWITCHES = re.compile(r"\.requires_grad\s*=|requires_grad_\(|set_requires_grad|toggle|set_grad_enabled|retain_graph")
_OFF = re.compile(r"no_grad|inference_mode")
_CUTS = re.compile(r"detach|no_grad|inference_mode|\.data\b|checkpoint")
_NO_TENSOR = frozenset(
    {"item", "detach", "data", "numpy", "tolist", "size", "shape", "device", "dtype", "dim", "argmax"}
)
_Bodies = ast.Module | ast.FunctionDef | ast.For | ast.While


class Freed(NamedTuple):
    """A backward pass through a graph that is no longer there, the first, and the call of the network in both."""

    backward: ast.Call
    first: ast.Call
    network: ast.Call


def freed_graphs(analysis: Analysis) -> Iterator[Freed]:
    """Yield backward passes that find the graph freed, in blocks whose statements run one after the other."""
    if "backward" not in analysis.source.words or _SWITCHES.search(analysis.source.code):
        return
    trained = _optimised(analysis)
    done: set[ast.AST] = set()
    kinds = (ast.Module, ast.FunctionDef, ast.For, ast.While)
    for block in (one for kind in kinds for one in analysis.nodes.get(kind, ())):
        if trained and isinstance(block, _Bodies):
            for one in _Block(analysis, trained).run(block.body):
                if one.backward not in done:
                    done.add(one.backward)
                    yield one


def _optimised(analysis: Analysis) -> set[str]:
    """Return what an optimizer is given the parameters of, as it is written."""
    return {
        unparsed(one.func.value)
        for call in analysis.all_calls
        if call.name.startswith("torch.optim.") and call.context.source is analysis.source
        for one in nodes_of(call.node, ast.Call)
        if isinstance(one.func, ast.Attribute) and one.func.attr == "parameters"
    }


class _Block:
    """What is known of variables after some statements: which calls of networks they hold the graphs of."""

    def __init__(self, analysis: Analysis, trained: set[str]) -> None:
        self._analysis, self._trained = analysis, trained
        self._graphs: dict[str, frozenset[ast.Call]] = {}
        self._freed: dict[ast.Call, ast.Call] = {}

    def run(self, statements: Sequence[ast.stmt]) -> Iterator[Freed]:
        """Go through statements that run one after the other."""
        for one in statements:
            if isinstance(one, ast.If):
                yield from self._branch(one)
            elif isinstance(one, ast.With):
                if any(_OFF.search(unparsed(item.context_expr)) for item in one.items):
                    self._forget(one)
                else:
                    yield from self.run(one.body)
            elif isinstance(one, ast.Assign):
                graphs = self._of(one.value)
                for target in one.targets:
                    for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                        self._graphs[unparsed(name)] = graphs
            elif isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
                yield from self._backward(one.value)
            else:
                self._forget(one)

    def _branch(self, node: ast.If) -> Iterator[Freed]:
        for body in (node.body, node.orelse):
            other = _Block(self._analysis, self._trained)
            other._graphs, other._freed = dict(self._graphs), dict(self._freed)
            yield from other.run(body)
        self._forget(node)

    def _forget(self, node: ast.AST) -> None:
        """Know no more of what a statement may bind."""
        for one in walk(node):
            if isinstance(one, ast.Name | ast.Attribute) and isinstance(one.ctx, ast.Store):
                self._graphs.pop(unparsed(one), None)

    def _backward(self, call: ast.Call) -> Iterator[Freed]:
        name = loss_of_backward(call)
        graphs = self._graphs.get(name, frozenset()) if name else self._of_receiver(call)
        for one in sorted(graphs, key=lambda each: each.lineno):
            if one in self._freed:
                yield Freed(call, self._freed[one], one)
                break
        for one in graphs:
            self._freed.setdefault(one, call)

    def _of_receiver(self, call: ast.Call) -> frozenset[ast.Call]:
        func = call.func
        is_backward = isinstance(func, ast.Attribute) and func.attr == "backward" and not call.args
        return self._of(func.value) if is_backward and isinstance(func, ast.Attribute) else frozenset()

    def _of(self, node: ast.expr) -> frozenset[ast.Call]:
        """Return the calls of networks whose graphs an expression surely holds."""
        if isinstance(node, ast.Name):
            return self._graphs.get(node.id, frozenset())
        if isinstance(node, ast.Attribute):
            return frozenset() if node.attr in _NO_TENSOR else self._graphs.get(unparsed(node), frozenset())
        if isinstance(node, ast.BinOp):
            return self._of(node.left) | self._of(node.right)
        if isinstance(node, ast.UnaryOp):
            return self._of(node.operand)
        if isinstance(node, ast.Subscript):
            return self._of(node.value)
        return self._of_call(node) if isinstance(node, ast.Call) else frozenset()

    def _of_call(self, node: ast.Call) -> frozenset[ast.Call]:
        if last_name(node.func) in _NO_TENSOR or _OFF.search(last_name(node.func)):
            return frozenset()
        given = [*node.args, *(one.value for one in node.keywords)]
        within = frozenset(each for one in given for each in self._of(one))
        call = self._analysis.call_at.get(node)
        owner = call.owner if call is not None else None
        if isinstance(owner, Instance) and is_module(owner) and call is not None and call.name.endswith("__call__"):
            if is_loss_module(owner):
                return within
            cls = owner.cls
            if cls is None or any(_CUTS.search(one.source.segment(one.node)) for one in cls.order()):
                return frozenset()
            return within | ({node} if unparsed(node.func) in self._trained else frozenset())
        if call is not None and call.name.startswith("torch."):
            return within | (self._of(node.func.value) if isinstance(node.func, ast.Attribute) else frozenset())
        method = isinstance(node.func, ast.Attribute) and last_name(node.func) in _TENSOR_METHODS
        return within | self._of(node.func.value) if method and isinstance(node.func, ast.Attribute) else frozenset()


_TENSOR_METHODS = frozenset(
    "mean sum view reshape squeeze unsqueeze pow exp log abs clamp sigmoid float to cuda flatten".split()
)
