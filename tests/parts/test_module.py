"""Typed calls: mypy knows what a model takes and returns; at run time it is a plain module."""

from __future__ import annotations

import pickle

import torch
from torch import Tensor, nn

from trainworthy.parts.models.decoder import Decoder
from trainworthy.parts.models.mlp import TabularMLP
from trainworthy.parts.module import TypedModule, count_parameters, module_names


def checked_by_mypy(model: Decoder, x: Tensor) -> tuple[Tensor, ...]:
    """Never called: mypy, run over the tests, fails if an ignore here is not needed or what is returned is Any."""
    model(x, weigths=True)  # type: ignore[call-arg]
    model()  # type: ignore[call-arg]
    model("text")  # type: ignore[arg-type]
    return model(x, weights=True).weights


def test_hooks_run_and_pickling_works() -> None:
    model, seen = TabularMLP(numeric=2), list[int]()
    model.register_forward_hook(lambda *_: seen.append(1))
    x = torch.ones(1, 2)
    assert torch.equal(model(x), model.forward(x))
    assert seen == [1]
    assert type(model).__call__ is nn.Module.__call__
    plain = TabularMLP(numeric=2)
    assert torch.equal(pickle.loads(pickle.dumps(plain))(x), plain(x))


def test_shared_weights_count_once_and_frozen_ones_not() -> None:
    class Shared(TypedModule):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(3, 3, bias=False)
            self.other = nn.Linear(3, 3, bias=False)
            self.other.weight = self.one.weight
            self.frozen = nn.Linear(9, 9).requires_grad_(False)

    assert count_parameters(Shared()) == 9
    assert module_names(Shared(), nn.Linear) == ["one", "other", "frozen"]
