"""GAN losses: the formulas by hand on a grid of logits, the theory's optimum, which generator keeps its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from trainworthy.errors import ShapeError, UsageError
from trainworthy.parts.losses.gan import GanKind, GanLoss, gradient_penalty

logit = st.floats(-8, 8)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@given(real=logit, fake=logit, label=st.sampled_from([0.9, 1.0]))
def test_losses_are_the_formulas_of_the_papers(real: float, fake: float, label: float) -> None:
    cross = -label * math.log(sigmoid(real)) - (1 - label) * math.log(1 - sigmoid(real)) - math.log(1 - sigmoid(fake))
    hand: dict[GanKind, tuple[float, float]] = {
        "minimax": (cross, math.log(1 - sigmoid(fake))),
        "non-saturating": (cross, -math.log(sigmoid(fake))),
        "least-squares": (((real - label) ** 2 + fake**2) / 2, (fake - 1) ** 2 / 2),
        "hinge": (max(0, 1 - real) + max(0, 1 + fake), -fake),
        "wasserstein": (fake - real, -fake),
    }
    for kind, (for_d, for_g) in hand.items():
        if label != 1 and kind in ("hinge", "wasserstein"):
            continue
        loss, tensor = GanLoss(kind=kind, real_label=label), torch.tensor
        got = loss.discriminator(tensor([real], dtype=torch.float64), tensor([fake], dtype=torch.float64))
        assert got.item() == pytest.approx(for_d, abs=1e-6)
        assert loss.generator(tensor([fake], dtype=torch.float64)).item() == pytest.approx(for_g, abs=1e-6)


def test_where_nothing_can_be_told_apart_the_game_is_worth_log_4() -> None:
    nothing = torch.zeros(5)
    assert GanLoss(kind="minimax").discriminator(nothing, nothing).item() == pytest.approx(math.log(4))


def test_a_sure_discriminator_starves_the_minimax_generator_only() -> None:
    slopes: dict[GanKind, float] = {}
    kinds: tuple[GanKind, ...] = ("minimax", "non-saturating")
    for kind in kinds:
        fake = torch.tensor([-10.0], requires_grad=True)
        GanLoss(kind=kind).generator(fake).backward()
        assert fake.grad is not None
        slopes[kind] = abs(fake.grad.item())
    assert slopes["minimax"] < 1e-4
    assert slopes["non-saturating"] > 0.99


@pytest.mark.parametrize("kind", ["minimax", "non-saturating", "least-squares", "hinge", "wasserstein"])
def test_each_network_wants_what_it_should(kind: GanKind) -> None:
    real, fake = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    up, down = torch.autograd.grad(GanLoss(kind=kind).discriminator(real, fake), (real, fake))
    assert up.item() < 0 <= down.item()  # of least squares 0 is what a fake should have
    assert torch.autograd.grad(GanLoss(kind=kind).generator(fake), fake)[0].item() < 0


def test_flipped_labels_are_the_share_said_and_repeat_by_seed() -> None:
    real, fake = torch.full((20_000,), 3.0), torch.full((20_000,), -3.0)
    loss = GanLoss(flip=0.25)
    one, other = (loss.discriminator(real, fake, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    assert one.item() == other.item()
    right, wrong = -math.log(sigmoid(3)), -math.log(sigmoid(-3))
    assert one.item() == pytest.approx(2 * (0.75 * right + 0.25 * wrong), rel=0.05)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    torch.manual_seed(0)
    critic = nn.Linear(6, 1)
    got = gradient_penalty(critic, torch.randn(5, 6), torch.randn(5, 6))
    assert got.item() == pytest.approx((critic.weight.norm().item() - 1) ** 2, rel=1e-5)
    got.backward()
    assert critic.weight.grad is not None
    norm = critic.weight.detach().norm()
    torch.testing.assert_close(critic.weight.grad, 2 * (norm - 1) * critic.weight.detach() / norm)


def test_the_points_lie_between() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum(dim=(1, 2))

    real, fake = torch.zeros(50, 2, 2), torch.ones(50, 2, 2)
    gradient_penalty(critic, real, fake, generator=torch.Generator().manual_seed(0))
    assert seen[0].min() > 0
    assert seen[0].max() < 1
    assert torch.equal(seen[0][:, 0, 0], seen[0][:, 1, 1])  # one share a sample
    assert seen[0].std() > 0.1


def test_a_critic_without_slope_has_a_gradient_that_is_a_number() -> None:
    weight = torch.zeros(3, requires_grad=True)
    gradient_penalty(lambda x: (x * weight).sum(1), torch.randn(2, 3), torch.randn(2, 3)).backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match="no GAN loss 'vanilla'"):
        GanLoss(kind="vanilla")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"flip is 1\.5"):
        GanLoss(flip=1.5)
    with pytest.raises(UsageError, match="hinge loss has no labels"):
        GanLoss(kind="hinge", real_label=0.9)
    with pytest.raises(ShapeError, match=r"real has shape \(2, 3\), fake \(1, 3\)"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(2, 3), torch.zeros(1, 3))
