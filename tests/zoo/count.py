"""Ways to count multiply-adds that share no code with the package under test.

By dispatch and by hooks share no code with each other either.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.layers import ScaledDotProduct

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


def parameters(model: nn.Module) -> int:
    """Count trainable numbers; a tied tensor counts once."""
    return sum(p.numel() for p in model.parameters())


def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build without allocating, in evaluation mode."""
    with torch.device("meta"):
        return build().eval()


def macs_by_dispatch(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Count forward multiply-adds of convolutions and matrix products as they are dispatched."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, *input_size, device="meta"))
    return int(counter.get_total_flops()) // 2


def macs_by_hooks(model: nn.Module, input_size: tuple[int, ...]) -> tuple[int, int]:
    """Count forward multiply-adds from layer shapes.

    Returns those of convolutions and linear layers, and those of attention.
    """
    layers = attention = 0

    def seen(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal layers, attention
        if isinstance(module, nn.ConvTranspose2d):
            layers += args[0].numel() * module.out_channels // module.groups * _area(module)
        elif isinstance(module, nn.Conv2d):
            layers += out.numel() * module.in_channels // module.groups * _area(module)
        elif isinstance(module, nn.Linear):
            layers += out.numel() * module.in_features
        elif isinstance(module, ScaledDotProduct):
            q, k = args[0], args[1]
            attention += 2 * q.numel() * k.shape[-2]  # scores, and weighted sum of the values

    _run_hooked(model, input_size, seen)
    return layers, attention


def _area(conv: nn.Conv2d | nn.ConvTranspose2d) -> int:
    return conv.kernel_size[0] * conv.kernel_size[1]


def fvcore_extra(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Count what fvcore adds to multiply-adds: norms and adaptive pooling, in its own weights."""
    extra = 0

    def seen(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal extra
        if isinstance(module, nn.BatchNorm2d):
            extra += 2 * out.numel()
        elif isinstance(module, nn.LayerNorm):
            extra += 5 * out.numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            extra += args[0].numel()

    _run_hooked(model, input_size, seen)
    return extra


def _run_hooked(model: nn.Module, input_size: tuple[int, ...], hook: Hook) -> None:
    handles = [module.register_forward_hook(hook) for module in model.modules()]
    with torch.no_grad():
        model(torch.empty(1, *input_size, device="meta"))
    for handle in handles:
        handle.remove()
