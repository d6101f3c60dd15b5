"""Models whose layers do the same in training and in evaluation mode."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.external import is_module
from trainworthy.check.static.queries import inner_modules
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.values import Instance, ProjectClass, Value

_SAME = re.compile(
    r"^((Lazy)?Linear|Bilinear|Identity|(Lazy)?Conv(Transpose)?\dd|Embedding(Bag)?|(LSTM|GRU|RNN)(Cell)?|LayerNorm|"
    r"GroupNorm|RMSNorm|\w*Pool\dd|\w*Pad\dd|(Un)?Flatten|Upsample|Sequential|Module(List|Dict)?|Parameter|(Log)?Soft\w+|"
    r"(Leaky|P)?ReLU6?|(Log)?Sigmoid|Tanh|SiLU|GELU|[CS]?ELU|GLU|Mish)$"
)
_HELPERS = frozenset("super __init__ int float len range append extend list tuple".split())
_OF_A_MODE = re.compile(r"drop|training|batch_?norm|instance_?norm|track_running|getattr|import", re.IGNORECASE)


def is_the_same_in_both_modes(model: Value) -> bool:
    """Say whether everything in a model is known, and does not ask for the mode."""
    if not isinstance(model, Instance) or not is_module(model):
        return False
    modules = [one for one in inner_modules(model) if is_module(one)]
    own = {cls.node.name for one in modules if one.cls is not None for cls in one.cls.order()}
    return all(
        _is_plain_class(one.cls, own) if one.cls is not None else _is_plain_layer(one, within=bool(own))
        for one in modules
    )


def _is_plain_layer(layer: Instance, *, within: bool) -> bool:
    """Say whether a layer of torch's knows no mode; one that a program makes itself must show what is in it."""
    call = layer.made_by
    if not layer.type.startswith("torch.nn.") or not _SAME.search(layer.type.rpartition(".")[2]) or call is None:
        return False
    if any(keyword.arg in ("dropout", None) for keyword in call.node.keywords):
        return False
    shown = not call.starred and all(is_module(one) for one in call.args)
    return within or shown or not layer.type.endswith("Sequential")


def _is_plain_class(cls: ProjectClass, own: set[str]) -> bool:
    """Say whether a class, and its bases of the project, make nothing but such layers, and speak of no mode."""
    if not cls.fully_known():
        return False
    for one in cls.order():
        if _OF_A_MODE.search(unparsed(one.node)):
            return False
        for method in one.node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                made = {last_name(call.func) for call in nodes_of(method, ast.Call)}
                if any(not _SAME.search(name) for name in made - own - _HELPERS):
                    return False
    return True
