"""Probes of matrix products, convolutions, attention and recurrent layers: designs that fill the space of sizes.

Sizes are drawn at random, evenly in their logarithms, from a fixed seed: a grid over six axes would be too coarse.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import torch
import torch.nn.functional as F

from trainworthy.calibrate.probe import Call

aten = torch.ops.aten


def log_size(random: Random, low: int, high: int) -> int:
    """Draw a size evenly in its logarithm; most larger ones are multiples of 8, as in most networks."""
    size = round(float(low * (high / low) ** random.random()))
    return size if size < 24 or random.random() < 0.3 else max(8, size // 8 * 8)


def gemm_probes(*, device: str, dtype: torch.dtype, count: int, largest_flops: float) -> Iterator[Call]:
    """Products of all three layouts that a linear layer and its gradients need, with and without bias."""
    random = Random(1)
    made = 0
    while made < count:
        m, n, k = (log_size(random, 4, 8192) for _ in range(3))
        if not 2e3 < 2 * m * n * k < largest_flops or m * k + k * n + m * n > 6e6:
            continue
        made += 1
        layout = made % 4
        a = torch.randn(k, m, device=device, dtype=dtype).t() if layout == 2 else None
        a = torch.randn(m, k, device=device, dtype=dtype) if a is None else a
        b = torch.randn(n, k, device=device, dtype=dtype).t() if layout in {0, 3} else None
        b = torch.randn(k, n, device=device, dtype=dtype) if b is None else b
        if layout == 3:
            bias = torch.randn(n, device=device, dtype=dtype)
            yield lambda a=a, b=b, bias=bias: torch.addmm(bias, a, b)  # type: ignore[misc]
        else:
            yield lambda a=a, b=b: torch.mm(a, b)  # type: ignore[misc]


def bmm_probes(*, device: str, dtype: torch.dtype, count: int, largest_flops: float) -> Iterator[Call]:
    """Batches of small products, as attention without a fused kernel has them."""
    random = Random(2)
    made = 0
    while made < count:
        batch, m, n, k = log_size(random, 2, 256), *(log_size(random, 8, 512) for _ in range(3))
        if not 1e4 < 2 * batch * m * n * k < largest_flops or batch * (m * k + k * n + m * n) > 4e6:
            continue
        made += 1
        a = torch.randn(batch, m, k, device=device, dtype=dtype)
        b = torch.randn(batch, n, k, device=device, dtype=dtype).mT if made % 2 else None
        b = torch.randn(batch, k, n, device=device, dtype=dtype) if b is None else b
        if made % 3 == 0:
            a = torch.randn(batch, k, m, device=device, dtype=dtype).mT
        yield lambda a=a, b=b: torch.bmm(a, b)  # type: ignore[misc]


def _conv_sizes(random: Random, largest_flops: float) -> tuple[int, ...]:
    while True:
        kernel = random.choice((1, 1, 3, 3, 3, 5, 7, 4))
        kind = random.random()
        channels_in, channels_out = log_size(random, 4, 512), log_size(random, 8, 512)
        if kind < 0.16:  # what an autoencoder or a segmentation ends with: kernels of few channels are far off the rest
            channels_in, channels_out = log_size(random, 8, 128), random.choice((1, 3, 4))
        elif kind < 0.26:  # what a network begins with
            channels_in = random.choice((1, 3))
        groups = 1
        if kind > 0.85:  # depthwise
            channels_in = channels_out = groups = log_size(random, 8, 512)
        side, batch, stride = log_size(random, 4, 128), log_size(random, 1, 64), random.choice((1, 1, 2))
        pixels = batch * side * side // stride**2
        flops = 2 * pixels * channels_in * channels_out // groups * kernel**2
        elements = batch * side * side * (channels_in + channels_out / stride**2)
        if 1e5 < flops < largest_flops and elements < 3e6 and side >= kernel:
            return kernel, channels_in, channels_out, groups, side, batch, stride


def conv_probes(
    *, device: str, dtype: torch.dtype, count: int, largest_flops: float, transposed: bool = False
) -> Iterator[Call]:
    """2-D convolutions, forward and backward: 1x1 to 7x7, strided, depthwise, the first layer's few channels."""
    random = Random(3 + transposed)
    for made in range(count):
        kernel, c_in, c_out, groups, side, batch, stride = _conv_sizes(random, largest_flops)
        padding = (kernel - 1) // 2 if not transposed else 0
        if transposed:
            kernel, stride, groups, padding = random.choice(((2, 2, 1, 0), (4, 2, 1, 1), (3, 2, 1, 1)))
            side = max(side // 2, 4)
        x = torch.randn(batch, c_in, side, side, device=device, dtype=dtype)
        shape = (c_in, c_out, kernel, kernel) if transposed else (c_out, c_in // groups, kernel, kernel)
        weight = torch.randn(*shape, device=device, dtype=dtype)
        bias = torch.randn(c_out, device=device, dtype=dtype) if made % 2 else None
        pad, zero = [padding, padding], [1 if transposed and kernel == 3 else 0] * 2
        args: tuple[Any, ...] = ([stride, stride], pad, [1, 1], transposed, zero, groups)
        yield from conv_calls(x, weight, bias, args)


def conv_calls(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, args: tuple[Any, ...]
) -> Iterator[Call]:
    """One convolution, the gradient of its input, and that of its parameters."""
    grad = torch.randn_like(aten.convolution(x, weight, bias, *args))
    yield lambda: aten.convolution(x, weight, bias, *args)
    sizes = None if bias is None else list(bias.shape)
    for mask in ([True, False, False], [False, True, bias is not None]):
        yield lambda mask=mask: aten.convolution_backward(grad, x, weight, sizes, *args, mask)  # type: ignore[misc]


def attention_probes(*, device: str, dtype: torch.dtype, count: int, largest_flops: float) -> Iterator[Call]:
    """Fused attention, forward and backward, causal or not."""
    random = Random(5)
    made = 0
    while made < count:
        batch, heads, head = log_size(random, 1, 32), random.choice((2, 4, 8, 12)), random.choice((16, 32, 64, 64, 128))
        length = log_size(random, 16, 1024)
        flops = 4 * batch * heads * length * length * head
        if not 1e5 < flops < largest_flops or batch * heads * length * head > 2e6:
            continue
        made += 1
        # As models make them: (batch, length, heads, head) with the middle dimensions exchanged.
        q, k, v = (
            torch.randn(batch, length, heads, head, device=device, dtype=dtype).transpose(1, 2) for _ in range(3)
        )
        yield from attention_pair(q, k, v, causal=bool(made % 2))


def attention_pair(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool) -> Iterator[Call]:
    """Return the fused kernels of one shape, forward and backward."""
    if q.device.type == "cpu":
        forward = aten._scaled_dot_product_flash_attention_for_cpu
        out, logsumexp = forward(q, k, v, 0.0, causal)
        yield lambda: forward(q, k, v, 0.0, causal)
        grad = torch.randn_like(out)
        yield lambda: aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, q, k, v, out, logsumexp, 0.0, causal
        )
        return
    yield lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    with torch.enable_grad():  # probes are made where nothing is recorded
        inputs = [t.detach().requires_grad_() for t in (q, k, v)]
        result = F.scaled_dot_product_attention(inputs[0], inputs[1], inputs[2], is_causal=causal)
    grad = torch.randn_like(result)
    yield lambda: torch.autograd.grad(result, inputs, grad, retain_graph=True)


def rnn_probes(*, device: str, count: int) -> Iterator[Call]:
    """LSTM layers as oneDNN runs them on a CPU, forward and backward."""
    if device != "cpu":
        return
    random = Random(6)
    for _ in range(count):
        steps, batch = log_size(random, 4, 128), log_size(random, 1, 64)
        inputs, hidden = log_size(random, 16, 256), log_size(random, 16, 256)
        x = torch.randn(steps, batch, inputs)
        w_in, w_hidden = torch.randn(4 * hidden, inputs), torch.randn(4 * hidden, hidden)
        b = torch.randn(4 * hidden)
        h = torch.randn(batch, hidden)
        sizes: list[int] = []
        static: tuple[Any, ...] = (2, hidden, 1, True, False, False)  # mode LSTM, one layer, biases, one direction

        def forward(
            x: Any = x, w0: Any = w_in, w1: Any = w_hidden, b: Any = b, h: Any = h, sizes: Any = sizes, s: Any = static
        ) -> Any:
            mode, hidden_size, layers, biases, both, first = s
            with torch.enable_grad():  # else there is no workspace for the backward pass
                return aten.mkldnn_rnn_layer(
                    x, w0, w1, b, b, h, h, False, sizes, mode, hidden_size, layers, biases, both, first, True
                )

        yield forward
        y, h_out, c_out, workspace = forward()
        grads = [torch.randn_like(t) for t in (y, h_out, c_out)]

        def backward(
            x: Any = x, w0: Any = w_in, w1: Any = w_hidden, b: Any = b, h: Any = h, y: Any = y, h_out: Any = h_out,
            c_out: Any = c_out, grads: Any = grads, workspace: Any = workspace, s: Any = static, sizes: Any = sizes,
        ) -> Any:  # fmt: skip
            mode, hidden_size, layers, biases, both, first = s
            return aten.mkldnn_rnn_layer_backward(
                x, w0, w1, b, b, h, h, y, h_out, c_out, *grads, False, mode, hidden_size, layers, biases, True,
                both, sizes, first, workspace,
            )  # fmt: skip

        yield backward
