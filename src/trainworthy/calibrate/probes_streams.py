"""Probes of everything that streams data: elementwise, reductions, normalisation, softmax, copies, indexing, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from trainworthy.calibrate.probe import Call

aten = torch.ops.aten
# Elements: the smallest show the fixed part, the middle ones the caches, the largest memory. Time may run out on a slow
# machine, so sizes and shapes go from a coarse cover to a fine one here and below.
SIZES = (16, 400000, 40000, 3500000, 6000, 1024, 1300000, 120000, 28000)
UNARY: dict[str, Callable[[torch.Tensor], Any]] = {
    "relu": torch.relu, "exp": torch.exp, "log": torch.log, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "gelu": F.gelu, "silu": F.silu, "sqrt": torch.sqrt, "cos": torch.cos, "clone": torch.clone,
    "mul": lambda x: x * 2.0, "div": lambda x: x / 3.0, "add": lambda x: x + 1.0, "pow": lambda x: x**3,
    "fill_": lambda x: x.fill_(0.5), "eq": lambda x: x == 0, "sum": torch.sum, "mean": torch.mean,
}  # fmt: skip
BINARY: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "add": torch.add, "mul": torch.mul, "div": torch.div, "add_": lambda x, y: x.add_(y),
    "mul_": lambda x, y: x.mul_(y),
    "lerp_": lambda x, y: x.lerp_(y, 0.1), "addcdiv_": lambda x, y: x.addcdiv_(y, y, value=-1e-6),
    "threshold_backward": lambda x, y: aten.threshold_backward(x, y, 0),
    "gelu_backward": aten.gelu_backward, "silu_backward": aten.silu_backward,
    "tanh_backward": aten.tanh_backward,
    "sigmoid_backward": aten.sigmoid_backward,
    "mse_loss": F.mse_loss, "copy_": lambda x, y: x.copy_(y),
}  # fmt: skip
_RANDOM: dict[str, Callable[[torch.Tensor], Any]] = {
    "bernoulli_": lambda x: x.bernoulli_(0.9),
    "normal_": lambda x: x.normal_(),
    "uniform_": lambda x: x.uniform_(),
}


def stream_probes(*, device: str, dtype: torch.dtype, sizes: tuple[int, ...] = SIZES) -> Iterator[Call]:
    """Every elementwise operator of the tables at every size, in order; some also repeated or across rows."""
    full = dtype is torch.float32
    for size in sizes:
        x = torch.rand(size, device=device, dtype=dtype) + 0.5
        y = torch.rand(size, device=device, dtype=dtype) + 0.5
        for unary in UNARY.values():
            yield lambda f=unary, x=x: f(x)  # type: ignore[misc]
        for name, binary in BINARY.items():
            if full or name not in {"lerp_", "addcdiv_", "mse_loss"}:
                yield lambda f=binary, x=x, y=y: f(x, y)  # type: ignore[misc]
        if not full:
            yield lambda x=x: x.float()  # type: ignore[misc]
            yield lambda x=x.float(), dtype=dtype: x.to(dtype)  # type: ignore[misc]
            continue
        for fill in _RANDOM.values():
            if size <= 1300000:
                yield lambda f=fill, x=x: f(x)  # type: ignore[misc]
        mask = x > 1
        yield lambda m=mask, x=x, y=y: torch.where(m, x, y)  # type: ignore[misc]
        yield lambda g=x, m=mask: aten.native_dropout_backward(g, m, 1.1)  # type: ignore[misc]
        one = torch.ones((), device=device)
        yield lambda g=one, x=x, y=y: aten.mse_loss_backward(g, x, y, 1)  # type: ignore[misc]
        target = mask.float()
        yield lambda x=x.sigmoid(), t=target: F.binary_cross_entropy(x, t)  # type: ignore[misc]
        yield lambda x=mask: x.float()  # type: ignore[misc]


def layout_probes(*, device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Repeated operands (a bias), operands across rows (a transpose), and what joins tensors."""
    for rows, columns in ((16, 32), (1024, 256), (128, 64), (4096, 512), (256, 256), (512, 2048)):
        x = torch.rand(rows, columns, device=device, dtype=dtype)
        bias, column = torch.rand(columns, device=device, dtype=dtype), torch.rand(rows, 1, device=device, dtype=dtype)
        across = torch.rand(columns, rows, device=device, dtype=dtype).t()
        for binary in (torch.add, torch.mul, torch.div):
            yield lambda f=binary, x=x, b=bias: f(x, b)  # type: ignore[misc]
            yield lambda f=binary, x=x, b=column: f(x, b)  # type: ignore[misc]
            yield lambda f=binary, x=x, y=across: f(x, y)  # type: ignore[misc]
        mask = torch.rand(columns, device=device) > 0.5
        yield lambda x=x, m=mask, y=bias: torch.where(m, x, y)  # type: ignore[misc]
        yield lambda x=x, m=mask: x.masked_fill(m, 0.0)  # type: ignore[misc]
        yield lambda b=bias, rows=rows: b.expand(rows, -1).clone()  # type: ignore[misc]
        yield lambda y=across: y.contiguous()  # type: ignore[misc]
        heads = x.view(rows // 8, 8, columns // 8, 8).transpose(1, 2)
        yield lambda y=heads: y.contiguous()  # type: ignore[misc]
        for parts in (2, 8):
            pieces = list(x.chunk(parts))
            yield lambda p=pieces: torch.cat(p)  # type: ignore[misc]
            yield lambda p=pieces: torch.cat(p, dim=1)  # type: ignore[misc]
        yield lambda x=x: torch.sum(x, 0)  # type: ignore[misc]
        yield lambda x=x: torch.sum(x, 1)  # type: ignore[misc]
        yield lambda x=x: torch.mean(x, 1)  # type: ignore[misc]
        yield lambda x=x: torch.amax(x, 1)  # type: ignore[misc]
        yield lambda x=x: torch.var(x, 1)  # type: ignore[misc]
        yield lambda x=x: torch.cumsum(x, 1)  # type: ignore[misc]
        yield lambda x=x, n=columns: aten.slice_backward(x, [x.shape[0], 2 * n], 1, 0, n, 1)  # type: ignore[misc]


def row_probes(*, device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Normalisation and softmax over rows, losses over classes, and rows picked by index."""
    for rows, columns in ((8, 16), (1024, 1024), (512, 128), (8192, 64), (32, 1024), (2048, 256), (128, 8192), (64, 64),
                          (256, 768), (16384, 16)):  # fmt: skip
        yield from row_calls(torch.rand(rows, columns, device=device, dtype=dtype))
    if dtype is torch.float32:
        yield from _index_probes(device=device)


def row_calls(x: torch.Tensor) -> Iterator[Call]:
    """Normalisation and softmax over the rows of ``x``, forward and backward; in float32 the loss over classes too."""
    rows, columns = x.shape
    weight, bias = torch.rand(2, columns, device=x.device, dtype=x.dtype)
    _, mean, rstd = aten.native_layer_norm(x, [columns], weight, bias, 1e-5)
    yield lambda: aten.native_layer_norm(x, [columns], weight, bias, 1e-5)
    yield lambda: aten.native_layer_norm_backward(x, x, [columns], mean, rstd, weight, bias, [True, True, True])
    for forward, backward in (
        (aten._softmax, aten._softmax_backward_data),
        (aten._log_softmax, aten._log_softmax_backward_data),
    ):
        y = forward(x, -1, False)
        yield lambda f=forward: f(x, -1, False)  # type: ignore[misc]
        yield lambda f=backward, y=y: f(x, y, -1, x.dtype)  # type: ignore[misc]
    if x.dtype is torch.float32:
        target = torch.randint(columns, (rows,), device=x.device)
        loss, total = aten.nll_loss_forward(x, target, None, 1, -100)
        yield lambda: aten.nll_loss_forward(x, target, None, 1, -100)
        yield lambda: aten.nll_loss_backward(loss, x, target, None, 1, -100, total)


def _index_probes(*, device: str) -> Iterator[Call]:
    for vocabulary, width, count in ((64, 16, 32), (8000, 256, 4096), (1000, 64, 512), (50000, 64, 1024),
                                     (5000, 128, 1024), (2000, 512, 2048), (16000, 128, 256), (12000, 32, 8192),
                                     (300, 384, 3000), (4000, 48, 300), (100, 32, 6000),
                                     (30000, 80, 3500)):  # fmt: skip
        table = torch.rand(vocabulary, width, device=device)
        index = torch.randint(vocabulary, (count,), device=device)
        rows = torch.rand(count, width, device=device)
        wide = index[:, None].expand(count, width)
        yield lambda t=table, i=index: aten.embedding(t, i)  # type: ignore[misc]
        yield lambda r=rows, i=index, n=vocabulary: aten.embedding_dense_backward(r, i, n, -1, False)  # type: ignore[misc]
        yield lambda t=table, i=index: aten.index_select(t, 0, i)  # type: ignore[misc]
        yield lambda t=table, i=index: aten.index(t, [i])  # type: ignore[misc]
        yield lambda t=table, i=wide: torch.gather(t, 0, i)  # type: ignore[misc]
        yield lambda t=table, i=index, r=rows: t.index_add_(0, i, r)  # type: ignore[misc]
        yield lambda t=table, i=wide, r=rows: t.scatter_add_(0, i, r)  # type: ignore[misc]
        yield lambda t=table, i=index, r=rows: aten.index_put_(t, [i], r, True)  # type: ignore[misc]


def image_probes(*, device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Normalisation over channels, pooling and resizing of images."""
    for batch, channels, side in ((1, 8, 8), (8, 64, 32), (32, 16, 16), (64, 256, 7), (16, 32, 56), (4, 16, 16),
                                  (2, 16, 128), (128, 8, 28), (16, 512, 4)):  # fmt: skip
        x = torch.rand(batch, channels, side, side, device=device, dtype=dtype)
        yield from _channel_norms(x)
        pooled = F.max_pool2d(x, 2)
        mean = F.adaptive_avg_pool2d(x, 1)
        values, indices = aten.max_pool2d_with_indices(x, [2, 2], [2, 2])
        yield lambda x=x: aten.max_pool2d_with_indices(x, [2, 2], [2, 2])  # type: ignore[misc]
        yield lambda g=values, x=x, i=indices: aten.max_pool2d_with_indices_backward(  # type: ignore[misc]
            g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, i
        )
        yield lambda x=x: aten.avg_pool2d(x, [2, 2], [2, 2])  # type: ignore[misc]
        yield lambda g=pooled, x=x: aten.avg_pool2d_backward(g, x, [2, 2], [2, 2], [0, 0], False, True, None)  # type: ignore[misc]
        yield lambda x=x: torch.mean(x, [2, 3])  # type: ignore[misc]
        yield lambda x=x: torch.mean(x, [2, 3], keepdim=True)  # type: ignore[misc]
        yield lambda x=x: torch.sum(x, [0, 2, 3])  # type: ignore[misc]
        yield lambda m=mean, x=x: m.expand_as(x).clone()  # type: ignore[misc]
        yield lambda m=mean, x=x: x * m  # type: ignore[misc]
        yield lambda x=pooled: aten.upsample_nearest2d(x, [2 * s for s in x.shape[2:]], None, None)  # type: ignore[misc]
        yield (
            lambda g=x, x=pooled: aten.upsample_nearest2d_backward(  # type: ignore[misc]
                g, list(g.shape[2:]), list(x.shape), None, None
            )
        )
        yield lambda x=pooled: aten.upsample_bilinear2d(x, [2 * s for s in x.shape[2:]], False)  # type: ignore[misc]
        yield (
            lambda g=x, x=pooled: aten.upsample_bilinear2d_backward(  # type: ignore[misc]
                g, list(g.shape[2:]), list(x.shape), False
            )
        )


def _channel_norms(x: torch.Tensor) -> Iterator[Call]:
    batch, channels = x.shape[:2]
    weight, bias = torch.rand(2, channels, device=x.device, dtype=x.dtype)
    running = torch.rand(2, channels, device=x.device, dtype=x.dtype)
    _, mean, rstd = aten.native_batch_norm(x, weight, bias, running[0], running[1], True, 0.1, 1e-5)
    yield lambda: aten.native_batch_norm(x, weight, bias, running[0], running[1], True, 0.1, 1e-5)
    yield lambda: aten.native_batch_norm_backward(
        x, x, weight, running[0], running[1], mean, rstd, True, 1e-5, [True, True, True]
    )
    pixels, groups = x.shape[2] * x.shape[3], min(8, channels)
    _, group_mean, group_rstd = aten.native_group_norm(x, weight, bias, batch, channels, pixels, groups, 1e-5)
    yield lambda: aten.native_group_norm(x, weight, bias, batch, channels, pixels, groups, 1e-5)
    yield lambda: aten.native_group_norm_backward(
        x, x, group_mean, group_rstd, weight, batch, channels, pixels, groups, [True, True, True]
    )


def list_probes(*, device: str) -> Iterator[Call]:
    """Optimizer kernels over lists of tensors."""
    for tensors, size in ((2, 64), (64, 16384), (16, 64), (4, 750000), (16, 4096), (8, 262144)):
        lists = [[torch.rand(size, device=device) for _ in range(tensors)] for _ in range(4)]
        steps = [torch.ones((), device=device) for _ in range(tensors)]
        yield lambda p=lists[0], q=lists[1]: torch._foreach_add_(p, q)  # type: ignore[misc]
        yield lambda p=lists[0]: torch._foreach_mul_(p, 0.9)  # type: ignore[misc]
        yield lambda p=lists[0], q=lists[1]: torch._foreach_lerp_(p, q, 0.1)  # type: ignore[misc]
        yield lambda p=lists[0], q=lists[1]: torch._foreach_addcmul_(p, q, q)  # type: ignore[misc]
        yield lambda p=lists[0]: torch._foreach_norm(p)  # type: ignore[misc]
        yield lambda ls=lists, s=steps: aten._fused_adamw_(  # type: ignore[misc]
            ls[0], ls[1], ls[2], ls[3], [], s, lr=1e-3, beta1=0.9, beta2=0.99, weight_decay=0.0, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip
        yield lambda ls=lists: aten._fused_sgd_(  # type: ignore[misc]
            ls[0], ls[1], ls[2], weight_decay=0.0, momentum=0.9, lr=1e-3, dampening=0.0, nesterov=False,
            maximize=False, is_first_step=False,
        )  # fmt: skip
