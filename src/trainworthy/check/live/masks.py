"""Which way a padding mask works, found out by changing tokens: those that are padding, then those that are not.

With a mask that is right, tokens that are padding reach nothing. With one that is the other way round they reach all
positions, and the tokens of the text reach none but their own. With one that nothing reads, both reach all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from trainworthy.check.live.outputs import difference, outputs

Forward = Callable[[], Any]
_STILL = 1e-6  # of the largest output
_NEAR = 4  # positions beyond the text that convolutions may reach
_REACHED, _ALMOST_ALL = 1e-4, 0.9  # of the largest output; of the positions of the text


class Masked(NamedTuple):
    """Tokens (ids, or a vector for each position), what tells which are padding beside them, and which are."""

    ids: torch.Tensor
    name: str
    padding: torch.Tensor
    by_lengths: bool = False


def masked_call(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Masked | None:
    """Find ids and a padding mask or lengths among the arguments of a call; None if they cannot be told for sure.

    Arguments that are dicts, as a tokenizer makes them, are looked into one by one, after the call's own.
    """
    try:
        given = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return None
    named = {**given, **given.get("kwargs", {})} if isinstance(given.get("kwargs"), dict) else dict(given)
    for group in (named, *(value for value in named.values() if isinstance(value, Mapping))):
        found = _masked({name: value for name, value in group.items() if isinstance(value, torch.Tensor)})
        if found is not None:
            return found
    return None


def _masked(tensors: dict[str, torch.Tensor]) -> Masked | None:
    masks = [(n, v) for n, v in tensors.items() if "mask" in n and v.dim() == 2 and _is_mask(v)]
    tokens = [v for name, v in tensors.items() if "mask" not in name and _are_tokens(v)]
    if not masks and tokens:
        return _with_lengths(tensors, tokens[0])
    if len(masks) != 1 or not tokens or tokens[0].shape[:2] != masks[0][1].shape:
        return None
    (name, mask), ids = masks[0], tokens[0]
    found = [padding for padding in (mask.bool(), ~mask.bool()) if may_be_padding(padding, ids)]
    return Masked(ids, name, found[0]) if len(found) == 1 else None


def _with_lengths(tensors: dict[str, torch.Tensor], ids: torch.Tensor) -> Masked | None:
    named = [(n, v) for n, v in tensors.items() if "len" in n and v.dim() == 1 and v.shape[0] == ids.shape[0]]
    if len(named) != 1 or named[0][1].is_floating_point():
        return None
    name, lengths = named[0]
    if not 1 <= int(lengths.min()) < int(lengths.max()) <= ids.shape[1]:
        return None
    padding = torch.arange(ids.shape[1], device=ids.device) >= lengths.to(ids.device).unsqueeze(1)
    return Masked(ids, name, padding, by_lengths=True) if may_be_padding(padding, ids) else None


def _are_tokens(tensor: torch.Tensor) -> bool:
    if tensor.dim() == 3:
        return tensor.is_floating_point() and not tensor.requires_grad
    return tensor.dim() == 2 and tensor.dtype in (torch.int64, torch.int32)


def _is_mask(mask: torch.Tensor) -> bool:
    values = set(mask.unique().tolist())
    return values in ({0, 1}, {False, True})


def may_be_padding(chosen: torch.Tensor, ids: torch.Tensor) -> bool:
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
    before = _of_positions(forward(), ids) if bool(rows.any()) else None
    if before is None or found.by_lengths:
        return
    kept = ids.clone()
    others = ids[~padding].unique(dim=0)
    try:
        with _other_padding(found, padding):
            by_padding = _of_positions(forward(), ids)
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


def padding_shows(found: Masked, forward: Forward, alone: Callable[[int, slice], Any]) -> Iterator[dict[str, Any]]:
    """Yield how far padding moves what a model says of a whole row, although it was told which positions are padding.

    It does if the result changes with the tokens there, and is another one for the row alone, without its padding: a
    model that finds its padding in the tokens passes, and so does one whose convolutions look a little beyond the text.
    ``alone`` calls the model with one row and some positions.
    """
    ids, padding = found.ids, found.padding
    row = int(padding.sum(dim=1).argmax())
    at = (~padding[row]).nonzero().flatten()
    far = padding.clone()
    far[:, max(int(at[0]) - _NEAR, 0) : int(at[-1]) + 1 + _NEAR] = False
    if not bool(far[row].any()) or len(at) < 3 or ids.shape[1] in ids.shape[2:]:
        return
    before = _of_rows(forward(), ids)
    with _other_padding(found, far):
        moved = _of_rows(forward(), ids)
    single = _of_rows(alone(row, slice(int(at[0]), int(at[-1]) + 1)), ids[:1])
    if not before or len({len(before), len(moved), len(single)}) > 1:
        return
    for old, new, one in zip(before, moved, single, strict=True):
        if old.shape != new.shape or old.shape[1:] != one.shape[1:] or not bool(torch.isfinite(old).all()):
            continue
        if any(difference(old[row], new[row], old)):
            for change in difference(old[row], one[0], old):
                yield {"what": "padding-in-result", **change}
                return


@contextmanager
def _other_padding(found: Masked, chosen: torch.Tensor) -> Iterator[None]:
    """Put tokens of the text at chosen positions of padding."""
    ids, padding, kept = found.ids, found.padding, found.ids.clone()
    others = ids[~padding].unique(dim=0)
    try:
        ids[chosen] = others[torch.arange(int(chosen.sum()), device=ids.device) % len(others)]
        yield
    finally:
        ids.copy_(kept)


def _of_rows(value: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    found = outputs(value, min_axes=1)
    return [
        out for out in found if out.shape[0] == ids.shape[0] and out.dim() <= 2 and ids.shape[1] not in out.shape[1:]
    ]


def _of_positions(value: Any, ids: torch.Tensor) -> torch.Tensor | None:
    return next((out for out in outputs(value) if out.dim() == 3 and out.shape[:2] == ids.shape[:2]), None)
