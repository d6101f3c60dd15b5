"""Accumulation: the gradient of the large batch under any split, with uneven tokens, alone and over real ranks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distributed.gloo import run_ranks
from parts.ranks import accumulate_share, token_batch, token_model
from trainworthy.errors import UsageError
from trainworthy.parts.accumulation import accumulate
from trainworthy.parts.losses.cross_entropy import cross_entropy, target_weight

Pair = tuple[Tensor, Tensor]


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def of_the_large_batch() -> tuple[Tensor, Tensor]:
    model, (tokens, targets) = token_model(), token_batch()
    loss = torch.nn.functional.cross_entropy(model(tokens).transpose(1, 2), targets)
    loss.backward()
    return gradient(model), loss.detach()


def summed(model: nn.Module, batch: Pair) -> Tensor:
    return cross_entropy(model(batch[0]).transpose(1, 2), batch[1]).total


def counted(batch: Pair) -> Tensor:
    return target_weight(batch[1])


@given(cuts=st.lists(st.integers(1, 11), max_size=5, unique=True))
@settings(max_examples=20)
def test_any_split_gives_the_gradient_of_the_large_batch(cuts: list[int]) -> None:
    want, loss = of_the_large_batch()
    tokens, targets = token_batch()
    at = sorted(cuts)
    parts = list(zip(torch.tensor_split(tokens, at), torch.tensor_split(targets, at), strict=True))
    model = token_model()
    step = accumulate(model, parts, loss=summed, weight=counted)
    assert (gradient(model) - want).abs().max() <= 1e-6 * want.abs().max()
    assert step.loss.item() == pytest.approx(loss.item(), rel=1e-6)
    assert step.weight.item() == (targets != -100).sum().item()


def test_averaging_means_is_another_gradient() -> None:
    want, _ = of_the_large_batch()
    model, (tokens, targets) = token_model(), token_batch()
    for x, y in zip(tokens.split(4), targets.split(4), strict=True):
        (torch.nn.functional.cross_entropy(model(x).transpose(1, 2), y) / 3).backward()
    assert (gradient(model) - want).norm() > 0.1 * want.norm()


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_uneven_shares_give_it_too(tmp_path: Path, ranks: int) -> None:
    want, loss = of_the_large_batch()
    for got, mean, exchanged in run_ranks(partial(accumulate_share), ranks, tmp_path):
        assert (got - want).abs().max() <= 1e-6 * want.abs().max()
        assert mean == pytest.approx(loss.item(), rel=1e-6)
        assert exchanged == 1


def test_a_scaler_scales() -> None:
    want, _ = of_the_large_batch()
    model, (tokens, targets) = token_model(), token_batch()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    accumulate(model, [(tokens, targets)], loss=summed, weight=counted, scaler=scaler)
    torch.testing.assert_close(gradient(model), 8 * want)


def test_nothing_to_learn_from_is_said() -> None:
    model, tokens = token_model(), torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(UsageError, match="no micro-batch"):
        accumulate(model, [], loss=summed, weight=counted)
    with pytest.raises(UsageError, match="weigh 0: there is nothing"):
        accumulate(model, [(tokens, tokens - 100)], loss=summed, weight=counted)
