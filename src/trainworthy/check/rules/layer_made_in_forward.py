"""A layer with parameters is made in each forward pass.

What it finds:
    `nn.Linear(...)(x)`, `nn.Dropout(0.5)(x)` or a norm, constructed and called inside of `forward`; also an
    `nn.Sequential` or a module of the project with such layers, and what a function makes and returns.

Why:
    Its weights are drawn again in each call and are in no optimizer; a dropout made here is always active, whatever
    `model.eval()` says.

How sure:
    The construction is called in the same expression, or is a variable that is only called. Layers that hold
    nothing, such as `nn.ReLU()(x)`, are not reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.layer_lists import has_parameters
from trainworthy.check.static.queries import PARAMETRISED, once_per_place
from trainworthy.check.static.tree import nodes_of, walk
from trainworthy.check.static.values import Function, Instance

BAD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = nn.Dropout(0.5)(self.linear(x))  # <- TW306
        return x
"""

GOOD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.dropout(self.linear(x))
        return nn.ReLU()(x)
"""


_STATEFUL = PARAMETRISED | {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"}


@rule(code="TW306", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at constructions within forward that are called at once."""
    for call in once_per_place(iter(analysis.method_calls("__call__"))):
        function = call.context.function
        if function is None or function.owner is None or not _in_forward(call.context):
            continue
        made = call.owner.made_by if isinstance(call.owner, Instance) else None
        if made is not None and _is_composed(analysis, made, call):
            yield Hit(
                place=analysis.place(call.node.func, call.context),
                message="new layers are made in every forward pass",
                evidence=(Evidence("made here", analysis.place(made.node, made.context)),),
                fix="Make them in `__init__`.",
            )
            continue
        last = call.name.split(".")[-2] if call.name.startswith("torch.nn.") else ""
        if made is None or last not in _STATEFUL or not _is_new(analysis, made, call) or not is_module(call.owner):
            continue
        if "Dropout" in last and _follows_mode(made.node):
            continue
        yield Hit(
            place=analysis.place(made.node, call.context),
            message=f"a new {last} is made in every forward pass",
            fix="Make it in `__init__`.",
        )


def _in_forward(context: Context) -> bool:
    """Say whether something runs in a forward method, or in a method that one calls."""
    around = [context, *(caller.context for caller in context.callers)]
    return any(one.function is not None and one.function.name == "forward" for one in around)


def _is_composed(analysis: Analysis, made: Call, call: Call) -> bool:
    """Say whether a call is of several layers that are made at this place, or by a function that is called here."""
    source = _unmoved(_last_given(call))
    if not isinstance(source, ast.Call) or _follows_mode(source):
        return False
    stateful = has_parameters(call.owner, analysis, or_a_mode=True)
    if made.node is source:
        whole = made.name == "torch.nn.Sequential" and bool(source.args) and not made.starred
        own = isinstance(call.owner, Instance) and call.owner.cls is not None and not _loads_weights(call.owner)
        return stateful and (own or (whole and all(isinstance(one, ast.Call) for one in source.args)))
    maker = next((one.function for one in made.context.callers if one.node is source), None)
    if maker is None or not _only_makes(maker):
        return False
    return stateful or any(last_name(one.func) in _STATEFUL for one in nodes_of(maker.node, ast.Call))


def _last_given(call: Call) -> ast.expr:
    """Return what is called, or what the variable that is called was given, if nothing else is done with it."""
    func, function = call.node.func, call.context.function
    if not isinstance(func, ast.Name) or function is None:
        return func
    uses = [one for one in nodes_of(function.node, ast.Name) if one.id == func.id]
    given = [one for one in nodes_of(function.node, ast.Assign) if any(target in uses for target in one.targets)]
    called = [one.func for one in nodes_of(function.node, ast.Call)]
    plain = len(given) == 1 and all(one in called or one in given[0].targets for one in uses)
    return given[0].value if plain else func


def _only_makes(function: Function) -> bool:
    """Say whether a function does nothing but make layers: it keeps none, and sets no weights by hand."""
    if function.decorators or isinstance(function.node, ast.Lambda):
        return False
    for one in walk(function.node):
        if isinstance(one, ast.Attribute | ast.Subscript) and isinstance(one.ctx, ast.Store):
            return False
        if isinstance(one, ast.Global | ast.Nonlocal | ast.With | ast.Try | ast.Yield):
            return False
        if isinstance(one, ast.Attribute) and one.attr in _SET_BY_HAND:
            return False
    return True


_SET_BY_HAND = frozenset(
    "weight bias data copy_ fill_ load_state_dict requires_grad_ parameters setdefault get constant_ __dict__".split()
)


def _loads_weights(value: Instance) -> bool:
    """Say whether a module of the project takes its weights from elsewhere."""
    names = {
        str(getattr(one, "attr", getattr(one, "id", getattr(one, "arg", ""))))
        for cls in (value.cls.order() if value.cls is not None else ())
        for one in walk(cls.node)
    }
    return bool(
        names & {"load_state_dict", "from_pretrained", "pretrained", "register_buffer", "load", "data", "copy_"}
    )


def _is_new(analysis: Analysis, made: Call, call: Call) -> bool:
    """Say whether a layer is made by the function that calls it, and kept under a local name at most."""
    if made.node is _unmoved(call.node.func):
        return True
    function = made.context.function
    if function is None or function is not call.context.function or not isinstance(call.node.func, ast.Name):
        return False
    return any(
        isinstance(one, ast.Assign)
        and _unmoved(one.value) is made.node
        and all(isinstance(t, ast.Name) for t in one.targets)
        for one in walk(function.node)
    )


def _unmoved(node: ast.expr) -> ast.expr:
    """Return what `.to(device)`, `.cuda()` and the like are called on."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MOVES:
        node = node.func.value
    return node


_MOVES = ("to", "cuda", "cpu", "float", "double", "half", "train", "type")


def _follows_mode(node: ast.Call) -> bool:
    return any(getattr(one, "attr", "") == "training" for one in walk(node))
