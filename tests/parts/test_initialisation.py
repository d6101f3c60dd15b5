"""Initialisation: the moments asked for, copies found where training shows them, signals that fade or not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainworthy.errors import UsageError
from trainworthy.parts.initialisation import Scheme, Signal, check_signals, copied_units, initialise, signals
from trainworthy.parts.models.fcn import FCN
from trainworthy.parts.models.resnet import ResNet


@pytest.mark.parametrize(
    ("scheme", "layer", "std"),
    [
        ("he", nn.Linear(400, 300), math.sqrt(2 / 400)),
        ("he", nn.Conv2d(40, 300, 3), math.sqrt(2 / 360)),
        ("xavier", nn.Linear(400, 300), math.sqrt(2) * math.sqrt(2 / 700)),
        ("xavier", nn.Conv1d(40, 300, 5), math.sqrt(2) * math.sqrt(2 / (5 * 340))),
        ("orthogonal", nn.Linear(300, 300), math.sqrt(2) / math.sqrt(300)),
        ("normal", nn.Linear(300, 400), 0.02),
        ("xavier", nn.Embedding(300, 400), 0.02),
    ],
)
def test_weights_have_the_spread_said_and_biases_none(scheme: Scheme, layer: nn.Module, std: float) -> None:
    torch.manual_seed(0)
    initialise(layer, scheme=scheme)
    weight = layer.get_parameter("weight")
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert weight.mean().abs().item() < 4 * std / math.sqrt(weight.numel())
    if not isinstance(layer, nn.Embedding):
        assert not layer.get_parameter("bias").any()


def test_orthogonal_weights_keep_norms() -> None:
    layer = nn.Linear(20, 20)
    initialise(layer, scheme="orthogonal", activation="linear")
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(20), atol=1e-5, rtol=0)


class Stream(nn.Module):
    """Forty residual branches."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.ModuleDict({"begin": nn.Linear(64, 64), "end": nn.Linear(64, 64)}) for _ in range(40)
        )
        self.skipped = nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        for branch in self.branches:
            x = x + branch["end"](torch.relu(branch["begin"](self.skipped(x))))  # type: ignore[index]
        return x


def test_a_stream_keeps_its_size_if_its_branches_end_narrower() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 64)
    grown = initialise(Stream())(x).square().mean()
    kept = initialise(Stream(), branches=40, branch_ends=("end",))(x).square().mean()
    assert grown > 30
    assert kept < 5
    with pytest.raises(UsageError, match=r"No layer's name ends in any of \('finish',\)"):
        initialise(Stream(), branches=40, branch_ends=("finish",))


def trained(fill: Callable[[Tensor], Tensor]) -> tuple[nn.Sequential, list[str]]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(9, 3)
    for parameter in model.parameters():
        fill(parameter)
    copies = copied_units(model, x)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        (model(x) - x[:, :2].sin()).square().sum().backward()
        optimizer.step()
    return model, copies


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_constant_layers_are_named_and_training_does_not_part_their_units(value: float) -> None:
    model, copies = trained(lambda parameter: nn.init.constant_(parameter, value))
    assert copies == ["0", "2"]
    for name in copies:
        weight = model.get_submodule(name).get_parameter("weight")
        torch.testing.assert_close(weight, weight[:1].expand_as(weight), rtol=1e-3, atol=1e-4)
    last = model.get_submodule("4").get_parameter("bias")
    assert not torch.equal(last[0], last[1])


def test_random_weights_with_zero_biases_part() -> None:
    model, copies = trained(lambda p: nn.init.normal_(p) if p.dim() > 1 else nn.init.zeros_(p))
    assert copies == []
    assert model.get_submodule("0").get_parameter("weight").std(dim=0).min() > 0.1


def test_models_that_begin_with_some_zeros_on_purpose_are_not_named() -> None:
    x = torch.randn(4, 1, 32, 32)
    fcn = FCN(8, classes=3, channels=1, depth=11, width=2, hidden=4, kernel=1, padding="same")
    assert copied_units(fcn, x) == []
    resnet = ResNet(18, channels=1, width=4, stem="small", zero_residual=True).train()
    before = [module.training for module in resnet.modules()]
    copies = copied_units(resnet, x)
    assert [module.training for module in resnet.modules()] == before
    assert copies == []


def test_a_transposed_convolution_has_its_units_in_the_second_dimension() -> None:
    layer = nn.ConvTranspose2d(2, 3, 2)
    model = nn.Sequential(layer, nn.Tanh(), nn.Conv2d(3, 2, 1))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    with torch.no_grad():
        layer.weight[1] = 0.2  # inputs differ, units do not
    assert copied_units(model, torch.randn(2, 2, 3, 3)) == ["0"]


def deep(scheme: Scheme) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(layer for _ in range(30) for layer in (initialise(nn.Linear(64, 64), scheme=scheme), nn.ReLU()))
    )


def test_he_keeps_signal_and_gradient_where_a_narrow_normal_loses_both() -> None:
    x = torch.randn(256, 64)
    kept = signals(deep("he"), x)
    assert len(kept) == 30
    assert check_signals(kept) == []
    # Of a narrow normal each layer takes 64 * 0.02^2 / 2 of the mean square.
    lost = signals(deep("normal"), x)
    assert lost[9].forward / lost[8].forward == pytest.approx(64 * 0.02**2 / 2, rel=0.3)
    said = check_signals(lost)
    assert len(said) == 2
    assert said[0].startswith("The output of 4 has a mean square of")
    assert said[0].endswith("the signal fades.")
    assert said[1].endswith("the gradient fades.")


def test_signals_are_measured_by_hand_on_two_layers() -> None:
    begin, end = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
    begin.weight.data, end.weight.data = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 2.0]])
    model = nn.Sequential(begin, end)
    first, last = signals(model, torch.tensor([[1.0, 1.0]]))
    assert (first.forward, last.forward, last.backward) == (5.0, 25.0, 1.0)
    assert first.backward == pytest.approx(2.5)  # (1 + 4) / 2
    assert all(parameter.grad is None for parameter in model.parameters())


def test_growth_is_said() -> None:
    assert check_signals([Signal("a", 1.0, 1e6), Signal("b", 1e4, 1.0)]) == [
        "The output of b has a mean square of 1e+04, that of a 1: the signal grows.",
        "The gradient of a has a mean square of 1e+06, that of b 1: the gradient grows.",
    ]


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match="no scheme 'zeros'"):
        initialise(nn.Linear(1, 1), scheme="zeros")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="No module of Linear"):
        signals(nn.ReLU(), torch.zeros(1, 1, requires_grad=True))
