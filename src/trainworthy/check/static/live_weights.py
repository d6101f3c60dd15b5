"""Weights that are kept to be put back, and are the very tensors that they are to replace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import nodes_of, unparsed, walk

_MODEL = re.compile(
    r"(^|_)(model|net|network|module|generator|discriminator|encoder|decoder|classifier|policy|actor|critic|backbone|head|"
    r"student|learner|agent)s?(_?\d)?$",
    re.IGNORECASE,
)
# What gives a module other tensors, so that those kept before are no longer its own.
_OTHER_TENSORS = frozenset("to cuda cpu half float double bfloat16 to_empty fuse compile prepare".split())
_READ_ONLY = frozenset({"load_state_dict", "len", "print", "keys", "items", "values", "save"})


def put_back(analysis: Analysis) -> Iterator[tuple[ast.Assign, ast.AST]]:
    """Yield where weights are kept without a copy, and where the same module gets them back, which does nothing."""
    if not analysis.source.words.isdisjoint({"FullyShardedDataParallel", "FSDP", "fully_shard"}):
        return  # whose state_dict gathers copies
    if is_a_test(analysis.source):
        return  # which load back what is there to see whether it fits
    kept = [one for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign) and _keeps(one)]
    for body in _scopes(analysis) if kept else ():
        nodes = walk(body)
        inside = set(nodes)
        for store in kept:
            if store in inside and (restored := _restored(nodes, store)) is not None:
                yield store, restored
    if "copy_" in analysis.source.words and {"parameters", "named_parameters"} & analysis.source.words:
        yield from _parameters_put_back(analysis)


def _scopes(analysis: Analysis) -> Iterator[ast.AST]:
    """Yield what names are good in: classes for attributes of `self`, functions and the file for variables."""
    yield from analysis.nodes.get(ast.ClassDef, [])
    yield from functions_of(analysis.nodes)
    yield analysis.source.tree


def _keeps(statement: ast.Assign) -> bool:
    """Say whether a statement keeps the state dict of a model as it is, or in a copy that shares its tensors."""
    return len(statement.targets) == 1 and _holder(statement.value) is not None


def _holder(value: ast.expr) -> str | None:
    """Return whose state dict a value is; None if it is none, or a copy of the tensors."""
    func = value.func if isinstance(value, ast.Call) else None
    if isinstance(value, ast.Call) and isinstance(func, ast.Attribute) and func.attr == "copy":
        if not value.args:
            value = func.value
        elif getattr(func.value, "id", "") == "copy":
            value = value.args[0]
    if (
        isinstance(value, ast.Call)
        and getattr(value.func, "id", "") in ("dict", "OrderedDict")
        and len(value.args) == 1
    ):
        value = value.args[0]
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute) or value.args or value.keywords:
        return None
    owner = value.func.value
    name = getattr(owner, "attr", getattr(owner, "id", ""))
    return unparsed(owner) if value.func.attr == "state_dict" and _MODEL.search(name) else None


def _restored(nodes: list[ast.AST], store: ast.Assign) -> ast.AST | None:
    """Return where a module gets its own weights back, if nothing here gives it or the name anything else."""
    target, holder = store.targets[0], _holder(store.value)
    name = unparsed(target)
    if isinstance(target, ast.Attribute) and name.startswith("self."):
        made = {each for one in nodes if getattr(one, "name", "") == "__init__" for each in walk(one)}
        later = [one for one in nodes if one not in made]
    elif isinstance(target, ast.Name):
        later = [one for one in nodes if getattr(one, "lineno", 0) > store.lineno]
    else:
        return None
    loads = []
    for one in later:
        if isinstance(one, ast.Call):
            if _loads(one, name) and isinstance(one.func, ast.Attribute) and unparsed(one.func.value) == holder:
                loads.append(one)
            elif _gives_others(one, name, holder):
                return None
        elif one is not store and _sets(one, name, holder):
            return None
    load = min(loads, key=lambda one: one.lineno, default=None)
    if load is None or isinstance(target, ast.Attribute):
        return load
    between = (one for one in later if isinstance(one, ast.Call) and one.lineno < load.lineno)
    return load if next(between, None) is not None else None  # nothing was done that is to be undone


def _loads(call: ast.Call, name: str) -> bool:
    method = isinstance(call.func, ast.Attribute) and call.func.attr == "load_state_dict"
    return method and bool(call.args) and unparsed(call.args[0]) == name


def _gives_others(call: ast.Call, name: str, holder: str | None) -> bool:
    """Say whether a call may change what is kept, or give the module other tensors."""
    func = call.func
    method = getattr(func, "attr", getattr(func, "id", ""))
    if isinstance(func, ast.Attribute):
        owner = unparsed(func.value)
        if owner == holder and method in _OTHER_TENSORS:
            return True
        if owner == name and method not in _READ_ONLY:
            return True
    given = [*call.args, *[one.value for one in call.keywords]]
    return method not in _READ_ONLY and any(unparsed(one) == name for one in given)


def _sets(node: ast.AST, name: str, holder: str | None) -> bool:
    """Say whether a statement gives the name, a part of it, or the module another value; None is no value."""
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For):
        return False
    targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
    emptied = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    for one in (each for target in targets for each in walk(target)):
        if isinstance(one, ast.Subscript) and unparsed(one.value) == name:
            return True
        if isinstance(one, ast.Name | ast.Attribute) and not isinstance(one.ctx, ast.Load):
            text = unparsed(one)
            if text == holder or (text == name and not emptied):
                return True
    return False


def _parameters_put_back(analysis: Analysis) -> Iterator[tuple[ast.Assign, ast.AST]]:
    """Yield lists of live parameters, or entries for them, that are copied back into the parameters."""
    for body in _scopes(analysis):
        if body is analysis.source.tree:
            continue
        kept = [one for one in nodes_of(body, ast.Assign) if _keeps_parameters(one)]
        if not kept or _rebinds_data(body):
            continue
        for store in kept:
            copied = _copied_back(body, store)
            if copied is not None:
                yield store, copied


def _keeps_parameters(statement: ast.Assign) -> bool:
    value, target = statement.value, statement.targets[0]
    if isinstance(value, ast.ListComp | ast.DictComp):
        made = value.elt if isinstance(value, ast.ListComp) else value.value
        return _is_live(made, value.generators[0].target) and _is_of_parameters(value.generators[0].iter)
    return isinstance(target, ast.Subscript) and isinstance(value, ast.Attribute) and value.attr == "data"


def _is_live(value: ast.expr, target: ast.expr) -> bool:
    """Say whether an element is the loop's parameter itself, or its data."""
    if (
        isinstance(value, ast.Call)
        and getattr(value.func, "attr", "") == "detach"
        and isinstance(value.func, ast.Attribute)
    ):
        value = value.func.value
    if isinstance(value, ast.Attribute) and value.attr == "data":
        value = value.value
    names = {one.id for one in nodes_of(target, ast.Name)}
    return isinstance(value, ast.Name) and value.id in names


def _is_of_parameters(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and getattr(value.func, "attr", "") in ("parameters", "named_parameters")


def _rebinds_data(body: ast.AST) -> bool:
    """Say whether parameters get other tensors, which leaves those that were kept as they are."""
    return any(isinstance(one, ast.Attribute) and one.attr == "data" and isinstance(one.ctx, ast.Store)
               for one in walk(body))  # fmt: skip


def _copied_back(body: ast.AST, store: ast.Assign) -> ast.AST | None:
    """Return the loop over parameters that copies what was kept into them."""
    target = store.targets[0]
    name = unparsed(target.value if isinstance(target, ast.Subscript) else target)
    stores = [one for one in nodes_of(body, ast.Assign) if one is not store
              and any(unparsed(getattr(each, "value", each)) == name for each in one.targets)
              and isinstance(one.targets[0], ast.Subscript)]  # fmt: skip
    if stores:
        return None
    for loop in walk(body):
        if not isinstance(loop, ast.For) or (isinstance(target, ast.Name) and loop.lineno < store.lineno):
            continue
        zipped = (
            loop.iter.args if isinstance(loop.iter, ast.Call) and getattr(loop.iter.func, "id", "") == "zip" else []
        )
        paired: set[str] = set()
        targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else []
        for one, over in zip(targets, zipped, strict=False):
            if unparsed(over) == name and isinstance(one, ast.Name):
                paired.add(one.id)
        over_parameters = any(_is_of_parameters(one) for one in (*zipped, loop.iter))
        for call in walk(loop) if over_parameters else ():
            if not isinstance(call, ast.Call) or getattr(call.func, "attr", "") != "copy_" or not call.args:
                continue
            given = call.args[0]
            whole = unparsed(given).removesuffix(".data")
            if whole in paired or whole.startswith(f"{name}["):
                return call
    return None
