"""The VAE: the draw has the mean and variance said, gradients go through it, evaluation takes the mean."""

from __future__ import annotations

import pytest
import torch

from trainworthy.parts.models.vae import Vae


def test_the_draw_has_the_moments_of_the_encoder() -> None:
    torch.manual_seed(0)
    model = Vae(shape=(3,), latent=2, hidden=())
    drawn = []
    model.decoder.register_forward_pre_hook(lambda _, given: drawn.append(given[0].detach()))
    x = torch.randn(3).expand(20_000, 3)
    out = model(x)
    assert drawn[0].mean(0).tolist() == pytest.approx(out.mean[0].tolist(), abs=0.03)
    assert drawn[0].var(0).tolist() == pytest.approx(out.log_variance[0].exp().tolist(), rel=0.05)
    model.eval()
    assert torch.equal(model(x[:2]).logits, model.decode(out.mean[:2]))


def test_gradients_go_through_the_draw() -> None:
    model = Vae(shape=(2, 2), latent=3, hidden=(8,))
    model(torch.randn(4, 2, 2)).logits.square().sum().backward()
    assert model.log_variance.weight.grad is not None
    assert model.log_variance.weight.grad.abs().sum() > 0
