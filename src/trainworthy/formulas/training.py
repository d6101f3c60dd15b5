"""Facts of gradient descent: step size, batch size, accumulation, and how many steps, epochs and tokens there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import (
    ceil_div,
    require_not_negative,
    require_one_of,
    require_positive,
    require_whole,
)


class EpochSteps(NamedTuple):
    """Optimizer steps of an epoch, and samples that are left out or seen twice to get there."""

    steps: int
    dropped_samples: int
    repeated_samples: int


def largest_stable_step(*, curvature: float, momentum: float = 0.0) -> float:
    """Return the step size at which gradient descent on a quadratic diverges: 2/L, with momentum 2 (1 + beta)/L.

    Unit:     1 / unit of the curvature
    Exact?    for a quadratic whose largest eigenvalue is L; networks train near this edge
    Source:   Polyak 1964; Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
              stability", 2021

    >>> largest_stable_step(curvature=10.0), largest_stable_step(curvature=10.0, momentum=0.9)
    (0.2, 0.38)

    Raises:
        FormulaError: If the curvature is not above 0 or the momentum not in [0, 1).
    """
    require_positive(curvature=curvature)
    _require_decay(momentum=momentum)
    return 2 * (1 + momentum) / curvature


def best_quadratic_step(*, largest_curvature: float, smallest_curvature: float) -> tuple[float, float]:
    """Return the step size that converges fastest on a quadratic, 2/(L + mu), and the factor that remains of the error.

    Unit:     1 / unit of the curvature; factor per step, (kappa - 1)/(kappa + 1)
    Exact?    for a quadratic with eigenvalues between mu and L
    Source:   Nesterov, "Introductory lectures on convex optimization", 2004, theorem 2.1.15

    >>> best_quadratic_step(largest_curvature=9.0, smallest_curvature=1.0)
    (0.2, 0.8)

    Raises:
        FormulaError: If a curvature is not above 0 or the smallest is larger than the largest.
    """
    require_positive(largest_curvature=largest_curvature, smallest_curvature=smallest_curvature)
    if smallest_curvature > largest_curvature:
        raise FormulaError("smallest_curvature", smallest_curvature, f"at most largest_curvature = {largest_curvature}")
    total = largest_curvature + smallest_curvature
    return 2 / total, (largest_curvature - smallest_curvature) / total


def scaled_learning_rate(
    *, learning_rate: float, batch: float, new_batch: float, rule: Literal["linear", "sqrt"]
) -> float:
    """Return the learning rate for another batch size.

    ``"linear"`` keeps the expected change per sample of SGD while the batch is below the noise scale; ``"sqrt"`` keeps
    the size of the noise, and is the rule for Adam.

    Unit:     that of the learning rate
    Exact?    rules of thumb: they fail above the critical batch size, and linear needs warm-up
    Source:   Goyal et al., "Accurate, large minibatch SGD", 2017 (linear); Krizhevsky 2014 and Malladi et al., "On the
              SDEs and scaling rules for adaptive gradient algorithms", 2022 (square root)

    >>> scaled_learning_rate(learning_rate=0.1, batch=256, new_batch=8192, rule="linear")
    3.2
    >>> round(scaled_learning_rate(learning_rate=3e-4, batch=256, new_batch=1024, rule="sqrt"), 6)
    0.0006

    Raises:
        FormulaError: If a value is not above 0 or the rule is unknown.
    """
    require_positive(learning_rate=learning_rate, batch=batch, new_batch=new_batch)
    require_one_of(("linear", "sqrt"), rule=rule)
    ratio = new_batch / batch
    return learning_rate * (ratio if rule == "linear" else math.sqrt(ratio))


def noise_scale(*, small_batch: int, large_batch: int, small_norm_squared: float, large_norm_squared: float) -> float:
    """Estimate the batch size at which gradient noise and gradient are equally large: trace(Sigma) / |G|^2.

    Average the squared norms of gradients at two batch sizes over many steps first; ranks of data parallelism give
    both at once (before and after the all-reduce).

    Unit:     samples (or tokens, whatever the batch sizes count)
    Exact?    a ratio of two unbiased estimates; noisy for few steps
    Source:   McCandlish et al., "An empirical model of large-batch training", 2018, appendix A.1

    >>> noise_scale(small_batch=1, large_batch=100, small_norm_squared=5.0, large_norm_squared=1.04)
    4.0

    Raises:
        FormulaError: If batch sizes are not increasing, a norm is negative, or the gradient is lost in the noise.
    """
    require_whole(1, small_batch=small_batch, large_batch=large_batch)
    require_not_negative(small_norm_squared=small_norm_squared, large_norm_squared=large_norm_squared)
    if large_batch <= small_batch:
        raise FormulaError("large_batch", large_batch, f"above small_batch = {small_batch}")
    gradient = (large_batch * large_norm_squared - small_batch * small_norm_squared) / (large_batch - small_batch)
    noise = (small_norm_squared - large_norm_squared) / (1 / small_batch - 1 / large_batch)
    if gradient <= 0:
        raise FormulaError(
            "large_norm_squared", large_norm_squared, "large enough for the gradient to show above the noise",
            fix="Average over more steps, or take a larger large_batch.",
        )  # fmt: skip
    return noise / gradient


def steps_and_samples(
    *, batch: float, critical_batch: float, least_steps: float, least_samples: float
) -> tuple[float, float]:
    """Return how many steps, and samples, reach the same loss: (S/Smin - 1)(E/Emin - 1) = 1.

    At the critical batch size both are twice their least.

    Unit:     steps; samples
    Exact?    a fit to many trainings, within tens of per cent
    Source:   McCandlish et al. 2018, equation 2.11

    >>> steps_and_samples(batch=1000, critical_batch=1000, least_steps=100, least_samples=100_000)
    (200.0, 200000.0)

    Raises:
        FormulaError: If a value is not above 0.
    """
    require_positive(
        batch=batch, critical_batch=critical_batch, least_steps=least_steps, least_samples=least_samples
    )  # fmt: skip
    return least_steps * (1 + critical_batch / batch), least_samples * (1 + batch / critical_batch)


def accumulation_weights(*, counts: Sequence[int], ranks: int = 1) -> tuple[float, ...]:
    """Return the factor for the *mean* loss of each micro-batch, so that the sum is the mean over everything.

    ``counts`` are the numbers of items (samples, or tokens that are not padding) that each mean is over, of all
    micro-batches of all ranks. DistributedDataParallel divides by the number of ranks, so its factors are ``ranks``
    times as large. Equal counts give 1 / number of micro-batches, which is the usual ``loss / accumulation_steps``.

    Unit:     1
    Exact?    yes
    Source:   definition of the mean

    >>> accumulation_weights(counts=[10, 30])
    (0.25, 0.75)
    >>> accumulation_weights(counts=[64, 64, 64, 17], ranks=4)[3] < 1 / 3
    True

    Raises:
        FormulaError: If a count is negative, all are 0, or the ranks do not divide the number of micro-batches.
    """
    require_whole(1, ranks=ranks)
    for count in counts:
        require_whole(0, counts=count)
    total = sum(counts)
    if total == 0:
        raise FormulaError("counts", list(counts), "at least one item in all")
    if len(counts) % ranks:
        raise FormulaError("counts", list(counts), f"as many for each of ranks = {ranks}")
    return tuple(count * ranks / total for count in counts)


def global_batch(*, micro_batch: int, accumulation: int = 1, data_parallel: int = 1) -> int:
    """Multiply the batch of one forward pass by micro-steps and data-parallel ranks.

    Unit:     samples
    Exact?    yes
    Source:   definition

    >>> global_batch(micro_batch=8, accumulation=4, data_parallel=16)
    512

    Raises:
        FormulaError: If a factor is below 1.
    """
    require_whole(1, micro_batch=micro_batch, accumulation=accumulation, data_parallel=data_parallel)
    return micro_batch * accumulation * data_parallel


def epoch_steps(
    *, samples: int, micro_batch: int, ranks: int = 1, accumulation: int = 1,
    last: Literal["keep", "drop"] = "keep",
) -> EpochSteps:  # fmt: skip
    """Count optimizer steps of an epoch with a DistributedSampler.

    The sampler gives every rank equally many samples: it repeats some (``"keep"``) or leaves some out (``"drop"``, of
    the sampler and of the loader). With ``"keep"`` a last, smaller step is taken if micro-batches are left.

    Unit:     steps and samples
    Exact?    yes, for torch.utils.data.DistributedSampler (torch 2.13)
    Source:   torch/utils/data/distributed.py; torch/utils/data/sampler.py: BatchSampler

    >>> epoch_steps(samples=1000, micro_batch=8, ranks=3)
    EpochSteps(steps=42, dropped_samples=0, repeated_samples=2)

    Raises:
        FormulaError: If a size is below 1 (samples: below 0) or a word unknown.
    """
    require_whole(0, samples=samples)
    require_whole(1, micro_batch=micro_batch, ranks=ranks, accumulation=accumulation)
    require_one_of(("keep", "drop"), last=last)
    if last == "keep":
        per_rank = ceil_div(samples, ranks)
        return EpochSteps(ceil_div(ceil_div(per_rank, micro_batch), accumulation), 0, per_rank * ranks - samples)
    steps = samples // ranks // micro_batch // accumulation
    return EpochSteps(steps, samples - steps * micro_batch * accumulation * ranks, 0)


def steps_for_tokens(*, tokens: int, batch: int, sequence: int) -> int:
    """Count the steps that a budget of tokens takes, the last one included.

    Unit:     steps
    Exact?    yes
    Source:   definition

    >>> steps_for_tokens(tokens=300 * 10**9, batch=1536, sequence=2048)
    95368

    Raises:
        FormulaError: If the budget is negative or a size below 1.
    """
    require_whole(0, tokens=tokens)
    require_whole(1, batch=batch, sequence=sequence)
    return ceil_div(tokens, batch * sequence)


def ema_half_life(*, decay: float) -> float:
    """Return after how many steps an exponential moving average has forgotten half: ln(1/2) / ln(decay).

    Unit:     steps
    Exact?    yes; 1/(1 - decay), the mean age, is 1.44 times as long
    Source:   definition

    >>> round(ema_half_life(decay=0.999), 1)
    692.8

    Raises:
        FormulaError: If the decay is not between 0 and 1.
    """
    if not 0 < decay < 1:
        raise FormulaError("decay", decay, "between 0 and 1, both excluded")
    return math.log(0.5) / math.log(decay)


def ema_decay(*, half_life_steps: float) -> float:
    """Return the decay that forgets half in so many steps.

    Unit:     1
    Exact?    yes
    Source:   definition

    >>> round(ema_decay(half_life_steps=692.8), 4)
    0.999

    Raises:
        FormulaError: If the half-life is not above 0.
    """
    require_positive(half_life_steps=half_life_steps)
    return float(0.5 ** (1 / half_life_steps))


def scaled_ema_decay(*, decay: float, batch: float, new_batch: float) -> float:
    """Return the decay for another batch size, so that the average spans as many samples as before.

    Unit:     1
    Exact?    to first order in the step size
    Source:   Busbridge et al., "How to scale your EMA", 2023

    >>> round(scaled_ema_decay(decay=0.9999, batch=1024, new_batch=4096), 6)
    0.9996

    Raises:
        FormulaError: If the decay is not in [0, 1) or a batch not above 0.
    """
    _require_decay(decay=decay)
    require_positive(batch=batch, new_batch=new_batch)
    return float(decay ** (new_batch / batch))


def _require_decay(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise FormulaError(name, value, "at least 0 and below 1")
