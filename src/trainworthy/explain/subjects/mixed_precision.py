"""Mixed precision: what runs in 16 bits, what stays in float32, what it saves."""

from __future__ import annotations

import argparse

from trainworthy.errors import UsageError
from trainworthy.explain.bars import Bar, bar_lines, bars_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import add_gpu
from trainworthy.explain.registry import subject
from trainworthy.formulas.memory import PRECISIONS
from trainworthy.formulas.roofline import ops_to_byte_ratio
from trainworthy.hardware import Gpu

_TYPES = ("fp32", "tf32", "bf16", "fp16", "fp8")
_RANGE = {"fp16": (6.1e-5, 65504.0), "bf16": (1.18e-38, 3.39e38)}
_EPSILON = {"fp16": 2.0**-10, "bf16": 2.0**-7}

_FORMULAS = (
    Formula(
        text="scaled loss = S x loss; gradient = scaled gradient / S\n"
        "S halves when a gradient overflows (no step), doubles after 2000 good steps",
        source="Micikevicius et al., Mixed precision training, 2018; torch.amp.GradScaler (torch 2.13)",
    ),
    Formula(
        text="\n".join(
            f"{name:16} {p.weight:g} + {p.gradient:g} + {p.master:g} + 2 x {p.state_element}"
            for name, p in PRECISIONS.items()
        ),
        source="bytes a parameter with Adam: weight + gradient + master + states; ZeRO, 2020, section 3.1",
    ),
)
_NOTES = (
    "Run forward and loss under autocast, backward outside it.",
    "scaler.unscale_(optimizer) before clip_grad_norm_, or the threshold is compared with scaled gradients.",
    'float32 products use TF32 only with torch.set_float32_matmul_precision("high").',
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=("bf16", "fp16"), default="bf16", help="default bf16")
    add_gpu(parser)


@subject(
    "mixed-precision",
    summary="autocast, loss scaling, bf16 and fp16; gains by type",
    group="numbers",
    arguments=_arguments,
    examples=("--dtype bf16 --gpu h100-sxm-80gb", "--dtype fp16 --gpu t4-pcie-16gb", "--gpu a100-sxm-80gb"),
    aliases=("amp", "autocast", "loss-scaling", "gradscaler"),
)
def mixed_precision(options: argparse.Namespace) -> Explanation:
    """Explain mixed precision."""
    row: Gpu = options.gpu
    peak, plain = row.peak_tflops(options.dtype), row.peak_tflops("fp32")
    if peak is None or plain is None:
        raise UsageError(
            f"{row.id} has no unit for {options.dtype} products.", where="--dtype",
            fix="Take --dtype fp16, or a GPU that has one.",
        )  # fmt: skip
    rates = {name: rate for name in _TYPES if (rate := row.peak_tflops(name)) is not None}
    ridge = ops_to_byte_ratio(peak_tflops=peak, memory_gb_per_s=row.memory_gb_per_s)
    low, high = _RANGE[options.dtype]
    title = f"{options.dtype} on {row.id}"
    bars = [
        Bar(name, rate, f"{rate:g} TFLOP/s, {rate / plain:.1f} x fp32", "good" if name == options.dtype else "strong")
        for name, rate in rates.items()
    ]
    return Explanation(
        title=title,
        result=f"products {peak / plain:.1f} times as fast as float32 at best, tensors half as large; "
        + ("loss scaling is needed" if options.dtype == "fp16" else "no loss scaling is needed"),
        steps=_steps(options, rates),
        diagram="\n".join([*bar_lines(bars, cells=24), "", *_circle(options.dtype)]),
        svg=bars_svg(title, bars),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(options.dtype),
        see_also=("adam-memory", "matmul", "roofline"),
        values={
            "dtype": options.dtype, "gpu": row.id, "peaks_tflops": rates, "speedup_over_fp32": peak / plain,
            "ops_to_byte_flop_per_byte": ridge, "smallest_normal": low, "largest": high,
            "epsilon": _EPSILON[options.dtype], "needs_loss_scaling": options.dtype == "fp16",
        },
    )  # fmt: skip


def _steps(options: argparse.Namespace, rates: dict[str, float]) -> tuple[str, ...]:
    row: Gpu = options.gpu
    peak, plain = rates[options.dtype], rates["fp32"]
    low, high = _RANGE[options.dtype]
    ridge = ops_to_byte_ratio(peak_tflops=peak, memory_gb_per_s=row.memory_gb_per_s)
    return (
        f"torch.autocast runs matrix products and convolutions in {options.dtype}, and keeps what needs range or "
        "digits (softmax, norms, losses, sums) in float32. Weights stay float32 and are cast when used.",
        f"{options.dtype} holds normal numbers from {low:.3g} to {high:.3g}, with steps of "
        f"{_EPSILON[options.dtype]:g} "
        "at 1."
        + (
            " Gradients below it vanish: multiply the loss by a scale (GradScaler), divide before clipping and "
            "stepping."
            if options.dtype == "fp16"
            else " It has the range of float32, so gradients do not vanish, and fewer digits."
        ),
        f"A weight near 1 does not change by less than {_EPSILON[options.dtype] / 2:g} in {options.dtype}: "
        "updates need a float32 copy of the weights (autocast keeps one; model.bfloat16() has none).",
        f"Speed: {peak:g} TFLOP/s against {plain:g} of float32"
        + (f" and {rates['tf32']:g} of TF32" if "tf32" in rates else "")
        + f". The ridge moves to {ridge:.0f} FLOP/B: more operations become memory bound, and those gain from "
        "smaller tensors only.",
        f"Memory a parameter with Adam: float32 16 B; autocast 16 B; 16-bit weights with a master copy 16 B; "
        f"everything in {options.dtype} 8 B. Activations are what autocast halves.",
    )


def _circle(dtype: str) -> tuple[str, ...]:
    """Draw what is kept in float32 and what is computed in 16 bits."""
    last = "optimizer ◀───────── gradients f32 ◀── backward ◀── loss f32"
    if dtype == "fp16":
        last = "optimizer ◀── unscale ◀── gradients f32 ◀── backward ◀── loss f32 (x scale)"
    return (
        "weights f32 ──cast──▶ 16-bit ──▶ product ──▶ activations 16-bit",
        "   ▲                                              │",
        "   │ step, f32                                    ▼",
        last,
    )


def _snippet(dtype: str) -> str:
    name = {"bf16": "bfloat16", "fp16": "float16"}[dtype]
    low, high = _RANGE[dtype]
    lines = [
        "import torch",
        "",
        f"t = torch.finfo(torch.{name})",
        f"assert t.eps == {_EPSILON[dtype]!r}",
        f"assert abs(t.tiny / {low:g} - 1) < 0.01 and abs(t.max / {high:g} - 1) < 0.01",
        f"one = torch.ones((), dtype=torch.{name})",
        "assert one + t.eps / 4 == one  # a small update is lost",
        f'with torch.autocast("cpu", dtype=torch.{name}):',
        "    x = torch.ones(4, 4) @ torch.ones(4, 4)",
        f"    assert x.dtype == torch.{name}",
    ]
    if dtype == "fp16":
        lines += [
            "g = torch.tensor(1e-8)  # a gradient",
            "assert g.half() == 0 and (g * 65536).half().float() > 0  # with a scale",
        ]
    return "\n".join(lines)
