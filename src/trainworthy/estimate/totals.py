"""A whole training: how many steps it takes, and their time, energy and money."""

from __future__ import annotations

from trainworthy.estimate.amounts import Amounts
from trainworthy.estimate.energy import kwh, money
from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.result import RunTotals
from trainworthy.estimate.workload import Workload

__all__ = ["run_totals"]


def run_totals(
    amounts: Amounts, power: Quantity | None, step_s: Quantity, workload: Workload, *, gpus: int
) -> RunTotals | None:
    """Return the totals of what was asked for, or of a usual amount; None if its steps are not known."""
    wanted, steps = _wanted(amounts, workload)
    if steps is None:
        return None
    seconds = step_s.times(steps)
    return RunTotals(
        wanted=wanted, steps=steps, seconds=seconds, energy_kwh=kwh(power, seconds, gpus=gpus),
        money=money(seconds, price_per_hour=amounts.price_per_hour, gpus=gpus),
    )  # fmt: skip


def _wanted(amounts: Amounts, workload: Workload) -> tuple[str, float | None]:
    """Return what the whole training is, in words, and how many steps that takes."""
    if amounts.train_tokens is not None:
        return f"{amounts.train_tokens:.4g} tokens", _ratio(amounts.train_tokens, workload.tokens)
    if amounts.train_samples is not None:
        return f"{amounts.train_samples:.4g} samples", _ratio(amounts.train_samples, workload.samples)
    if amounts.epochs is not None:
        size = workload.dataset_size
        samples = None if size is None else amounts.epochs * size
        return f"{amounts.epochs:g} epochs of {size or 0:,} samples", _ratio(samples, workload.samples)
    if amounts.train_steps is not None:
        return f"{amounts.train_steps:,.0f} steps", amounts.train_steps
    if workload.tokens:
        return "1e+09 tokens", 1e9 / workload.tokens
    if workload.samples and workload.dataset_size:
        return f"1 epoch of {workload.dataset_size:,} samples", workload.dataset_size / workload.samples
    return "1,000 steps", 1000.0


def _ratio(amount: float | None, per_step: float | None) -> float | None:
    return None if amount is None or not per_step else amount / per_step
