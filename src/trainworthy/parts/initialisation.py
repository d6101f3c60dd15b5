"""Initialisation, and two checks of it: units that are copies of each other, and signals that grow or fade.

Why not zeros? Units of a layer whose weights are equal compute the same; where they also get the same gradient they
stay equal for ever, and the layer learns as if it had one unit. A network of zeros, or of any constant, is so; and
behind a weight of zero there is no gradient at all. :func:`copied_units` finds such layers. Biases may be zero, since
the weights tell the units apart; so may the last layer of a residual branch or of a network, whose units get different
gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from trainworthy.errors import UsageError
from trainworthy.formulas.initialisation import gain, spread

Scheme = Literal["xavier", "he", "orthogonal", "normal"]
_SCHEMES = ("xavier", "he", "orthogonal", "normal")


def initialise(
    model: nn.Module, *, scheme: Scheme = "he", activation: str = "relu", std: float = 0.02, branches: int = 0,
    branch_ends: Sequence[str] = (),
) -> nn.Module:  # fmt: skip
    """Draw the weights of linear layers, convolutions and embeddings; set biases to 0. Norms stay as they are.

    - ``xavier``: N(0, gain^2 2 / (fan_in + fan_out)), for tanh and linear layers (Glorot and Bengio 2010);
    - ``he``: N(0, gain^2 / fan_in), for ReLU and its like (He et al. 2015, arXiv 1502.01852);
    - ``orthogonal``: gain times an orthogonal matrix, which keeps norms exactly in deep linear networks (Saxe et al.
      2014, arXiv 1312.6120);
    - ``normal``: N(0, std^2), as transformers do.

    With ``branches``, layers whose name ends in one of ``branch_ends`` are divided by sqrt(branches): a stream to which
    so many branches are added then keeps its variance (GPT-2 with ``2 * blocks``).

    Args:
        model: Changed in place, and returned.
        scheme: One of the four. Embeddings are always N(0, std^2).
        activation: What follows the layers; it gives the gain.
        std: For ``normal`` and for embeddings.
        branches: Number of residual branches; 0: none.
        branch_ends: Ends of names, such as ``("attention.out", "contract")``.

    >>> model = initialise(nn.Linear(1000, 1000), scheme="he")
    >>> round(model.weight.std().item() * 1000**0.5, 1)
    1.4

    Raises:
        UsageError: If there is no such scheme or activation, or no layer has one of ``branch_ends``.
    """
    if scheme not in _SCHEMES:
        raise UsageError(f"There is no scheme {scheme!r}.", fix=f"Known: {', '.join(_SCHEMES)}.")
    factor, narrowed = gain(activation=activation), 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, std)
        if not isinstance(module, (nn.Linear, _ConvNd)):
            continue
        _draw(module.weight, scheme, factor, std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if branches and name.endswith(tuple(branch_ends)):
            with torch.no_grad():
                module.weight /= math.sqrt(branches)
            narrowed += 1
    if branches and not narrowed:
        raise UsageError(f"No layer's name ends in any of {tuple(branch_ends)}.")
    return model


def _draw(weight: Tensor, scheme: Scheme, factor: float, std: float) -> None:
    if scheme == "orthogonal":
        nn.init.orthogonal_(weight, factor)
        return
    if scheme == "xavier":
        std = spread(shape=weight.shape, scheme="xavier", distribution="normal", gain=factor).std
    elif scheme == "he":
        std = spread(shape=weight.shape, scheme="kaiming", distribution="normal", gain=factor).std
    nn.init.normal_(weight, 0.0, std)


def copied_units(model: nn.Module, *inputs: Any, output: Callable[[Any], Tensor] | None = None) -> list[str]:
    """Return the names of layers whose units are all equal, in their weights and in their gradients: they stay so.

    The gradient is that of a random direction at the output, in evaluation mode. Nothing is changed.

    Args:
        model: What is checked.
        *inputs: What it is called with: several samples that differ.
        output: Takes the tensor out of what the model returns; None: it is a tensor.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> copied_units(model, torch.randn(5, 3))
    []
    >>> for parameter in model.parameters():
    ...     _ = nn.init.constant_(parameter, 0.1)
    >>> copied_units(model, torch.randn(5, 3))
    ['0']
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (nn.Linear, _ConvNd)) and _units(m) > 1}
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.enable_grad():
            out = model.eval()(*inputs)
    finally:
        for module, training in modes.items():
            module.training = training
    end = out if output is None else output(out)
    wanted = [parameter for layer in layers.values() for parameter in layer.parameters(recurse=False)]
    found = torch.autograd.grad(end, wanted, torch.randn_like(end), allow_unused=True)
    gradients = dict(zip(wanted, found, strict=True))
    return [
        name
        for name, layer in layers.items()
        if all(
            _rows_equal(layer, kind, value) and _rows_equal(layer, kind, gradients[value])
            for kind, value in layer.named_parameters(recurse=False)
        )
    ]


def _units(layer: nn.Linear | _ConvNd) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _rows_equal(layer: nn.Module, kind: str, values: Tensor | None) -> bool:
    """Say whether all units have the same, but for rounding; a gradient that is not there is nothing, for all."""
    if values is None:
        return True
    transposed = isinstance(layer, _ConvNd) and layer.transposed and kind == "weight"
    rows = values.detach().transpose(0, 1) if transposed else values.detach()
    return bool(((rows - rows[:1]).abs().max() <= 1e-5 * rows.abs().max()).item())


class Signal(NamedTuple):
    """What goes through a layer.

    Attributes:
        name: Of the layer.
        forward: Mean square of its output.
        backward: Mean square of the gradient at its output, relative to that at the output of the last layer.
    """

    name: str
    forward: float
    backward: float


def signals(
    model: nn.Module, *inputs: Any, kinds: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    output: Callable[[Any], Tensor] | None = None,
) -> list[Signal]:  # fmt: skip
    """Measure the mean square of every layer's output, and of the gradient there, for a random gradient at the end.

    Neither should change much from layer to layer: a factor of 2 in each of 50 layers is 10^15. The weights, their
    gradients and the mode stay as they are.

    Args:
        model: What is measured.
        *inputs: What it is called with; standardised data, or ``torch.randn``.
        kinds: Modules that are layers; each is told at its first call.
        output: Takes the tensor out of what the model returns; None: it is a tensor.

    >>> deep = nn.Sequential(*[nn.Linear(64, 64) for _ in range(30)])
    >>> faded = signals(deep, torch.randn(8, 64))
    >>> faded[0].backward < 1e-10  # torch's own initialisation has a gain of 1 / sqrt(3)
    True

    Raises:
        UsageError: If no layer of these kinds was called.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, out: Any) -> None:
            if name not in kept and isinstance(out, Tensor) and out.requires_grad:
                kept[name] = out

        return hook

    handles = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if isinstance(m, kinds)]
    try:
        with torch.enable_grad():
            out = model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not kept:
        raise UsageError(f"No module of {', '.join(kind.__name__ for kind in kinds)} was called.")
    end = out if output is None else output(out)
    gradients = torch.autograd.grad(end, list(kept.values()), torch.randn_like(end), allow_unused=True)
    back = [0.0 if gradient is None else gradient.square().mean().item() for gradient in gradients]
    scale = next((value for value in reversed(back) if value > 0), 1.0)
    return [
        Signal(name, tensor.detach().square().mean().item(), value / scale)
        for (name, tensor), value in zip(kept.items(), back, strict=True)
    ]


def check_signals(found: Sequence[Signal], *, most: float = 100.0) -> list[str]:
    """Return in words what grows or fades by more than a factor between the first and any later layer.

    Args:
        found: From :func:`signals`.
        most: How much a mean square may change.

    >>> check_signals([Signal("a", 1.0, 1.0), Signal("b", 1e-6, 1.0)])
    ['The output of b has a mean square of 1e-06, that of a 1: the signal fades.']
    """
    said = []
    for what, values in (("output", [s.forward for s in found]), ("gradient", [s.backward for s in found][::-1])):
        names = [signal.name for signal in found]
        names = names if what == "output" else names[::-1]
        for name, value in zip(names, values, strict=True):
            ratio = value / values[0] if values[0] else math.inf
            if not 1 / most <= ratio <= most:
                verb = "grows" if ratio > 1 else "fades"
                whole = f"The {what} of {name} has a mean square of {value:.3g}, that of {names[0]} {values[0]:.3g}"
                said.append(f"{whole}: the {'signal' if what == 'output' else 'gradient'} {verb}.")
                break
    return said
