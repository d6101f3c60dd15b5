from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.train.clipping import clip_factor, gradient_norm, host_norm, scale_gradients


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), limit=st.floats(0.01, 10))
def test_agrees_with_torch(seed: int, sizes: list[int], limit: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    parameters = [torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    norm, before = gradient_norm(gradients), host_norm(gradients)
    scale_gradients(gradients, clip_factor(norm, limit))
    theirs = torch.nn.utils.clip_grad_norm_(parameters, limit)
    torch.testing.assert_close(norm, theirs)
    assert before == pytest.approx(theirs.item())
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_types_may_be_mixed() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([4.0], dtype=torch.float64)]
    assert gradient_norm(gradients).item() == pytest.approx(5.0)
    scale_gradients(gradients, 0.5)
    assert [each.item() for each in gradients] == [1.5, 2.0]


def test_no_gradient_has_no_length() -> None:
    assert gradient_norm([]).item() == 0


def test_nan_is_not_hidden() -> None:
    assert gradient_norm([torch.tensor([1.0]), torch.tensor([float("nan")])]).isnan()
