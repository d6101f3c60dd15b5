"""Small questions whose answers must be the same on a real GPU and on the virtual one.

Each probe runs on ``cuda``, whatever that is: in a process with a GPU it asks the GPU, inside ``VirtualGpu`` it asks
trainworthy. An answer is a text; what raises answers with its type and message.

    python -m benchmarks.gpu_probes real
    python -m benchmarks.gpu_probes virtual --gpu h200-sxm-141gb
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from benchmarks.common import leave

Answers = dict[str, str]


def _answer(ask: Callable[[], Any]) -> str:
    try:
        return str(ask())
    except Exception as error:
        return f"{type(error).__name__}: {_first_lines(str(error))}"


def _first_lines(text: str) -> str:
    """Leave out the C++ stack and addresses, which differ from build to build."""
    kept = text.split("\nException raised from")[0].split("\nCUDA kernel errors")[0]
    return re.sub(r"0x[0-9a-f]+", "0x...", kept).strip()


# --- kernels of scaled_dot_product_attention ----------------------------------------------------------


def attention_kernels() -> Answers:
    """Say which kernel runs, by the operation that is dispatched, for shapes, types, masks and gradients."""
    import torch

    answers = {}
    for name, shape, dtype, options in _attention_questions():
        kind = getattr(torch, dtype)
        answers[f"{name} {dtype}"] = _answer(partial(_kernel_of, shape, kind, **options))
    return answers


def _attention_questions() -> Iterator[tuple[str, tuple[int, ...], str, dict[str, Any]]]:
    plain = (2, 4, 64, 64)
    variants: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
        "plain": (plain, {}),
        "causal": (plain, {"is_causal": True}),
        "no gradient": (plain, {"gradient": False}),
        "dropout": (plain, {"dropout_p": 0.1}),
        "boolean mask": (plain, {"mask": "bool"}),
        "additive mask": (plain, {"mask": "float"}),
        "mask with gradient": (plain, {"mask": "gradient"}),
        "odd mask width": ((2, 4, 63, 64), {"mask": "float"}),
        "head width 128": ((2, 4, 64, 128), {}),
        "head width 192": ((2, 4, 64, 192), {}),
        "head width 256": ((2, 4, 64, 256), {}),
        "head width 512": ((2, 4, 64, 512), {}),
        "head width 36": ((2, 4, 64, 36), {}),
        "head width 33": ((2, 4, 64, 33), {}),
        "shared heads": (plain, {"kv_heads": 2}),
        "three dimensions": ((8, 64, 64), {}),
        "one query": (plain, {"queries": 1}),
        "causal, one query": (plain, {"queries": 1, "is_causal": True}),
        "transposed": (plain, {"transposed": True}),
        "wider values": (plain, {"value_width": 128}),
    }
    for name, (shape, options) in variants.items():
        for dtype in ("float32", "float16", "bfloat16"):
            yield name, shape, dtype, options
    yield "plain", plain, "float64", {}


def _kernel_of(
    shape: tuple[int, ...], dtype: Any, *, is_causal: bool = False, gradient: bool = True, dropout_p: float = 0.0,
    mask: str | None = None, kv_heads: int | None = None, queries: int | None = None, transposed: bool = False,
    value_width: int | None = None,
) -> str:  # fmt: skip
    import torch
    import torch.nn.functional as F

    def make(*size: int) -> Any:
        if transposed:  # as (batch, tokens, heads, width) turned, the layout of most models
            size = (size[0], size[2], size[1], size[3])
        made = torch.zeros(size, dtype=dtype, device="cuda", requires_grad=gradient)
        return made.transpose(1, 2) if transposed else made

    *batch, tokens, width = shape
    q = make(*batch, queries or tokens, width)
    shared = [batch[0], kv_heads] if kv_heads else batch
    k, v = make(*shared, tokens, width), make(*shared, tokens, value_width or width)
    bias = None
    if mask is not None:
        kind = torch.bool if mask == "bool" else dtype
        bias = torch.ones(queries or tokens, tokens, dtype=kind, device="cuda", requires_grad=mask == "gradient")
    with dispatched() as names:
        F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=dropout_p, is_causal=is_causal, enable_gqa=kv_heads is not None
        )
    for kernel in ("flash", "efficient", "cudnn"):
        if any(f"{kernel}_attention" in name for name in names):
            return kernel
    return "math"


def dispatched() -> Any:
    """Collect the names of the operations that run, as a context."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Names(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.names: list[str] = []

        def __enter__(self) -> list[str]:
            super().__enter__()  # type: ignore[no-untyped-call]
            return self.names

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    return Names()


# --- autocast -----------------------------------------------------------------------------------------


def autocast_dtypes() -> Answers:
    """Say which dtype each operation returns under autocast, for inputs of both precisions."""
    import torch

    answers = {}
    for lower in (torch.bfloat16, torch.float16):
        for given in (torch.float32, lower):
            a = torch.rand(8, 8, device="cuda", dtype=given) * 0.5 + 0.25
            b = torch.rand(8, 8, device="cuda") * 0.5 + 0.25
            for name, ask in _autocast_questions(a, b).items():
                with torch.autocast("cuda", lower):
                    key = f"{name} {_short(given)} under {_short(lower)}"
                    answers[key] = _answer(lambda ask=ask: _short(ask().dtype))  # type: ignore[misc]
    return answers


def _short(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


_UNARY = """
acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan sqrt sin tanh sigmoid relu sum prod mean
norm abs square clone var max argmax
"""


def _autocast_questions(a: Any, b: Any) -> dict[str, Callable[[], Any]]:
    import torch
    import torch.nn.functional as F

    image, kernel = a.view(1, 1, 8, 8), b[:3, :3].reshape(1, 1, 3, 3)
    labels = torch.zeros(8, dtype=torch.int64, device="cuda")
    ones = torch.ones(8, device="cuda")
    questions = {name: partial(getattr(torch, name), a) for name in _UNARY.split()}
    return {
        **questions,
        "cumsum": lambda: torch.cumsum(a, 0), "cumprod": lambda: torch.cumprod(a, 0),
        "matmul": lambda: a @ b, "mm": lambda: torch.mm(a, b), "mv": lambda: torch.mv(a, b[0]),
        "addmm": lambda: torch.addmm(b, a, b), "bmm": lambda: torch.bmm(a[None], b[None]),
        "baddbmm": lambda: torch.baddbmm(b[None], a[None], b[None]), "dot": lambda: torch.dot(a[0], b[0]),
        "einsum": lambda: torch.einsum("ij,jk->ik", a, b), "linear": lambda: F.linear(a, b, ones),
        "conv2d": lambda: F.conv2d(image, kernel), "conv_transpose2d": lambda: F.conv_transpose2d(image, kernel),
        "prelu": lambda: F.prelu(a, torch.full((1,), 0.25, device="cuda")), "pow": lambda: a**2,
        "pow tensor": lambda: a**b, "softmax": lambda: F.softmax(a, -1), "log_softmax": lambda: F.log_softmax(a, -1),
        "layer_norm": lambda: F.layer_norm(a, (8,), ones, ones), "rms_norm": lambda: F.rms_norm(a, (8,), ones),
        "group_norm": lambda: F.group_norm(a.view(1, 8, 8), 2, ones, ones), "gelu": lambda: F.gelu(a),
        "batch_norm": lambda: F.batch_norm(a, ones, ones, ones, ones, training=True), "silu": lambda: F.silu(a),
        "softplus": lambda: F.softplus(a), "dropout": lambda: F.dropout(a, 0.5), "add": lambda: a + b,
        "mul": lambda: a * b, "addcmul": lambda: torch.addcmul(a, b, b), "addcdiv": lambda: torch.addcdiv(a, b, b),
        "atan2": lambda: torch.atan2(a, b), "cross": lambda: torch.linalg.cross(a[:, :3], b[:, :3]),
        "cat": lambda: torch.cat([a, b]), "stack": lambda: torch.stack([a, b]),
        "where": lambda: torch.where(a > b, a, b),
        "bilinear": lambda: F.bilinear(a, b, b.view(1, 8, 8)), "cross_entropy": lambda: F.cross_entropy(a, labels),
        "mse_loss": lambda: F.mse_loss(a, b), "l1_loss": lambda: F.l1_loss(a, b),
        "smooth_l1_loss": lambda: F.smooth_l1_loss(a, b), "huber_loss": lambda: F.huber_loss(a, b),
        "nll_loss": lambda: F.nll_loss(a, labels), "kl_div": lambda: F.kl_div(a, b, reduction="batchmean"),
        "binary_cross_entropy": lambda: F.binary_cross_entropy(a, b),
        "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(a, b),
        "cosine_similarity": lambda: F.cosine_similarity(a, b), "cdist": lambda: torch.cdist(a, b),
        "scatter_add": lambda: torch.zeros(8, 8, device="cuda").scatter_add(0, labels.expand(8, 8), a),
        "index_put": lambda: b.clone().index_put((labels,), a),
        "interpolate": lambda: F.interpolate(image, scale_factor=2),
        "max_pool2d": lambda: F.max_pool2d(image, 2), "avg_pool2d": lambda: F.avg_pool2d(image, 2),
        "attention": lambda: F.scaled_dot_product_attention(*(t.view(1, 1, 8, 8) for t in (a, b, b))),
        "embedding": lambda: F.embedding(labels, a),
        "grid_sample": lambda: F.grid_sample(image, b.view(1, 4, 8, 2), align_corners=False),
    }  # fmt: skip


# --- errors -------------------------------------------------------------------------------------------


def error_texts() -> Answers:
    """Say what common mistakes of device, dtype and shape raise."""
    return {name: _answer(partial(_no_error, ask)) for name, ask in _mistakes().items()}


def _no_error(ask: Callable[[], Any]) -> str:
    return f"no error: {type(ask()).__name__}"


def _mistakes() -> dict[str, Callable[[], Any]]:
    import torch
    import torch.nn.functional as F
    from torch import nn

    gpu = {"device": "cuda"}
    x, host = torch.zeros(4, 8, **gpu), torch.zeros(4, 8)  # type: ignore[call-overload]
    half, ints = x.half(), torch.zeros(4, dtype=torch.int64, **gpu)  # type: ignore[call-overload]
    image = torch.zeros(2, 3, 8, 8, **gpu)  # type: ignore[call-overload]
    linear, conv = nn.Linear(8, 4).to("cuda"), nn.Conv2d(3, 4, 3).to("cuda")
    embedding = nn.Embedding(10, 4).to("cuda")
    return {
        "device: linear, input on the host": lambda: linear(host),
        "device: linear, layer on the host": lambda: nn.Linear(8, 4)(x),
        "device: add": lambda: x + host, "device: add, the other way": lambda: host + x,
        "device: matmul": lambda: x @ host.t(), "device: cat": lambda: torch.cat([x, host]),
        "device: conv2d": lambda: conv(torch.zeros(2, 3, 8, 8)),
        "device: embedding": lambda: embedding(torch.zeros(4, dtype=torch.int64)),
        "device: cross_entropy": lambda: F.cross_entropy(x, torch.zeros(4, dtype=torch.int64)),
        "device: mse_loss": lambda: F.mse_loss(x, host), "device: index": lambda: host[ints],
        "device: batch_norm": lambda: nn.BatchNorm1d(8)(x), "device: layer_norm": lambda: nn.LayerNorm(8)(x),
        "device: where": lambda: torch.where(x > 0, x, host), "device: bmm": lambda: torch.bmm(x[None], host.t()[None]),
        "device: numpy": lambda: x.numpy(), "device: copy in place": lambda: x.add_(host),
        "device: gather": lambda: x.gather(0, torch.zeros(1, 8, dtype=torch.int64)),
        "device: second GPU": lambda: torch.zeros(1, device="cuda:9"),
        "dtype: matmul": lambda: x @ half.t(), "dtype: linear": lambda: linear(half),
        "dtype: conv2d": lambda: conv(image.half()), "dtype: conv2d double": lambda: conv(image.double()),
        "dtype: cross_entropy": lambda: F.cross_entropy(x, ints.float()),
        "dtype: cross_entropy int32": lambda: F.cross_entropy(x, ints.int()),
        "dtype: embedding": lambda: embedding(ints.float()), "dtype: bmm": lambda: torch.bmm(x[None], half.t()[None]),
        "dtype: integers with gradient": lambda: ints.requires_grad_(), "dtype: mean of integers": lambda: ints.mean(),
        "dtype: softmax of integers": lambda: F.softmax(ints, 0), "dtype: addmm": lambda: torch.addmm(half, x, x.t()),
        "shape: matmul": lambda: x @ x, "shape: linear": lambda: linear(x[:, :5]),
        "shape: add": lambda: x + x[:, :3], "shape: cat": lambda: torch.cat([x, x[:, :3]]),
        "shape: conv2d channels": lambda: conv(image[:, :2]), "shape: conv2d small": lambda: conv(image[..., :2, :2]),
        "shape: view": lambda: x.view(5, 5), "shape: bmm": lambda: torch.bmm(x[None], x[None]),
        "shape: cross_entropy": lambda: F.cross_entropy(x, ints[:3]), "shape: stack": lambda: torch.stack([x, x[:2]]),
        "shape: batch_norm": lambda: nn.BatchNorm1d(4).to("cuda")(x), "shape: item": lambda: x.item(),
        "shape: layer_norm": lambda: nn.LayerNorm(4).to("cuda")(x), "shape: expand": lambda: x.expand(4, 9),
        "shape: nonscalar backward": lambda: linear(x).backward(), "shape: index out of range": lambda: x[7],
        "shape: attention": lambda: F.scaled_dot_product_attention(x[None], x[None], x[None, :, :3]),
        "shape: lstm": lambda: nn.LSTM(6, 4).to("cuda")(x[None]), "shape: permute": lambda: x.permute(0, 1, 2),
        "shape: reshape": lambda: x.reshape(3, -1), "shape: squeeze": lambda: x.squeeze(5),
    }  # fmt: skip


# --- the device ---------------------------------------------------------------------------------------


def device_properties() -> Answers:
    """Say what the device says of itself."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": torch.cuda.get_device_name(0), "total_memory": str(properties.total_memory),
        "capability": str(torch.cuda.get_device_capability(0)),
        "multi_processor_count": str(properties.multi_processor_count),
        "bf16": str(torch.cuda.is_bf16_supported()), "available": str(torch.cuda.is_available()),
    }  # fmt: skip


PROBES: dict[str, Callable[[], Answers]] = {
    probe.__name__: probe for probe in (device_properties, attention_kernels, autocast_dtypes, error_texts)
}


def ask_virtual(gpu: str | None, wanted: Iterable[str] = PROBES) -> dict[str, Answers]:
    """Ask probes on the virtual GPU."""
    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu

    answers = {}
    for name in wanted:
        with VirtualGpu(gpu_row(gpu) if gpu else None):
            answers[name] = PROBES[name]()
    return answers


def main() -> None:
    """Answer in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", choices=["real", "virtual"])
    parser.add_argument("--gpu", help="row of trainworthy's hardware, for virtual")
    parser.add_argument("--only", choices=PROBES, help="ask this probe alone")
    options = parser.parse_args()
    wanted = [options.only] if options.only else list(PROBES)
    if options.where == "real":
        leave({name: PROBES[name]() for name in wanted})
    else:
        leave(ask_virtual(options.gpu, wanted))


if __name__ == "__main__":
    main()
