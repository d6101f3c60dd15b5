"""Whether anything can clear the gradients of an optimizer that a function makes for itself."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.external import is_optimizer
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Instance, ProjectClass, Value

_MAY_CLEAR = re.compile(r"step|zero|train|update|optim|fit|clear|grad_?reset|closure")


def never_cleared_here(analysis: Analysis, step: Call, owner: Value) -> bool:
    """Say whether a stepping optimizer is made in the same function, or program, and nothing there clears gradients."""
    made = owner.made_by if isinstance(owner, Instance) else None
    function = step.context.function
    if made is None or made.context.function is not function or not analysis.finished:
        return False
    if function is None and made.context.source is not step.context.source:
        return False
    body = body_of(step.context)
    names = {
        last_name(target) for node in nodes_of(body, ast.Assign) if node.value is made.node for target in node.targets
    }
    models = _receivers_of_parameters(made.node)
    others = _other_optimizers(body, models) - names  # a name may be given two optimizers, one after the other
    for node in walk(body):
        if getattr(node, "attr", "") == "grad" and not _is_read(node):
            return False
        if isinstance(node, ast.Attribute) and node.attr == "zero_grad" and last_name(node.value) not in others:
            return False
    if not names or "" in names or any(isinstance(node, ast.Attribute) and node.attr in names for node in walk(body)):
        return False
    if any(
        (function is None or _inside(one, function)) and one.context.function is not function
        for one in analysis.method_calls("zero_grad")
    ):
        return False
    return not any(_hands_on(node, names, models, made.node) for node in nodes_of(body, ast.Call))


def never_cleared_by_this_file(analysis: Analysis, optimizer: Value, backward: Call) -> bool:
    """Say whether a file has no word that clears gradients, nor gives one of torch's optimizers to what might."""
    made = optimizer.made_by if isinstance(optimizer, Instance) and optimizer.cls is None else None
    source = analysis.source
    if made is None or not is_optimizer(optimizer) or not analysis.finished or backward.context.source is not source:
        return False
    if made.context.source is not source or _CLEARS.search(source.code) or _may_be_cleared(analysis, optimizer):
        return False
    models = _receivers_of_parameters(made.node)
    names = {last_name(one.target) for one in analysis.stores if one.value is optimizer} - {""}
    return bool(names) and not any(
        _hands_on(one.node, names, models, made.node) for one in analysis.all_calls if one.context.source is source
    )


def never_cleared_by_this_class(analysis: Analysis, step: Call, backward: Call, optimizer: str) -> bool:
    """Say whether a class computes and uses gradients of its own optimizer, and nothing in the project clears those."""
    function = step.context.function
    cls = function.owner if function is not None else None
    if cls is None or not optimizer.startswith("self.") or not analysis.finished:
        return False
    if backward.context.function is None or backward.context.function.owner is not cls:
        return False
    if not cls.fully_known() or cls.outside_base() not in ("", "builtins.object", "abc.ABC", "torch.nn.Module"):
        return False
    nodes = [one for each in cls.order() for one in walk(each.node)]
    others = _other_optimizers_of(nodes, optimizer)
    if any(
        _sets_grad(one) or (getattr(one, "attr", "") in CLEARING and not _is_of_others(one, others)) for one in nodes
    ):
        return False
    if any(isinstance(one, ast.Call) and takes(one, optimizer) for one in nodes):
        return False
    name = optimizer.rpartition(".")[2]
    files = project_files(analysis.source.path)
    cleared = re.compile(rf"\b{re.escape(name)}\s*\.\s*zero_grad|\b(?:model|net)\w*\.zero_grad")
    called = (one.function for one in analysis.all_calls if one.function is not None and _is_of(one, cls))
    return (
        files is not None
        and not any(cleared.search(_code_without_own(analysis, path)) for path in {analysis.source.path, *files})
        and not any(getattr(one, "attr", "") in CLEARING for each in called for one in walk(each.node))
    )


CLEARING = frozenset({"zero_grad", "clear_grad", "grad_zero", "zero_gradients"})
"""What methods that clear gradients are called."""


def _is_of(call: Call, cls: ProjectClass) -> bool:
    return call.context.function is not None and call.context.function.owner is cls


def _code_without_own(analysis: Analysis, path: str) -> str:
    """Return what a file of the project says, but for what classes clear of themselves."""
    text = analysis.source.code if path == analysis.source.path else text_of(path)
    return re.sub(r"\bself\.\w+\s*\.\s*zero_grad", "", text)


def _sets_grad(node: ast.AST) -> bool:
    return getattr(node, "attr", "") == "grad" and not _is_read(node)


def takes(call: ast.Call, optimizer: str) -> bool:
    """Say whether a call gets an optimizer and may clear its gradients."""
    given = [*call.args, *(one.value for one in call.keywords)]
    called = last_name(call.func)
    harmless = called.lower() in _HARMLESS or "LR" in called or "sched" in called.lower() or "warmup" in called.lower()
    return not harmless and any(unparsed(one) == optimizer for one in given)


def _may_be_cleared(analysis: Analysis, optimizer: Value) -> bool:
    """Say whether a call on the way may clear an optimizer's gradients: it is not of another optimizer."""
    return any(one.owner is optimizer or not is_optimizer(one.owner) for one in analysis.method_calls("zero_grad"))


_CLEARS = re.compile(r"\.grad\b\s*(=[^=]|\.zero_|\.data\.zero_)|\bzero_?grad|clear_?grad|grad_?zero|zero_gradients")


def _receivers_of_parameters(node: ast.AST) -> set[str]:
    """Write what stands before `.parameters()` below a node."""
    return {
        unparsed(part.func.value)
        for part in nodes_of(node, ast.Call)
        if isinstance(part.func, ast.Attribute) and part.func.attr == "parameters"
    }


def _other_optimizers(body: ast.AST, models: set[str]) -> set[str]:
    """Return the names of optimizers that are made here of other models: clearing theirs says nothing of this one's."""
    found: set[str] = set()
    for node in walk(body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            others = _receivers_of_parameters(node.value)
            if others and not others & models:
                found |= {last_name(target) for target in node.targets}
    return found - {""}


def _other_optimizers_of(nodes: list[ast.AST], optimizer: str) -> set[str]:
    """Write the optimizers of a class that are made of other parts than one of them, and those parts."""
    made = {
        unparsed(one.targets[0]): _receivers_of_parameters(one.value)
        for one in nodes
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(one.targets[0], ast.Attribute)
    }
    models = made.get(optimizer, set())
    others = {name: parts for name, parts in made.items() if parts and models and not parts & models}
    return {*others, *(part for parts in others.values() for part in parts)}


def _is_of_others(node: ast.AST, others: set[str]) -> bool:
    return isinstance(node, ast.Attribute) and unparsed(node.value) in others


def _is_read(node: ast.AST) -> bool:
    """Say whether `.grad` is only read; what `zero_` is called on, and `zero_grad`, are not."""
    return isinstance(node, ast.Attribute) and node.attr == "grad" and isinstance(node.ctx, ast.Load)


# They wrap an optimizer or step it, and clear nothing.
_HARMLESS = frozenset({"prepare", "unscale_", "step", "get_lr", "save", "print", "isinstance", "len"})


def _inside(call: Call, function: object) -> bool:
    return any(one.context.function is function for one in call.context.callers)


def _hands_on(node: ast.Call, names: set[str], models: set[str], made: ast.AST) -> bool:
    """Say whether a call gives the optimizer away, or the model to what may clear its gradients."""
    arguments = (*node.args, *(keyword.value for keyword in node.keywords))
    called = last_name(node.func)
    if {last_name(one) for one in arguments} & names:
        return "LR" not in called and called.lower() not in _HARMLESS and "sched" not in called.lower()
    return (
        node is not made
        and bool({unparsed(one) for one in arguments} & models)
        and _MAY_CLEAR.search(called.lower()) is not None
    )
