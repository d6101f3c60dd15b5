"""An optimizer is given the parts of a model by name, and one is missing.

What it finds:
    `Adam(list(self.encoder.parameters()) + list(self.decoder.parameters()))` in a module that also calls `self.bridge`,
    a layer or network that it makes in `__init__`, whose parameters no optimizer gets.

Why:
    The layer stays as it was initialised: everything behind it learns to make the best of a random projection.

How sure:
    Two or more attributes are listed by name, the missing one has weights, is called and used for nothing else, and
    neither its parameters, its freezing, nor all parameters of the module are mentioned anywhere in the class. Silent
    about networks that freeze or load themselves. TW353 says the same of what a run or a rehearsal does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module, is_optimizer
from trainworthy.check.static.queries import PARAMETRISED, inner_modules
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Instance

BAD = """\
import torch
from torch import nn


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(16, 8)
        self.bridge = nn.Linear(8, 8)
        self.decoder = nn.Linear(8, 16)

    def forward(self, x):
        return self.decoder(self.bridge(self.encoder(x)))

    def configure_optimizers(self):
        return torch.optim.Adam(list(self.encoder.parameters()) + list(self.decoder.parameters()))  # <- TW355
"""

GOOD = """\
import torch
from torch import nn


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(16, 8)
        self.bridge = nn.Linear(8, 8)
        self.decoder = nn.Linear(8, 16)

    def forward(self, x):
        return self.decoder(self.bridge(self.encoder(x)))

    def configure_optimizers(self):
        parts = (self.encoder, self.bridge, self.decoder)
        return torch.optim.Adam([p for part in parts for p in part.parameters()])
"""

# What speaks of all parts at once, or of which are to be trained.
_OF_ALL = frozenset(
    {"named_parameters", "modules", "named_modules", "children", "named_children", "requires_grad", "requires_grad_",
     "freeze", "add_param_group", "getattr"}
)  # fmt: skip
_FEWEST = 2  # of parts listed by name: one alone may be all that is to be trained


@rule(code="TW355", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at modules that make their own optimizers."""
    if "parameters" not in analysis.source.words:
        return
    made = {one.node for one in analysis.all_calls if is_optimizer(one.result)}
    for cls in analysis.classes if made else ():
        if cls.source is not analysis.source or cls.prototype is None or not is_module(cls.prototype):
            continue
        nodes = walk(cls.node)
        optimizer = next((one for one in nodes if one in made and len(_listed(one)) >= _FEWEST), None)
        if optimizer is None or not cls.fully_known() or _speaks_of_all(nodes):
            continue
        missing = _missing(analysis, cls.prototype, nodes, _listed(cls.node))
        if missing is not None:
            name, place = missing
            yield Hit(
                place=analysis.place(optimizer),
                message=f"`self.{name}` is called, and no optimizer gets its parameters",
                evidence=(Evidence("it is made here", analysis.place(place)),),
                fix=f"Add `self.{name}.parameters()`, or freeze it with `requires_grad_(False)`.",
            )


def _listed(node: ast.AST) -> set[str]:
    """Return the attributes of the object whose parameters are asked for below a node."""
    return {
        one.func.value.attr
        for one in nodes_of(node, ast.Call)
        if isinstance(one.func, ast.Attribute)
        and one.func.attr == "parameters"
        and isinstance(one.func.value, ast.Attribute)
        and getattr(one.func.value.value, "id", "") == "self"
    }


def _speaks_of_all(nodes: list[ast.AST]) -> bool:
    """Say whether a class speaks of all of its parameters, or of freezing."""
    for one in nodes:
        name = getattr(one, "attr", getattr(one, "id", ""))
        if name in _OF_ALL or (isinstance(one, ast.Attribute) and unparsed(one) == "self.parameters"):
            return True
    return False


def _missing(
    analysis: Analysis, module: Instance, nodes: list[ast.AST], listed: set[str]
) -> tuple[str, ast.AST] | None:
    """Return a layer with weights that is called, and mentioned nowhere else, and where it is made."""
    for name, value in module.attrs.items():
        made = value.made_by if isinstance(value, Instance) else None
        if name in listed or made is None or not _has_weights(value):
            continue
        uses = [one for one in nodes if isinstance(one, ast.Attribute) and one.attr == name]
        loads = [one for one in uses if isinstance(one.ctx, ast.Load)]
        above = [analysis.parents.get(one) for one in loads]
        only_called = all(isinstance(one, ast.Call) and one.func in loads for one in above if not _reads(one))
        if loads and only_called and len(uses) - len(loads) == 1 and made.node in nodes:
            return name, made.node
    return None


def _reads(node: ast.AST | None) -> bool:
    """Say whether a part of a layer is read: `self.decoder.last.weight`."""
    return isinstance(node, ast.Attribute) and node.attr not in _FIXED | _OF_ALL | {"parameters", "state_dict", "train"}


def _has_weights(value: object) -> bool:
    """Say whether a value is a module with layers of torch that have weights, and does not freeze or load itself."""
    if not isinstance(value, Instance) or not is_module(value):
        return False
    inner = inner_modules(value)
    for cls in {each for one in inner if one.cls is not None for each in one.cls.order()}:
        if cls.source.words & _FIXED and any(getattr(one, "attr", "") in _FIXED for one in walk(cls.node)):
            return False
    return any(one.type.rpartition(".")[2] in PARAMETRISED for one in inner)


_FIXED = frozenset({"requires_grad", "requires_grad_", "no_grad", "eval", "load_state_dict", "from_pretrained"})
