"""An attribute of the model is asked of its DDP wrapper.

What it finds:
    `model.custom()` where `model` is a `DistributedDataParallel` and `custom` is defined by the class that it wraps;
    also where the model is only wrapped under a condition that `model.custom()` does not stand under. And
    `model.temperature = t`, where the class that is wrapped reads `self.temperature`.

Why:
    The wrapper does not hand attributes on: AttributeError, often only when rank 0 saves, while the others wait. What
    is set on the wrapper stays there, and the model goes on with what it had.

How sure:
    The wrapped class is known and has the attribute; the wrapper does not. Of models that are wrapped under a
    condition, silent as soon as anything on the way asks about processes, GPUs or the model's kind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from trainworthy.check.finding import Edit, Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, times_given
from trainworthy.check.static.facts import Call, Context, Load
from trainworthy.check.static.queries import body_of, names_in, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import UNKNOWN, WRAPPERS, Function, Instance, ProjectClass

BAD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def generate(self, x):
        return self.linear(x)


model = DistributedDataParallel(Net())
model.generate(None)  # <- TW418
"""

GOOD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def generate(self, x):
        return self.linear(x)


model = DistributedDataParallel(Net())
model.module.generate(None)
model.parameters()
"""


@rule(code="TW418", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes of wrappers."""
    seen = set()
    told_apart = set(_told_apart(analysis))
    yield from _wrapped_under_a_condition(analysis, told_apart)
    yield from _set_on_wrappers(analysis)
    for load in analysis.loads:
        owner, name = load.owner, load.node.attr
        if (
            not isinstance(owner, Instance)
            or owner.type not in WRAPPERS
            or load.node in seen
            or load.node in told_apart
        ):
            continue
        own = owner.cls
        if own is not None and (own.lookup(name) is not None or not own.fully_known()):  # a wrapper with more methods
            continue
        inner = owner.attrs.get("module")
        cls = inner.cls if isinstance(inner, Instance) else None
        if cls is None or name in owner.attrs or name.startswith("__"):
            continue
        known = isinstance(cls.members.get(name), Function) or (isinstance(inner, Instance) and name in inner.attrs)
        if not known or name in _MODULE_NAMES or name.startswith("_"):
            continue
        seen.add(load.node)
        place = analysis.place(load.node, load.context)
        text = analysis.segment(load.node.value, load.context)
        yield Hit(
            place=place,
            message=f"`{name}` belongs to {cls.node.name}, not to the wrapper",
            fix=f"Write `{text}.module.{name}`.",
            edits=(Edit(place, f"{text}.module.{name}"),),
        )


def _set_on_wrappers(analysis: Analysis) -> Iterator[Hit]:
    """Yield attributes that are given to a wrapper, and that the class within reads from itself."""
    seen: set[ast.AST] = set()
    for store in analysis.stores:
        target, owner = store.target, store.owner
        if not isinstance(target, ast.Attribute) or not isinstance(owner, Instance) or owner.type not in WRAPPERS:
            continue
        inner = owner.attrs.get("module")
        cls = inner.cls if isinstance(inner, Instance) else None
        name = target.attr
        if owner.cls is not None or cls is None or name.startswith("_") or name in _MODULE_NAMES or target in seen:
            continue
        if any(_reads(each.node, name) for each in cls.order()):
            seen.add(target)
            text = analysis.segment(target.value, store.context)
            yield Hit(
                place=analysis.place(target, store.context),
                message=f"`{name}` is set on the wrapper, and {cls.node.name} reads its own, which stays as it is",
                fix=f"Write `{text}.module.{name} = ...`.",
            )


def _reads(cls: ast.ClassDef, name: str) -> bool:
    return any(
        one.attr == name and isinstance(one.ctx, ast.Load) and getattr(one.value, "id", "") == "self"
        for one in nodes_of(cls, ast.Attribute)
    )


def _told_apart(analysis: Analysis) -> Iterator[ast.AST]:
    """Yield what stands in `a if isinstance(model, Wrapper) else b`: each half is for another kind of model."""
    for node in analysis.nodes.get(ast.IfExp, ()):
        if isinstance(node, ast.IfExp) and _asks_for_kind(node.test):
            yield from walk(node.body)
            yield from walk(node.orelse)


def _asks_for_kind(test: ast.expr) -> bool:
    return any(
        isinstance(one, ast.Call) and getattr(one.func, "id", "") in ("isinstance", "hasattr") for one in walk(test)
    )


_MODULE_NAMES = frozenset(
    "forward train eval parameters named_parameters buffers named_buffers state_dict load_state_dict to cuda cpu half "
    "float double apply modules named_modules children named_children register_buffer zero_grad requires_grad_ type "
    "share_memory extra_repr no_sync join register_comm_hook training module device device_ids add_module "
    "get_parameter get_submodule get_buffer register_parameter register_module bfloat16 compile".split()
)


@dataclass(slots=True)
class _Wrap:
    """A wrapper that a model is put in under conditions, and the name or attribute that holds either."""

    call: Call
    cls: ProjectClass
    target: ast.expr
    tests: list[ast.expr]


def _wrapped_under_a_condition(analysis: Analysis, told_apart: set[ast.AST]) -> Iterator[Hit]:
    """Yield attributes that a model has where it is not wrapped, and are asked of it in either case."""
    wraps = list(_wraps(analysis))
    seen: set[ast.AST] = set()
    for load in (*analysis.loads, *_methods_called(analysis)) if wraps else ():
        owner, node = load.owner, load.node
        if not isinstance(owner, Instance) or owner.cls is None or node in seen or node in told_apart:
            continue
        if node.attr in _MODULE_NAMES or node.attr.startswith("_") or load.context.source is not analysis.source:
            continue
        if node.attr not in owner.cls.members and node.attr not in owner.attrs:
            continue
        for wrap in wraps:
            if wrap.cls is owner.cls and load.at > wrap.call.at and _holds_either(wrap, load, analysis):
                seen.add(node)
                yield Hit(
                    place=analysis.place(node),
                    message=f"`{node.attr}` belongs to {wrap.cls.node.name}, not to the wrapper",
                    evidence=(Evidence("wrapped here, under a condition", analysis.place(wrap.call.node)),),
                    fix=f'Write `getattr({analysis.segment(node.value)}, "module", {analysis.segment(node.value)})'
                    f".{node.attr}`.",
                )
                break


def _methods_called(analysis: Analysis) -> Iterator[Load]:
    """Yield the methods of known objects that are called, as what is read of them."""
    for call in analysis.all_calls:
        func = call.node.func
        if isinstance(func, ast.Attribute) and isinstance(call.owner, Instance):
            yield Load(func, call.owner, UNKNOWN, call.context, call.at)


def _wraps(analysis: Analysis) -> Iterator[_Wrap]:
    for call in once_per_place(analysis.calls(*WRAPPERS)):
        made, node = call.result, analysis.parents.get(call.node)
        inner = made.attrs.get("module") if isinstance(made, Instance) and made.cls is None else None
        if not isinstance(inner, Instance) or inner.cls is None or call.context.source is not analysis.source:
            continue
        tests = [test for test, _ in call.context.branches]
        if isinstance(node, ast.IfExp):
            tests, node = [*tests, node.test], analysis.parents.get(node)
        if tests and isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) or (_is_of_self(target) and _function_name(call.context) == "__init__"):
                yield _Wrap(call, inner.cls, target, tests)


def _holds_either(wrap: _Wrap, load: Load, analysis: Analysis) -> bool:
    """Say whether an attribute is asked of what may be wrapped, and no condition on the way asks whether it is."""
    node, context = load.node.value, load.context
    names = {name for test in wrap.tests for name in names_in(test)} - _NO_CONDITIONS
    for _ in range(4):
        if _is_told(node, context, names, analysis):
            return False
        other = isinstance(node, ast.Name) and context.function is not wrap.call.context.function
        if unparsed(node) == unparsed(wrap.target) and not other:
            return _comes_after(node, context, wrap, analysis)
        if not isinstance(node, ast.Name) or context.function is None:
            return False
        times = times_given(context.function.node, node.id)
        given = followed(node, context.function.node, depth=1)
        if times == 1 and given is not node:
            node = given
            continue
        caller = context.callers[-1] if context.callers else None
        argument = _argument(caller, context.function, node.id) if caller is not None else None
        if caller is None or argument is None or times:
            return False
        node, context = argument, caller.context
    return False


def _argument(caller: Call, function: Function, name: str) -> ast.expr | None:
    """Return what a call gives a parameter of the function that it runs."""
    names = [one.arg for one in function.node.args.args]
    if name not in names or caller.function is not function:
        return None
    return caller.argument_node(names.index(name) - (function.owner is not None), name)


def _is_told(node: ast.expr, context: Context, names: set[str], analysis: Analysis) -> bool:
    """Say whether a condition around a place, or one that left the function above it, speaks of wrapping."""
    tests = [test for test, _ in context.branches]
    for one in walk(body_of(context)):
        ends = (*one.body, *one.orelse) if isinstance(one, ast.If) and one.lineno < node.lineno else ()
        if isinstance(one, ast.If) and any(isinstance(end, ast.Return | ast.Raise | ast.Continue) for end in ends):
            tests.append(one.test)
    if any(names & names_in(test) or _asks_for_kind(test) or _OF_WRAPPING.search(unparsed(test)) for test in tests):
        return True
    at: ast.AST = node
    while at in analysis.parents:
        at = analysis.parents[at]
        if isinstance(at, ast.Try) and any("AttributeError" in unparsed(one) for one in at.handlers):
            return True
    return False


def _comes_after(node: ast.expr, context: Context, wrap: _Wrap, analysis: Analysis) -> bool:
    """Say whether a place reads the name or attribute after the wrapping, and nothing gives it another value."""
    here, line = wrap.call.context.function, wrap.call.node.lineno
    again = [one for one in analysis.stores if unparsed(one.target) == unparsed(wrap.target)]
    if isinstance(wrap.target, ast.Name):
        later = [one for one in again if one.context.function is here and one.node.lineno > line]
        return context.function is here and node.lineno > line and not later
    if here is None or context.function is None or context.function.owner is not here.owner:
        return False
    if any(one.context.function is not here or one.node.lineno > line for one in again):
        return False
    if context.function is here:
        return node.lineno > line
    early = {called(one) for one in nodes_of(here.node, ast.Call) if one.lineno < line}
    return context.function.name not in early


def _is_of_self(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"


def _function_name(context: Context) -> str:
    return context.function.name if context.function is not None else ""


_NO_CONDITIONS = frozenset({"self", "args", "cfg", "config", "opt", "torch", "cuda", "os", "dist", "environ", "int"})
_OF_WRAPPING = re.compile(r"distributed|parallel|world|ddp|multi|n_?gpu|gpus|device_count|\.module|is_initialized|wrap")
