"""Attention masks whose polarity is part of their type.

torch has two conventions for a boolean mask. ``scaled_dot_product_attention`` takes True = *may be attended*;
``nn.MultiheadAttention`` and ``nn.Transformer`` take True = *hidden*. Exchanged, training still runs and the loss still
falls, for the future is then seen. Here a mask is a :data:`Keep` or a :data:`Hidden`; a type checker refuses one where
the other is wanted, and nothing but :func:`hide` and :func:`keep` goes from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NewType

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainworthy.errors import ShapeError, UsageError

if TYPE_CHECKING:
    Keep = NewType("Keep", Tensor)
    Hidden = NewType("Hidden", Tensor)
else:  # torch.compile does not trace the call of a NewType, which is a class; a function it does

    def Keep(mask):  # noqa: N802  (a type, to type checkers)
        """Say that True = may be attended (``F.scaled_dot_product_attention``; ``attention_mask`` of Hugging Face)."""
        return mask

    def Hidden(mask):  # noqa: N802
        """Say that True = hidden (``attn_mask`` and ``key_padding_mask`` of ``nn.MultiheadAttention``)."""
        return mask


Side = Literal["left", "right"]


def hide(mask: Keep) -> Hidden:
    """Turn a mask of what may be attended into one of what is hidden.

    >>> hide(Keep(torch.tensor([True, False])))
    tensor([False,  True])
    """
    return Hidden(~mask)


def keep(mask: Hidden) -> Keep:
    """Turn a mask of what is hidden into one of what may be attended.

    >>> keep(Hidden(torch.tensor([False, True])))
    tensor([ True, False])
    """
    return Keep(~mask)


def additive(mask: Keep, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the mask to add to scores: 0 where it may be attended, minus infinity elsewhere.

    >>> additive(Keep(torch.tensor([True, False])))
    tensor([0., -inf])
    """
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, float("-inf"))


def lengths_keep(lengths: Tensor, size: int, side: Side = "right") -> Keep:
    """Return which positions are real, from the lengths of padded sequences.

    Shapes:   lengths (B,) -> (B, size)

    >>> lengths_keep(torch.tensor([1, 3]), 3, side="left").int()
    tensor([[0, 0, 1],
            [1, 1, 1]], dtype=torch.int32)

    Raises:
        UsageError: If there is no such side.
    """
    positions = torch.arange(size, device=lengths.device)
    if _checked(side) == "right":
        return Keep(positions < lengths[:, None])
    return Keep(positions >= size - lengths[:, None])


def token_keep(tokens: Tensor, *, pad: int) -> Keep:
    """Return which positions are not padding, from the padding token.

    Right only if that token stands for nothing else; where it is also the end of text, use :func:`lengths_keep`.

    Shapes:   (B, T) -> (B, T)

    >>> token_keep(torch.tensor([[7, 8, 0]]), pad=0)
    tensor([[ True,  True, False]])
    """
    return Keep(tokens != pad)


def causal_keep(size: int, *, past: int = 0, device: torch.device | str | None = None) -> Keep:
    """Return that a position may see itself and what is before it.

    Shapes:   -> (size, past + size); ``past`` keys come before the first query

    >>> causal_keep(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return Keep(torch.ones(size, past + size, dtype=torch.bool, device=device).tril(past))


def attention_keep(
    *, query_size: int, key_keep: Keep | None = None, causal: bool = False, device: torch.device | str | None = None
) -> Keep | None:
    """Combine padding and causality into the mask of ``scaled_dot_product_attention``; None if nothing is hidden.

    With causality each position also keeps itself, padding or not: with padding on the left, a padded query would
    otherwise see nothing at all, and a softmax over nothing is NaN in some kernels. What a padded position computes is
    seen by nobody but itself, and the loss ignores it.

    Shapes:   key_keep (B, S), S at least query_size -> (B, 1, query_size, S), or (query_size, query_size) without it

    >>> attention_keep(query_size=3, key_keep=Keep(torch.tensor([[False, True, True]])), causal=True).int()
    tensor([[[[1, 0, 0],
              [0, 1, 0],
              [0, 1, 1]]]], dtype=torch.int32)

    Raises:
        ShapeError: If ``key_keep`` is not (B, S), or with causality S is below ``query_size``.
    """
    if key_keep is None:
        return causal_keep(query_size, device=device) if causal else None
    if key_keep.dim() != 2:
        raise ShapeError(
            f"key_keep has shape {tuple(key_keep.shape)}; it must be (batch, keys).",
            fix="Give which keys are real, such as lengths_keep(lengths, size) returns.",
        )
    batch, keys = key_keep.shape
    if not causal:
        return Keep(key_keep[:, None, None, :].expand(batch, 1, query_size, keys))
    if keys < query_size:
        raise ShapeError(f"{query_size} queries cannot be the last of {keys} keys.", fix="Give a mask of all keys.")
    seen = causal_keep(query_size, past=keys - query_size, device=key_keep.device)
    itself = torch.eye(query_size, keys, dtype=torch.bool, device=key_keep.device).roll(keys - query_size, dims=1)
    return Keep((seen & key_keep[:, None, None, :]) | itself)


def positions_of(real: Keep) -> Tensor:
    """Return the position of each token among the real ones of its sequence; padding gets 0.

    With padding on the left, ``arange`` would give the first real token a position that depends on the batch.

    Shapes:   (B, T) -> (B, T), int64

    >>> positions_of(Keep(torch.tensor([[False, False, True, True]])))
    tensor([[0, 0, 0, 1]])
    """
    return (real.long().cumsum(dim=1) - 1).clamp_min(0) * real


def pad(sequences: Sequence[Tensor], *, value: float = 0.0, side: Side = "right") -> Tensor:
    """Stack sequences of different lengths, batch first.

    Shapes:   each (T_i, ...) -> (B, max T_i, ...)

    Raises:
        UsageError: If there is no sequence or no such side.

    >>> pad([torch.tensor([1]), torch.tensor([2, 3])], side="left")
    tensor([[0, 1],
            [2, 3]])
    """
    if not sequences:
        raise UsageError("There is no sequence to pad.", fix="Give at least one.")
    return pad_sequence(list(sequences), batch_first=True, padding_value=value, padding_side=_checked(side))


def left_pad_sequence(sequences: Sequence[Tensor], *, batch_first: bool = False, padding_value: float = 0.0) -> Tensor:
    """Do as ``torch.nn.utils.rnn.pad_sequence`` does, with the padding on the left, as generation wants it.

    Shapes:   each (T_i, ...) -> (max T_i, B, ...), or (B, max T_i, ...) with ``batch_first``

    >>> left_pad_sequence([torch.tensor([1]), torch.tensor([2, 3])], batch_first=True)
    tensor([[0, 1],
            [2, 3]])

    Raises:
        UsageError: If there is no sequence.
    """
    stacked = pad(sequences, value=padding_value, side="left")
    return stacked if batch_first else stacked.transpose(0, 1)


def _checked(side: str) -> str:
    if side not in ("left", "right"):
        raise UsageError(f"There is no side {side!r} to pad on.", fix="Known: left, right.")
    return side
