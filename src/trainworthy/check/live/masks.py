"""Which way a padding mask works, found out by changing tokens: those that are padding, then those that are not.

With a mask that is right, tokens that are padding reach nothing. With one that is the other way round they reach all
positions, and the tokens of the text reach none but their own. With one that nothing reads, both reach all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from trainworthy.check.live.outputs import difference, outputs

Forward = Callable[[], Any]
_STILL = 1e-6  # of the largest output
_REACHED, _ALMOST_ALL = 1e-4, 0.9  # of the largest output; of the positions of the text


class Masked(NamedTuple):
    """Tokens (ids, or a vector for each position), the mask beside them, and which positions are padding."""

    ids: torch.Tensor
    name: str
    padding: torch.Tensor


def masked_call(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Masked | None:
    """Find ids and a padding mask among the arguments of a call; None if they cannot be told for sure."""
    try:
        given = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return None
    named = {**given, **given.get("kwargs", {})} if isinstance(given.get("kwargs"), dict) else dict(given)
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    masks = [(n, v) for n, v in tensors.items() if "mask" in n and v.dim() == 2 and _is_mask(v)]
    tokens = [v for name, v in tensors.items() if "mask" not in name and _are_tokens(v)]
    if len(masks) != 1 or not tokens or tokens[0].shape[:2] != masks[0][1].shape:
        return None
    (name, mask), ids = masks[0], tokens[0]
    found = [padding for padding in (mask.bool(), ~mask.bool()) if _may_be_padding(padding, ids)]
    return Masked(ids, name, found[0]) if len(found) == 1 else None


def _are_tokens(tensor: torch.Tensor) -> bool:
    if tensor.dim() == 3:
        return tensor.is_floating_point() and not tensor.requires_grad
    return tensor.dim() == 2 and tensor.dtype in (torch.int64, torch.int32)


def _is_mask(mask: torch.Tensor) -> bool:
    values = set(mask.unique().tolist())
    return values in ({0, 1}, {False, True})


def _may_be_padding(chosen: torch.Tensor, ids: torch.Tensor) -> bool:
    """Tell whether the chosen positions are one token at one end of each row, and the others are several tokens."""
    if ids[chosen].unique().numel() != 1 or ids[~chosen].unique(dim=0).shape[0] < 3:
        return False
    at_the_end = (chosen.int().diff(dim=1) >= 0).all()
    at_the_start = (chosen.int().diff(dim=1) <= 0).all()
    return bool(at_the_end or at_the_start)


def mask_fails(found: Masked, forward: Forward) -> Iterator[dict[str, Any]]:
    """Yield the change that padding made to the text, with what is wrong.

    It is ``mask-inverted`` if the text does not reach itself, and ``mask-ignored`` if padding reaches (almost) all of
    it. ``forward`` calls the model in evaluation mode, without gradients, with the arguments that hold ``found.ids``.
    """
    ids, padding = found.ids, found.padding
    rows = padding.any(dim=1) & ((~padding).sum(dim=1) >= 3)
    if not bool(rows.any()):
        return
    before = _of_positions(forward(), ids)
    if before is None:
        return
    kept = ids.clone()
    others = ids[~padding].unique(dim=0)
    try:
        ids[padding] = others[torch.arange(int(padding.sum()), device=ids.device) % len(others)]
        by_padding = _of_positions(forward(), ids)
        ids.copy_(kept)
        first, row = (~padding).int().argmax(dim=1), torch.arange(len(ids), device=ids.device)
        token = kept[row, first]
        same = token == others[0] if ids.dim() == 2 else (token == others[0]).all(dim=1, keepdim=True)
        ids[row, first] = torch.where(same, others[1], others[0])
        by_text = _of_positions(forward(), ids)
    finally:
        ids.copy_(kept)
    if by_padding is None or by_text is None:
        return
    text = ~padding & rows.unsqueeze(1)
    text[row, first] = False
    old, one, two = before[text], by_padding[text], by_text[text]
    if not bool(torch.isfinite(old).all()) or not old.numel():
        return
    scale = float(old.abs().max())
    if float((old - two).abs().max()) <= _STILL * scale:
        for change in difference(old, one, before):
            yield {"what": "mask-inverted", **change}
    elif float(((old - one).abs().amax(dim=1) > _REACHED * scale).float().mean()) > _ALMOST_ALL:
        for change in difference(old, one, before):
            yield {"what": "mask-ignored", **change}


def _of_positions(value: Any, ids: torch.Tensor) -> torch.Tensor | None:
    return next((out for out in outputs(value) if out.dim() == 3 and out.shape[:2] == ids.shape[:2]), None)
