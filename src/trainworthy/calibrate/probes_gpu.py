"""The probes of a GPU: sizes of real training steps, far beyond the caches, layouts and types that pick kernels.

Where PyTorch has several kernels for one operator (batch norm by cuDNN or its own, convolutions of either layout), the
probe calls what a model calls and lets PyTorch choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import torch
import torch.nn.functional as F

from trainworthy.calibrate.probe import Call
from trainworthy.calibrate.probes_products import aten, attention_pair, conv_calls, log_size
from trainworthy.calibrate.probes_streams import BINARY, UNARY, row_calls
from trainworthy.calibrate.schedule import Group

_FULL = torch.float32
_TYPES = ((torch.float32, "fp32"), (torch.bfloat16, "bf16"))
_SIZES = tuple(2**n for n in (8, 16, 20, 22, 24, 27))  # elements: launch-bound up to several times any L2
_ROWS = ((64, 64), (512, 512), (4096, 256), (4096, 1024), (16384, 768), (8192, 4096), (65536, 128), (2048, 16384))
_LAST = torch.channels_last


def gpu_groups(device: str = "cuda") -> Iterator[Group]:
    """Yield the groups of probes; on the GPUs of data centers all of them are done in less than a minute."""
    for dtype, name in _TYPES:
        yield Group(f"matrix products, {name}", 3, gpu_gemm_probes(device, dtype))
        yield Group(f"convolutions, {name}", 5, gpu_conv_probes(device, dtype))
        yield Group(f"attention, {name}", 3, gpu_attention_probes(device, dtype))
        yield Group(f"elementwise, {name}", 2, gpu_stream_probes(device, dtype))
        yield Group(f"rows, {name}", 1, gpu_row_probes(device, dtype))
        yield Group(f"images, {name}", 2, gpu_image_probes(device, dtype))
    yield Group("images, fp16", 1, (call for x in _image_tensors(device, torch.float16) for call in _batch_norms(x)))
    yield Group("recurrent layers", 2, gpu_rnn_probes(device))
    yield Group("optimizers", 1, gpu_list_probes(device))


def gpu_gemm_probes(device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Products in the three layouts that a linear layer and its gradients need, biased ones, and batches of them."""
    random = Random(11)
    limit = 2.5e11 if dtype is _FULL else 2.5e12
    for made in range(130):
        m, n, k = _drawn(random, ((16, 65536), (16, 8192), (16, 8192)), most=1.2e8, flops=limit)
        m, n, k = ((m, n, k), (n, k, m), (m, n, k), (m, n, k))[made % 4]  # a gradient of weights sums over rows
        a, b = _operands((m, k), (k, n), device=device, dtype=dtype, layout=made % 4)
        bias = torch.randn(n, device=device, dtype=dtype)
        if made % 4 == 3:
            yield lambda a=a, b=b, bias=bias: torch.addmm(bias, a, b)  # type: ignore[misc]
        else:
            yield lambda a=a, b=b: torch.mm(a, b)  # type: ignore[misc]
    for made in range(50):
        m, n, k = _drawn(random, ((16, 2048), (16, 1024), (16, 1024)), most=4e6, flops=limit)
        batch = log_size(random, 2, max(4, min(1024, int(6e7 / (m * k + k * n + m * n)))))
        a, b = _operands((batch, m, k), (batch, k, n), device=device, dtype=dtype, layout=made % 3)
        yield lambda a=a, b=b: torch.bmm(a, b)  # type: ignore[misc]


def _drawn(random: Random, ranges: tuple[tuple[int, int], ...], *, most: float, flops: float) -> tuple[int, ...]:
    while True:
        m, n, k = sizes = tuple(log_size(random, low, high) for low, high in ranges)
        if 2 * m * n * k < flops and m * k + k * n + m * n < most:
            return sizes


def _operands(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...], *, device: str, dtype: torch.dtype, layout: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return operands in order, with the second, or the first, transposed; 3: as 0."""

    def make(shape: tuple[int, ...], across: bool) -> torch.Tensor:
        lies = (*shape[:-2], shape[-1], shape[-2]) if across else shape
        made = torch.randn(lies, device=device, dtype=dtype)
        return made.mT if across else made

    return make(a_shape, layout == 2), make(b_shape, layout in {0, 3})


def gpu_conv_probes(device: str, dtype: torch.dtype) -> Iterator[Call]:
    """2-D convolutions and their two gradients in both layouts; depthwise ones; transposed ones."""
    random = Random(12)
    plain, last = (70, 25) if dtype is _FULL else (42, 36)  # cuDNN plans each shape, for 16 bits in 60 ms
    for layout, count in ((torch.contiguous_format, plain), (_LAST, last)):
        for made in range(count):
            sizes = _conv_sizes(random, depthwise=made % 6 == 0, most=1.5e11 if dtype is _FULL else 1e12)
            kernel, c_in, c_out, groups, side, batch, stride = sizes
            x = torch.randn(batch, c_in, side, side, device=device, dtype=dtype).to(memory_format=layout)
            weight = torch.randn(c_out, c_in // groups, kernel, kernel, device=device, dtype=dtype)
            pad = [(kernel - 1) // 2] * 2
            yield from conv_calls(
                x, weight.to(memory_format=layout), None, ([stride] * 2, pad, [1, 1], False, [0, 0], groups)
            )
    for _ in range(15):
        _, c_in, c_out, _, side, batch, _ = _conv_sizes(random, depthwise=False, most=5e10)
        kernel = random.choice((2, 4))
        x = torch.randn(batch, c_in, max(side // 2, 4), max(side // 2, 4), device=device, dtype=dtype)
        weight = torch.randn(c_in, c_out, kernel, kernel, device=device, dtype=dtype)
        pad = [(kernel - 2) // 2] * 2
        yield from conv_calls(x, weight, None, ([2, 2], pad, [1, 1], True, [0, 0], 1))


def _conv_sizes(random: Random, *, depthwise: bool, most: float) -> tuple[int, ...]:
    """Draw kernel, channels in and out, groups, side, batch, stride: wide where images are small, as networks are."""
    while True:
        kernel, stride = random.choice((1, 1, 3, 3, 3, 5, 7)), random.choice((1, 1, 1, 2))
        side, batch = random.choice((7, 14, 14, 28, 28, 56, 56, 112, 224, 32, 64, 128)), log_size(random, 4, 256)
        c_in, c_out = _channels(random), _channels(random)
        groups = 1
        if depthwise:
            kernel, c_out, groups = random.choice((3, 3, 5, 7)), c_in, c_in
        elif random.random() < 0.12:
            c_in = 3
        pixels = batch * side * side
        flops = 2 * pixels / stride**2 * c_in * c_out / groups * kernel**2
        if 1e7 < flops < most and pixels * (c_in + c_out / stride**2) < 1.2e8:
            return kernel, c_in, c_out, groups, side, batch, stride


def _channels(random: Random) -> int:
    """Draw a width as networks have them; now and then any: kernels for such widths are others, and far slower."""
    if random.random() < 0.15:
        return log_size(random, 16, 1024)
    return random.choice((16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024))


def gpu_attention_probes(device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Fused attention, forward and backward, causal or not."""
    random = Random(13)
    limit, count = (1e11, 30) if dtype is _FULL else (1e12, 14)  # cuDNN plans each shape, in half a second
    made = 0
    while made < count:
        batch, heads, head = log_size(random, 1, 128), random.choice((4, 8, 12, 16)), random.choice((32, 64, 64, 128))
        length = log_size(random, 32, 4096)
        if 4 * batch * heads * length**2 * head > limit or batch * heads * length * head > 4e7:
            continue
        made += 1
        shape = (batch, length, heads, head)
        q, k, v = (torch.randn(shape, device=device, dtype=dtype).transpose(1, 2) for _ in range(3))
        yield from attention_pair(q, k, v, causal=bool(made % 2))


def gpu_stream_probes(device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Elementwise operators in order, repeated operands, operands across rows, casts, joins, random numbers."""
    full = dtype is _FULL
    for size in _SIZES:
        x, y = (torch.rand(size, device=device, dtype=dtype) + 0.5 for _ in range(2))
        for unary in UNARY.values():
            yield lambda f=unary, x=x: f(x)  # type: ignore[misc]
        for name, binary in BINARY.items():
            if full or name not in {"lerp_", "addcdiv_"}:
                yield lambda f=binary, x=x, y=y: f(x, y)  # type: ignore[misc]
        other = torch.bfloat16 if full else torch.float32
        yield lambda x=x, other=other: x.to(other)  # type: ignore[misc]
        yield lambda x=x: x.bernoulli_(0.9)  # type: ignore[misc]
        yield lambda x=x: aten.native_dropout(x, 0.1, True)  # type: ignore[misc]
        mask = x > 1
        yield lambda m=mask, x=x, y=y: torch.where(m, x, y)  # type: ignore[misc]
        yield lambda g=x, m=mask: aten.native_dropout_backward(g, m, 1.1)  # type: ignore[misc]
        if full:
            one = torch.ones((), device=device)
            yield lambda g=one, x=x, y=y: aten.mse_loss_backward(g, x, y, 1)  # type: ignore[misc]
            yield lambda x=x: x.normal_()  # type: ignore[misc]
            yield lambda x=x: x.uniform_()  # type: ignore[misc]
    for rows, columns in _ROWS:
        yield from _layouts(torch.rand(rows, columns, device=device, dtype=dtype))


def _layouts(x: torch.Tensor) -> Iterator[Call]:
    rows, columns = x.shape
    bias, column = x[0].clone(), x[:, :1].clone()
    across = torch.rand(columns, rows, device=x.device, dtype=x.dtype).t()
    for binary in (torch.add, torch.mul):
        for operand in (bias, column, across):
            yield lambda f=binary, y=operand: f(x, y)  # type: ignore[misc]
    yield lambda: x.add_(bias)
    yield across.contiguous
    heads = x.view(rows // 8, 8, columns // 8, 8).transpose(1, 2)
    yield heads.contiguous
    pieces = list(x.chunk(2))
    yield lambda: torch.cat(pieces)
    yield lambda: torch.cat(pieces, dim=1)
    for reduce in (torch.sum, torch.mean, torch.amax, torch.cumsum):
        for dim in (0, 1) if reduce is torch.sum else (1,):
            yield lambda f=reduce, d=dim: f(x, d)  # type: ignore[misc]


def gpu_row_probes(device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Normalisation and softmax over rows, the loss of a language model, and rows picked by index."""
    for rows, columns in (*_ROWS, (4096, 50304), (256, 30522)):
        yield from row_calls(torch.rand(rows, columns, device=device, dtype=dtype))
    if dtype is _FULL:
        yield from _index_probes(device)


def _index_probes(device: str) -> Iterator[Call]:
    for vocabulary, width, count in ((1000, 64, 512), (10000, 256, 4096), (50304, 768, 8192), (30522, 768, 2048),
                                     (32000, 4096, 4096), (1000000, 64, 16384), (50304, 768, 65536)):  # fmt: skip
        table = torch.rand(vocabulary, width, device=device)
        index = torch.randint(vocabulary, (count,), device=device)
        rows, wide = torch.rand(count, width, device=device), index[:, None].expand(count, width)
        yield lambda t=table, i=index: aten.embedding(t, i)  # type: ignore[misc]
        yield lambda r=rows, i=index, n=vocabulary: aten.embedding_dense_backward(r, i, n, -1, False)  # type: ignore[misc]
        yield lambda t=table, i=wide: torch.gather(t, 0, i)  # type: ignore[misc]
        yield lambda t=table, i=index, r=rows: t.index_add_(0, i, r)  # type: ignore[misc]
        yield lambda t=table, i=wide, r=rows: t.scatter_add_(0, i, r)  # type: ignore[misc]


_IMAGES = (
    (16, 16, 16), (8, 64, 32), (64, 64, 56), (128, 64, 112), (64, 256, 56), (128, 512, 28), (128, 1024, 14),
    (64, 2048, 7), (4, 64, 256), (32, 96, 112),
)  # fmt: skip


def _image_tensors(device: str, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    for batch, channels, side in _IMAGES:
        x = torch.rand(batch, channels, side, side, device=device, dtype=dtype)
        yield x
        yield x.to(memory_format=_LAST)


def gpu_image_probes(device: str, dtype: torch.dtype) -> Iterator[Call]:
    """Normalisation over channels, pooling and resizing of images, in both layouts."""
    for x in _image_tensors(device, dtype):
        yield from _batch_norms(x)
        yield from _pools(x)
        yield lambda x=x: torch.sum(x, [0, 2, 3])  # type: ignore[misc]
        yield lambda x=x: torch.mean(x, [2, 3], keepdim=True)  # type: ignore[misc]
        mean = x.mean((2, 3), keepdim=True)
        yield lambda m=mean, x=x: x * m  # type: ignore[misc]
        if x.is_contiguous():
            yield from _group_norms(x)
            half = x[:, :, ::2, ::2].contiguous()
            for f in (aten.upsample_nearest2d, aten.upsample_bilinear2d):
                more: tuple[Any, ...] = (None, None) if f is aten.upsample_nearest2d else (False,)
                yield lambda f=f, x=half, more=more: f(x, [2 * s for s in x.shape[2:]], *more)  # type: ignore[misc]


def _batch_norms(x: torch.Tensor) -> Iterator[Call]:
    """Batch norm as ``nn.BatchNorm2d`` has it, with float32 parameters: PyTorch picks cuDNN's kernel or its own."""
    weight, bias, mean, variance = torch.rand(4, x.shape[1], device=x.device).unbind()
    yield lambda: torch.batch_norm(x, weight, bias, mean, variance, True, 0.1, 1e-5, True)
    with torch.enable_grad():
        inputs = [t.detach().requires_grad_() for t in (x, weight, bias)]
        y = torch.batch_norm(inputs[0], inputs[1], inputs[2], mean, variance, True, 0.1, 1e-5, True)
    grad = torch.randn_like(y)
    yield lambda: torch.autograd.grad(y, inputs, grad, retain_graph=True)


def _group_norms(x: torch.Tensor) -> Iterator[Call]:
    batch, channels, pixels, groups = x.shape[0], x.shape[1], x.shape[2] * x.shape[3], min(8, x.shape[1])
    weight, bias = torch.rand(2, channels, device=x.device, dtype=x.dtype)
    _, mean, rstd = aten.native_group_norm(x, weight, bias, batch, channels, pixels, groups, 1e-5)
    yield lambda: aten.native_group_norm(x, weight, bias, batch, channels, pixels, groups, 1e-5)
    yield lambda: aten.native_group_norm_backward(
        x, x, mean, rstd, weight, batch, channels, pixels, groups, [True, True, True]
    )


def _pools(x: torch.Tensor) -> Iterator[Call]:
    for kernel, stride, pad in ((2, 2, 0), (3, 2, 1)):
        args = ([kernel] * 2, [stride] * 2, [pad] * 2, [1, 1], False)
        values, indices = aten.max_pool2d_with_indices(x, *args)
        yield lambda args=args: aten.max_pool2d_with_indices(x, *args)  # type: ignore[misc]
        yield lambda g=values, i=indices, args=args: aten.max_pool2d_with_indices_backward(g, x, *args, i)  # type: ignore[misc]
    pooled = F.avg_pool2d(x, 2)
    yield lambda: aten.avg_pool2d(x, [2, 2], [2, 2])
    yield lambda: aten.avg_pool2d_backward(pooled, x, [2, 2], [2, 2], [0, 0], False, True, None)


def gpu_rnn_probes(device: str) -> Iterator[Call]:
    """LSTM and GRU layers as cuDNN runs them, forward and backward."""
    random = Random(14)
    for made in range(20):
        steps, batch = log_size(random, 16, 256), log_size(random, 8, 256)
        inputs, hidden = log_size(random, 32, 1024), log_size(random, 64, 1024)
        kind: type[torch.nn.LSTM] | type[torch.nn.GRU] = torch.nn.GRU if made % 5 in {1, 3} else torch.nn.LSTM
        layer = kind(inputs, hidden, device=device)
        x = torch.randn(steps, batch, inputs, device=device).requires_grad_()
        state = torch.zeros(1, batch, hidden, device=device)
        y = _with_graph(layer, x, state)
        wanted, grad = [x, *layer.parameters()], torch.randn_like(y)
        yield lambda layer=layer, x=x, s=state: _with_graph(layer, x, s)  # type: ignore[misc]
        yield lambda y=y, wanted=wanted, grad=grad: torch.autograd.grad(y, wanted, grad, retain_graph=True)  # type: ignore[misc]


def _with_graph(layer: torch.nn.RNNBase, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():  # else cuDNN keeps nothing for the backward pass and runs another kernel
        y: torch.Tensor = layer(x, (state, state) if isinstance(layer, torch.nn.LSTM) else state)[0]
        return y


def gpu_list_probes(device: str) -> Iterator[Call]:
    """Optimizer kernels over lists of tensors."""
    for tensors, size in ((4, 64), (32, 256), (64, 65536), (160, 150000), (24, 2500000), (8, 16000000)):
        lists = [[torch.rand(size, device=device) for _ in range(tensors)] for _ in range(4)]
        steps = [torch.ones((), device=device) for _ in range(tensors)]
        first, second = lists[:2]
        yield lambda p=first, q=second: torch._foreach_add_(p, q, alpha=0.1)  # type: ignore[misc]
        yield lambda p=first: torch._foreach_mul_(p, 0.9)  # type: ignore[misc]
        yield lambda p=first, q=second: torch._foreach_add(p, q, alpha=0.1)  # type: ignore[misc]
        yield lambda p=first, q=second: torch._foreach_lerp_(p, q, 0.1)  # type: ignore[misc]
        yield lambda p=first, q=second: torch._foreach_addcmul_(p, q, q)  # type: ignore[misc]
        yield lambda p=first, q=second: torch._foreach_addcdiv_(p, q, q, -0.1)  # type: ignore[misc]
        yield lambda p=first: torch._foreach_sqrt(p)  # type: ignore[misc]
        yield lambda p=first: torch._foreach_norm(p)  # type: ignore[misc]
        yield lambda ls=lists, s=steps: aten._fused_adamw_(  # type: ignore[misc]
            ls[0], ls[1], ls[2], ls[3], [], s, lr=1e-3, beta1=0.9, beta2=0.99, weight_decay=0.0, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip
