"""Norms and dropout layers that are given their own output."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from trainworthy.check.live.backward import VIEWS, through_views
from trainworthy.check.live.facts_seldom import AppliedTwice
from trainworthy.check.live.watch import Watch, operation_of

APPLIED = frozenset({
    "batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "alpha_dropout", "feature_alpha_dropout",
})  # fmt: skip
_LAYERS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _DropoutNd)
_KEY = "trainworthy.applied"  # in the metadata of a node of the graph: whose output it made
_STEPS, _MAX = 2, 20


class AppliedWatch:
    """Marks in the graph which layer made a tensor, and notes one that gets such a tensor from itself."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def applied(self, name: str, args: tuple[Any, ...], out: torch.Tensor, source: int, module: Any) -> None:
        """Look at a call; ``module`` is the innermost that runs, or None."""
        found = self.watch.facts.applied_twice
        key = _key(name, args, module)
        if key is None or out.grad_fn is None or self.watch.step >= _STEPS or len(found) >= _MAX:
            return
        given = args[0] if args else None
        node = _made_by(given) if isinstance(given, torch.Tensor) else None
        if node is not None and node.metadata.get(_KEY) == key:
            place = self.watch.place_of(source)
            if all(one.place != place for one in found):
                layer = self.watch.names.module(module) if isinstance(module, _LAYERS) else ""
                found.append(AppliedTwice(place=place, layer=layer, operation=name))
        made = _made_by(out)
        if made is not None:
            made.metadata[_KEY] = key


def _key(name: str, args: tuple[Any, ...], module: Any) -> int | None:
    if isinstance(module, _LAYERS):
        return None if isinstance(module, _DropoutNd) and not module.p else id(module)
    statistics = args[1] if name == "batch_norm" and len(args) > 1 else None
    return id(statistics) if isinstance(statistics, torch.Tensor) else None


def _made_by(tensor: torch.Tensor) -> Any:
    """Return the node that computed a tensor, past those that only show it in another form."""
    node = tensor.grad_fn
    return through_views(node) if node is not None and operation_of(node) in VIEWS else node
