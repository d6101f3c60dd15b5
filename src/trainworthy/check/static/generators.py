"""Generators of parameters that a function keeps under a name, and what uses them up, by its tree alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.bindings import Bindings, bindings_of
from trainworthy.check.static.tree import walk

_MAKE = frozenset({"parameters", "named_parameters"})
_LAZY = frozenset({"filter", "map", "chain", "islice", "enumerate", "zip", "iter", "from_iterable"})
_EXHAUST = frozenset({"list", "tuple", "set", "sorted", "sum", "dict", "OrderedDict", "ParameterList", "stack", "cat"})
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
_CLIP = frozenset({"clip_grad_norm_", "clip_grad_norm", "clip_grad_value_", "clip_grad_value"})
_OPTIMIZER = frozenset(
    "SGD Adam AdamW NAdam RAdam Adamax Adagrad Adadelta RMSprop Rprop ASGD LBFGS Adam8bit AdamW8bit FusedAdam "
    "DeepSpeedCPUAdam Lion Adafactor LAMB Lamb Muon".split()
)


def is_generator(node: ast.expr, names: Bindings, depth: int = 4) -> bool:
    """Say whether an expression is a generator over the parameters of something, and no list of them."""
    if not depth:
        return False
    if isinstance(node, ast.Name):
        given = names.value_before(node)
        return given is not None and is_generator(given, names, depth - 1)
    if isinstance(node, ast.GeneratorExp):
        return any(is_generator(one.iter, names, depth - 1) for one in node.generators[:1])
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in _MAKE:
        return all(one.arg in ("recurse", "prefix", "remove_duplicate") for one in node.keywords) and not node.args
    return last_name(node.func) in _LAZY and any(is_generator(one, names, depth - 1) for one in node.args)


def uses_up(read: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> ast.AST | None:
    """Return what takes all that a name yields, where it is read: a loop, or a call that goes to its end at once."""
    node: ast.AST = read
    parent = parents.get(node)
    if isinstance(parent, ast.keyword) and parent.arg in ("params", "parameters"):
        parent = parents.get(parent)
    elif isinstance(parent, ast.Dict):
        return _takes_groups(parent, read, parents)
    elif isinstance(parent, ast.Starred):
        return parents.get(parent) if isinstance(parents.get(parent), ast.List | ast.Tuple | ast.Set) else None
    while isinstance(parent, ast.Call) and node in parent.args and last_name(parent.func) in _LAZY:
        node, parent = parent, parents.get(parent)
    if isinstance(parent, ast.For | ast.comprehension):
        return parent if parent.iter is node and _goes_on(parent, parents) else None
    if isinstance(parent, ast.Call) and parent.func is not node:
        name = last_name(parent.func)
        takes_first = name in _CLIP | _OPTIMIZER and (parent.args[:1] == [node] or node is read)
        return parent if name in _EXHAUST or takes_first else None
    return None


def _takes_groups(group: ast.Dict, read: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> ast.AST | None:
    """Return the optimizer that takes a group of parameters where it is written: ``Adam([{"params": ps}])``."""
    keys = [key for key, value in zip(group.keys, group.values, strict=True) if value is read]
    groups = parents.get(group)
    taker = parents.get(groups) if isinstance(groups, ast.List | ast.Tuple) else None
    is_group = keys and isinstance(keys[0], ast.Constant) and keys[0].value == "params"
    return taker if is_group and isinstance(taker, ast.Call) and last_name(taker.func) in _OPTIMIZER else None


def is_clipping(node: ast.AST | None) -> bool:
    """Say whether a call clips gradients."""
    return isinstance(node, ast.Call) and last_name(node.func) in _CLIP


def takes_all(function: ast.FunctionDef, at: int, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Say whether a function uses up its argument at a place, whatever its conditions say."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    if at >= len(arguments):
        return False
    names = bindings_of(function)
    name = arguments[at].arg
    reads = names.reads.get(name, ())
    if not reads or names.stores.get(name) or name in names.defined:
        return False
    return _runs_always(reads[0], function, parents) and uses_up(reads[0], parents) is not None


def _runs_always(node: ast.AST, function: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Say whether a function runs something each time: no condition is around it, and nothing leaves above it."""
    line = getattr(node, "lineno", 0)
    if any(isinstance(one, ast.Return | ast.Raise) and one.lineno < line for one in walk(function)):
        return False
    for one in _ways_up(node, parents):
        if one is function:
            return True
        if isinstance(one, ast.If | ast.IfExp | ast.Try | ast.Match | ast.BoolOp | _SCOPES):
            return False
    return False


def _goes_on(loop: ast.For | ast.comprehension, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Say whether a loop goes to its end: nothing leaves it, and a comprehension is gone through where it stands."""
    if isinstance(loop, ast.For):
        return not any(isinstance(one, ast.Break | ast.Return) for one in walk(loop))
    made = parents.get(loop)
    if not isinstance(made, ast.GeneratorExp):
        return True
    taker = parents.get(made)
    return isinstance(taker, ast.Call) and last_name(taker.func) in _EXHAUST


def follows(first: ast.AST, later: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Say whether one thing may run after another in one call of their function: no branch lies between them."""
    around = set(_ways_up(later, parents))
    node = first
    for above in _ways_up(first, parents):
        if above in around:
            return not _excludes(above, node, later, parents)
        if isinstance(above, ast.Return | ast.Raise | ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        if any(node in block and _leaves(block) for block in _blocks(above)):
            return False
        node = above
    return False


def _ways_up(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _excludes(above: ast.AST, node: ast.AST, later: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Say whether two things stand in blocks of one statement of which only one runs."""
    if not isinstance(above, ast.If | ast.IfExp | ast.Try | ast.Match):
        return False
    other = later
    for one in _ways_up(later, parents):
        if one is above:
            break
        other = one
    block = next((each for each in _blocks(above) if node in each), None)
    return node is not getattr(above, "test", None) and (block is None or other not in block)


def _blocks(node: ast.AST) -> list[list[ast.AST]]:
    return [one for name in ("body", "orelse", "finalbody") if isinstance(one := getattr(node, name, None), list)]


def _leaves(block: list[ast.AST]) -> bool:
    return bool(block) and isinstance(block[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def loop_around(node: ast.AST, parents: Mapping[ast.AST, ast.AST], outside: ast.AST) -> ast.AST | None:
    """Return the innermost loop that runs something in each turn, not another thing, and is not left early."""
    inner = node
    for one in _ways_up(node, parents):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Return):
            return None
        if isinstance(one, ast.For | ast.While) and inner in one.body and outside not in walk(one):
            return None if any(isinstance(each, ast.Break | ast.Return) for each in walk(one)) else one
        inner = one
    return None
