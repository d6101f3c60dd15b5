"""Batch size: what it is made of, the learning rate that goes with it, and when more samples stop helping."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least, count, number
from trainworthy.explain.drawing import Grid, Mark, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.arguments import ceil_div
from trainworthy.formulas.training import (
    global_batch,
    largest_stable_step,
    scaled_ema_decay,
    scaled_learning_rate,
    steps_and_samples,
)

_FORMULAS = (
    Formula(
        text="linear: lr' = lr B'/B      square root: lr' = lr sqrt(B'/B)",
        source="Goyal et al., Accurate, large minibatch SGD, 2017; Malladi et al., SDEs and scaling rules for "
        "adaptive gradient algorithms, 2022",
    ),
    Formula(
        text="(S/Smin - 1)(E/Emin - 1) = 1, critical batch = Emin/Smin ~ trace(Sigma)/|G|^2",
        source="McCandlish et al., An empirical model of large-batch training, 2018",
    ),
    Formula(
        text="gradient descent is stable for lr < 2/L, with momentum lr < 2 (1 + beta)/L",
        source="Polyak 1964; Cohen et al., Edge of stability, 2021",
    ),
)
_NOTES = (
    "The critical batch is a property of data and loss, and grows during training; the default here is no advice.",
    "The last batch of an epoch is smaller unless drop_last=True; its mean loss counts as much as a full one.",
    "clip_grad_norm_ belongs after the last micro-step (and scaler.unscale_), not after each one.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--micro", type=at_least(1), default=8, help="samples of one forward pass (default 8)")
    parser.add_argument("--accumulate", type=at_least(1), default=4, help="micro-steps of a step (default 4)")
    parser.add_argument("--ranks", type=at_least(1), default=8, help="data-parallel ranks (default 8)")
    parser.add_argument("--reference", type=at_least(1), default=32, help="batch the learning rate is for (default 32)")
    parser.add_argument("--lr", type=number, default=3e-4, help="learning rate at that batch (default 3e-4)")
    parser.add_argument("--critical", type=at_least(1), default=1024, help="critical batch size (default 1024)")
    parser.add_argument("--samples", type=count, default="1e6", help="samples of an epoch (default 1e6)")


@subject(
    "batch-size",
    summary="batch, accumulation, learning rate, critical batch size",
    group="cost",
    arguments=_arguments,
    examples=("--micro 8 --accumulate 4 --ranks 8", "--micro 32 --ranks 256 --accumulate 1 --reference 256 --lr 0.1"),
    aliases=("learning-rate", "gradient-accumulation", "batch"),
)
def batch_size(options: argparse.Namespace) -> Explanation:
    """Explain batch size and learning rate."""
    batch = global_batch(micro_batch=options.micro, accumulation=options.accumulate, data_parallel=options.ranks)
    rates = {
        rule: scaled_learning_rate(learning_rate=options.lr, batch=options.reference, new_batch=batch, rule=rule)
        for rule in ("linear", "sqrt")
    }
    steps = ceil_div(options.samples, batch)
    rows = [_row(options, size) for size in _sizes(batch, options.critical)]
    at = next(i for i, size in enumerate(_sizes(batch, options.critical)) if size == batch)
    heads = ["batch", "steps", "samples", "lr linear", "lr sqrt"]
    table = columns([heads, *rows], gap=3)
    table[at + 1] += "   <- this batch"
    marks: dict[tuple[int, int], Mark] = {(at, column): "strong" for column in range(len(heads))}
    scaled_ema_decay(decay=0.999, batch=options.reference, new_batch=batch)
    title = f"{options.micro} x {options.accumulate} x {options.ranks} = {batch:,}"
    return Explanation(
        title=title,
        result=f"{batch:,} samples a step, {steps:,} steps an epoch; learning rate {rates['linear']:.3g} (SGD, "
        f"linear) or {rates['sqrt']:.3g} (Adam, square root)",
        steps=_steps(options, batch, rates),
        diagram="\n".join(["to the same loss, in units of the least", *table]),
        svg=grids_svg(title, [Grid(cells=rows, heads=heads, marks=marks)]),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(options),
        see_also=("ddp", "flops", "mixed-precision"),
        values={
            "batch_samples": batch, "steps_per_epoch": steps, "linear_learning_rate": rates["linear"],
            "sqrt_learning_rate": rates["sqrt"], "critical_batch_samples": options.critical,
            "relative_steps": 1 + options.critical / batch, "relative_samples": 1 + batch / options.critical,
        },
    )  # fmt: skip


def _steps(options: argparse.Namespace, batch: int, rates: dict[str, float]) -> tuple[str, ...]:
    title = f"{options.micro} x {options.accumulate} x {options.ranks} = {batch:,}"
    decay = scaled_ema_decay(decay=0.999, batch=options.reference, new_batch=batch)
    return (
        f"One step sees micro-batch x accumulation x data-parallel ranks = {title} samples. Tensor and pipeline "
        "ranks do not count: they share samples.",
        f"From {options.reference} to {batch} samples: linear x {batch / options.reference:.4g}, square root x "
        f"{rates['sqrt'] / options.lr:.4g}. Linear needs warm-up and fails where noise no longer dominates.",
        f"Below the critical batch ({options.critical}) twice the batch saves nearly half of the steps, above it "
        "nearly none: at the critical size both steps and samples are twice their least.",
        "Divide the loss of each micro-step by the number of micro-steps, or, if they have different numbers of "
        "tokens, weigh each mean by its tokens / all tokens (times ranks under DDP).",
        f"Averages over steps (EMA, Adam's betas, BatchNorm's momentum) change with the batch: a decay of 0.999 at "
        f"{options.reference} is {decay:.4g} here, for the same span of samples.",
    )


def _sizes(batch: int, critical: int) -> list[int]:
    return sorted({batch, critical, *(max(batch * 4**power // 16, 1) for power in (0, 1, 3, 4))})


def _row(options: argparse.Namespace, size: int) -> list[str]:
    steps, samples = steps_and_samples(batch=size, critical_batch=options.critical, least_steps=1, least_samples=1)
    rates = [
        scaled_learning_rate(learning_rate=options.lr, batch=options.reference, new_batch=size, rule=rule)
        for rule in ("linear", "sqrt")
    ]
    return [f"{size:,}", f"{steps:.3g}", f"{samples:.3g}", *(f"{rate:.3g}" for rate in rates)]


def _snippet(options: argparse.Namespace) -> str:
    edge = largest_stable_step(curvature=10.0)
    return "\n".join([
        "import torch",
        "",
        f"batch = {options.micro} * {options.accumulate} * {options.ranks}",
        f"assert batch == {options.micro * options.accumulate * options.ranks}",
        "",
        "w = torch.ones(1, requires_grad=True)  # accumulation: weights by tokens",
        "parts = [torch.arange(3.0), torch.arange(5.0)]  # of 3 and 5 tokens",
        "for x in parts:",
        "    (len(x) / 8 * (w * x).mean()).backward()",
        "assert torch.isclose(w.grad, torch.cat(parts).mean())",
        "",
        "def distance(lr, x=1.0):  # gradient descent on 10 x^2 / 2: stable below 2/10",
        "    for _ in range(100):",
        "        x -= lr * 10 * x",
        "    return abs(x)",
        "",
        f"assert distance(0.99 * {edge:g}) < 1 < distance(1.01 * {edge:g})",
    ])  # fmt: skip
