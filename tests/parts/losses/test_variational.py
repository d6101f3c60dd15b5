"""The variational bound against torch.distributions and, where it is exact, against the marginal likelihood."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Normal, kl_divergence

from trainworthy.parts.losses.variational import Likelihood, kl_to_standard_normal, negative_elbo


@given(seed=st.integers(0, 2**31))
def test_divergence_is_that_of_torch(seed: int) -> None:
    torch.manual_seed(seed)
    mean, log_variance = torch.randn(3, 4), torch.randn(3, 4)
    want = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), want)


@pytest.mark.parametrize("likelihood", ["bernoulli", "normal"])
def test_reconstruction_is_a_log_likelihood(likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    logits, x = torch.randn(3, 2, 5), torch.rand(3, 2, 5).round()
    law: Any = Bernoulli(logits=logits) if likelihood == "bernoulli" else Normal(logits, 1.0)
    zero = torch.zeros(3, 2)
    got = negative_elbo(logits, zero, zero, x=x, likelihood=likelihood)
    torch.testing.assert_close(got.total, -law.log_prob(x).sum())
    assert got.weight.item() == 3


def test_the_bound_is_the_likelihood_where_the_posterior_is_exact() -> None:
    # x = z + noise, both standard normal: q(z | x) = N(x / 2, 1 / 2) and x is N(0, 2).
    x, draws = torch.tensor([[1.5]]), 200_000
    torch.manual_seed(0)
    mean, log_variance = (x / 2).expand(draws, 1), torch.full((draws, 1), math.log(0.5))
    z = mean + torch.randn(draws, 1) * math.sqrt(0.5)
    bound = negative_elbo(z, mean, log_variance, x=x.expand(draws, 1), likelihood="normal")
    assert bound.mean.item() == pytest.approx(-Normal(0.0, math.sqrt(2)).log_prob(x).item(), abs=0.01)


def test_beta_weighs_the_divergence() -> None:
    mean, zero = torch.ones(1, 3), torch.zeros(1, 3)
    one, two = (negative_elbo(torch.zeros(1, 2), mean, zero, x=torch.zeros(1, 2), beta=beta).total for beta in (1, 2))
    assert (two - one).item() == pytest.approx(1.5)
