"""Masks of attention beside what they hide: the past instead of the future, the text instead of its padding.

Seen where positions are hidden: in what ``scaled_dot_product_attention`` and ``nn.MultiheadAttention`` are given, and
in scores that go into a softmax with numbers far below all others, however they came there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeGuard

import torch

from trainworthy.check.live.facts_seldom import HiddenText
from trainworthy.check.live.masks import may_be_padding
from trainworthy.check.live.watch import Watch, plain

_STEPS, _MAX_LOOKS = 2, 8
_LOW = -1e4  # what is added to, or put in the place of, scores that are to be hidden
_LEAST = 4  # positions


class HidingWatch:
    """Looks at the masks of the first steps."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._looks = 0

    def see(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], given: Iterable[Any], source: int) -> None:
        """Look at the mask of a call; ``given`` is what the model was given."""
        if self.watch.step >= _STEPS or self._looks >= _MAX_LOOKS:
            return
        for hidden in _hidden(name, args, kwargs):
            self._looks += 1
            what: Literal["past", "text"] = "past" if _hides_the_past(hidden) else "text"
            if what == "past" or _hides_the_text(hidden, given):
                self.watch.facts.hidden_texts.append(HiddenText(
                    step=self.watch.step, place=self.watch.place_of(source), what=what, shape=tuple(hidden.shape),
                    operation=name,
                ))  # fmt: skip


def _hidden(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return where a call's scores are hidden, as (..., queries, keys)."""
    if name == "scaled_dot_product_attention":
        mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
        found = [mask.logical_not() if mask.dtype is torch.bool else _low(mask)] if _is_plain(mask) else []
    elif name == "multi_head_attention_forward":
        masks = [(kwargs.get("attn_mask"), False), (kwargs.get("key_padding_mask"), True)]
        found = [
            (mask if mask.dtype is torch.bool else _low(mask))[(slice(None), None) if of_keys else ...]
            for mask, of_keys in masks if _is_plain(mask)
        ]  # fmt: skip
    else:
        scores = args[0] if args else kwargs.get("input")
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        found = [_low(scores)] if _is_plain(scores) and scores.dim() >= 3 and dim in (-1, scores.dim() - 1) else []
    return [one for one in found if one.dim() >= 2 and one.shape[-1] >= _LEAST and bool(one.any())]


def _is_plain(value: Any) -> TypeGuard[torch.Tensor]:
    return plain(value)


def _low(scores: torch.Tensor) -> torch.Tensor:
    return torch.le(scores.detach(), _LOW)


def _hides_the_past(hidden: torch.Tensor) -> bool:
    """Say whether each position is to see nothing but later ones, so that the last sees nothing."""
    if hidden.shape[-1] != hidden.shape[-2]:
        return False
    seen = hidden.logical_not()
    return bool(seen[..., 0, 1:].any()) and bool(seen[..., -2, -1].any()) and not bool(seen.tril().any())


def _hides_the_text(hidden: torch.Tensor, given: Iterable[Any]) -> bool:
    """Say whether all that is seen of what a model was given is one token at an end of each row."""
    nobody_sees = hidden.flatten(1, -2).all(1) if hidden.dim() > 2 else hidden
    shown = nobody_sees.logical_not()
    for each in given:
        ids = each if each.shape[:2] == shown.shape or each.dim() < 2 else each.transpose(0, 1)
        if not _are_tokens(ids) or ids.shape[:2] != shown.shape or ids.device != shown.device:
            continue
        if bool(shown.any()) and may_be_padding(shown, ids):
            same = (ids == ids[shown][0]).reshape(*shown.shape, -1).all(-1)
            return not bool(same[nobody_sees].any())
    return False


def _are_tokens(given: torch.Tensor) -> bool:
    """Say whether a tensor holds tokens, or vectors in their place."""
    if given.dim() == 3:
        return given.is_floating_point() and not given.requires_grad
    return given.dim() == 2 and given.dtype in (torch.int64, torch.int32)
