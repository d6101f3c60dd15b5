"""FLOPs of a training step and of a whole run: 6 N D and what it leaves out."""

from __future__ import annotations

import argparse
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import at_least, count
from trainworthy.explain.bars import Bar, bar_lines, bars_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import add_gpu, fraction
from trainworthy.explain.registry import subject
from trainworthy.formulas.roofline import compute_time_s
from trainworthy.formulas.transformer import (
    decoder_flops_per_token,
    decoder_parameters,
    layer_matmul_parameters,
    training_flops,
)
from trainworthy.units import format_count, format_flops, format_seconds

_FORMULAS = (
    Formula(text="C = 6 N D", source="Kaplan et al., Scaling laws for neural language models, 2020"),
    Formula(
        text="FLOPs per token = 6 N_matmul + 12 L h s\nMFU = tokens/s x FLOPs per token / peak",
        source="Chowdhery et al., PaLM, 2022, appendix B",
    ),
)
_NOTES = (
    "Published figures differ by conventions: full recomputation counted (+33 %), causal attention halved, "
    "embedding counted or not. Compare step times where you can.",
    "Peaks are dense. A MAC is 2 FLOPs; many image-model tables print MACs and call them FLOPs.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=count, default="15e12", help="of the whole run (default 15e12)")
    parser.add_argument("--layers", type=at_least(1), default=32, help="default 32")
    parser.add_argument("--hidden", type=at_least(1), default=4096, help="default 4096")
    parser.add_argument("--ffn", type=at_least(1), help="width of the MLP (default 3.5 hidden if gated, else 4 hidden)")
    parser.add_argument("--heads", type=at_least(1), default=32, help="default 32")
    parser.add_argument("--kv-heads", type=at_least(1), help="heads of keys and values (default: as many as heads)")
    parser.add_argument("--vocab", type=at_least(1), default=128256, help="default 128256")
    parser.add_argument("--sequence", type=at_least(1), default=8192, help="default 8192")
    parser.add_argument("--mlp", choices=("gated", "plain"), default="gated", help="default gated")
    parser.add_argument("--gpus", type=at_least(1), default=1024, help="default 1024")
    parser.add_argument("--mfu", type=fraction, default=0.4, help="share of the peak that is reached (default 0.4)")
    add_gpu(parser)


@subject(
    "flops",
    summary="FLOPs per token and of a run: 6 N D and what it leaves out",
    group="cost",
    arguments=_arguments,
    examples=(
        "--kv-heads 8", "--layers 12 --hidden 768 --heads 12 --vocab 50257 --sequence 1024 --mlp plain --tokens 300b",
        "--layers 80 --hidden 8192 --ffn 28672 --heads 64 --kv-heads 8 --gpus 2048",
    ),
    aliases=("6nd", "training-flops", "mfu"),
)  # fmt: skip
def flops(options: argparse.Namespace) -> Explanation:
    """Explain the FLOPs of training a decoder."""
    shape = _shape(options)
    per_token = decoder_flops_per_token(**shape, causal="full")
    parts = _parts(options, shape)
    parameters = decoder_parameters(**{key: value for key, value in shape.items() if key != "sequence"})
    run = per_token * options.tokens
    rule = training_flops(parameters=parameters, tokens=options.tokens)
    peak = options.gpu.peak_tflops("bf16") or options.gpu.peak_tflops("fp16")
    if peak is None:
        raise UsageError(f"{options.gpu.id} has no 16-bit peak to compare with.", where="--gpu")
    time_s = compute_time_s(flops=run, peak_tflops=peak) / options.gpus / options.mfu
    recomputed = decoder_flops_per_token(**shape, causal="full", recompute="full")
    title = f"{format_count(parameters)} parameters, {format_count(options.tokens)} tokens"
    bars = [Bar(name, amount, f"{format_flops(amount)}, {amount / per_token:.1%}") for name, amount in parts.items()]
    return Explanation(
        title=title,
        result=f"{format_flops(per_token)} a token, {format_flops(run)} in all: {format_seconds(time_s)} on "
        f"{options.gpus:,} x {options.gpu.id} at {options.mfu:.0%} of the peak",
        steps=_steps(options, parts, parameters, peak),
        diagram="\n".join(["FLOPs of a token, forward and backward", *bar_lines(bars, cells=26)]),
        svg=bars_svg(title, bars),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(),
        see_also=("matmul", "roofline", "checkpointing"),
        values={
            "parameters": parameters, "flops_per_token": per_token, "parts_flops_per_token": parts, "run_flops": run,
            "six_n_d_flops": rule, "time_s": time_s, "recomputed_flops_per_token": recomputed, "gpu": options.gpu.id,
        },
    )  # fmt: skip


def _steps(options: argparse.Namespace, parts: dict[str, float], parameters: int, peak: float) -> tuple[str, ...]:
    per_token = sum(parts.values())
    run = per_token * options.tokens
    rule = training_flops(parameters=parameters, tokens=options.tokens)
    time_s = compute_time_s(flops=run, peak_tflops=peak) / options.gpus / options.mfu
    recomputed = per_token + (per_token - parts["logits"]) / 3
    return (
        "Every weight of a matrix product costs 2 FLOPs a token forward and 4 backward (its input's gradient and "
        "its own): 6 N.",
        "Attention scores and their product with the values: 12 L h s = "
        f"{format_flops(parts['attention scores'])} a "
        "token, causal mask or not (half of it with the mask, if a kernel skips what it hides).",
        f"6 N D with all {format_count(parameters)} parameters gives {format_flops(rule)}, "
        f"{rule / run - 1:+.1%}: it "
        "counts the embedding, which is looked up and not multiplied, and leaves the scores out.",
        f"With full checkpointing a step executes {format_flops(recomputed)} a token, "
        f"{recomputed / per_token - 1:+.0%}.",
        f"Time = {format_flops(run)} / ({options.gpus:,} x {peak:g} TFLOP/s x {options.mfu:g}) = "
        f"{time_s / 86400:,.1f} days.",
    )


def _shape(options: argparse.Namespace) -> dict[str, Any]:
    heads, kv_heads = options.heads, options.kv_heads or options.heads
    if options.hidden % heads:
        raise UsageError(f"--heads {heads} does not divide --hidden {options.hidden}.", where="--heads")
    if heads % kv_heads:
        raise UsageError(f"--kv-heads {kv_heads} does not divide --heads {heads}.", where="--kv-heads")
    ffn = options.ffn or (options.hidden * 7 // 2 if options.mlp == "gated" else options.hidden * 4)
    return {
        "layers": options.layers, "hidden": options.hidden, "ffn": ffn, "heads": heads, "kv_heads": kv_heads,
        "vocabulary": options.vocab, "mlp": options.mlp, "sequence": options.sequence,
    }  # fmt: skip


def _parts(options: argparse.Namespace, shape: dict[str, Any]) -> dict[str, float]:
    layer = {key: shape[key] for key in ("hidden", "ffn", "heads", "kv_heads", "mlp")}
    weights = layer_matmul_parameters(**layer)
    mlp = options.hidden * int(shape["ffn"]) * (3 if options.mlp == "gated" else 2)
    return {
        "attention weights": 6.0 * options.layers * (weights - mlp),
        "attention scores": 12.0 * options.layers * options.hidden * options.sequence,
        "mlp": 6.0 * options.layers * mlp,
        "logits": 6.0 * options.hidden * options.vocab,
    }


def _snippet() -> str:
    return """\
import torch
from torch.utils.flop_counter import FlopCounterMode

s, h, f = 64, 32, 128  # tokens, width, width of the MLP
x = torch.empty(1, s, h, device="meta", requires_grad=True)
shapes = (h, 3 * h), (h, h), (h, f), (f, h)
ws = [torch.empty(d, device="meta", requires_grad=True) for d in shapes]
wqkv, wo, w1, w2 = ws
with FlopCounterMode(display=False) as counter:
    q, k, v = (x @ wqkv).chunk(3, -1)
    a = x + (q @ k.mT).softmax(-1) @ v @ wo
    (a + (a @ w1).relu() @ w2).sum().backward()
n = sum(w.numel() for w in ws)
assert counter.get_total_flops() / s == 6 * n + 12 * h * s"""
