"""Weight decay is for matrices; nothing is lost between the groups."""

from __future__ import annotations

import torch
from torch import nn

from trainworthy.train.optimizers import adamw, decay_groups, sgd


def test_vectors_are_not_decayed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Embedding(5, 4))
    decayed, kept = decay_groups(list(model.named_parameters()), 0.3)
    assert [tuple(each.shape) for each in decayed["params"]] == [(4, 3), (5, 4)]
    assert [tuple(each.shape) for each in kept["params"]] == [(4,), (4,), (4,)]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert len(decay_groups(list(nn.Embedding(2, 2).named_parameters()), 0.1)) == 1


def test_a_step_without_gradient_shrinks_matrices_only() -> None:
    for make in (adamw(0.1, weight_decay=0.5), sgd(0.1, weight_decay=0.5)):
        model = nn.Linear(2, 2)
        before = {name: each.detach().clone() for name, each in model.named_parameters()}
        optimizer = make(list(model.named_parameters()))
        for each in model.parameters():
            each.grad = torch.zeros_like(each)
        optimizer.step()
        torch.testing.assert_close(model.weight, before["weight"] * (1 - 0.1 * 0.5))
        assert torch.equal(model.bias, before["bias"])
