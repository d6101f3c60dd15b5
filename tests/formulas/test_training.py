from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from trainworthy.errors import FormulaError
from trainworthy.formulas import training as t

positive = st.floats(1e-3, 1e3)


@given(positive, st.floats(0, 0.95))
def test_beyond_the_largest_step_descent_diverges(curvature: float, momentum: float) -> None:
    edge = t.largest_stable_step(curvature=curvature, momentum=momentum)
    for factor, shrinks in ((0.99, True), (1.01, False)):
        # The step of heavy ball on f(x) = L x^2 / 2 is linear; its spectral radius decides.
        step = np.array([[1 + momentum - factor * edge * curvature, -momentum], [1, 0]])
        assert (max(abs(np.linalg.eigvals(step))) < 1) == shrinks


@given(positive, positive)
def test_the_best_step_of_a_quadratic(one: float, other: float) -> None:
    large, small = max(one, other), min(one, other)
    step, factor = t.best_quadratic_step(largest_curvature=large, smallest_curvature=small)

    def remains(size: float) -> float:
        return max(abs(1 - size * large), abs(1 - size * small))

    assert remains(step) == pytest.approx(factor, abs=1e-9)
    assert remains(step * 1.01) >= remains(step) - 1e-12
    assert remains(step * 0.99) >= remains(step) - 1e-12


@given(positive, st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
def test_scaling_rules_compose(rate: float, a: int, b: int, c: int) -> None:
    rule: Literal["linear", "sqrt"]
    for rule in ("linear", "sqrt"):
        once = t.scaled_learning_rate(learning_rate=rate, batch=a, new_batch=c, rule=rule)
        half = t.scaled_learning_rate(learning_rate=rate, batch=a, new_batch=b, rule=rule)
        twice = t.scaled_learning_rate(learning_rate=half, batch=b, new_batch=c, rule=rule)
        assert twice == pytest.approx(once)
    assert t.scaled_learning_rate(learning_rate=0.1, batch=256, new_batch=8192, rule="linear") == pytest.approx(3.2)


@given(positive, positive, st.integers(1, 1000), st.integers(1, 1000))
def test_noise_scale_recovers_what_made_the_norms(gradient: float, noise: float, small: int, more: int) -> None:
    assume(noise / gradient < 1e5)
    large = small + more
    estimate = t.noise_scale(
        small_batch=small, large_batch=large, small_norm_squared=gradient + noise / small,
        large_norm_squared=gradient + noise / large,
    )  # fmt: skip
    assert estimate == pytest.approx(noise / gradient, rel=1e-3)


@given(positive, positive, positive, positive)
def test_steps_and_samples_lie_on_the_hyperbola(batch: float, critical: float, steps: float, samples: float) -> None:
    size = {"batch": batch, "critical_batch": critical, "least_steps": steps, "least_samples": samples}
    s, e = t.steps_and_samples(**size)
    assert (s / steps - 1) * (e / samples - 1) == pytest.approx(1, rel=1e-3)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_weighted_micro_batches_give_the_mean_over_everything(counts: list[int], ranks: int, seed: int) -> None:
    counts = counts * ranks
    assume(sum(counts) > 0)
    losses = [np.random.default_rng(seed + n).normal(size=count) for n, count in enumerate(counts)]
    weights = t.accumulation_weights(counts=counts, ranks=ranks)
    total = sum(w * loss.mean() for w, loss in zip(weights, losses, strict=True) if loss.size)
    assert total / ranks == pytest.approx(np.concatenate(losses).mean())  # DDP divides by the ranks
    if len(set(counts)) == 1:
        assert weights[0] == pytest.approx(ranks / len(counts))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_epochs_are_those_of_torch_s_sampler(
    samples: int, micro_batch: int, ranks: int, accumulation: int, drop: bool
) -> None:
    counted = t.epoch_steps(
        samples=samples,
        micro_batch=micro_batch,
        ranks=ranks,
        accumulation=accumulation,
        last="drop" if drop else "keep",
    )
    seen: list[int] = []
    steps = 0
    for rank in range(ranks):
        sampler = DistributedSampler(range(samples), num_replicas=ranks, rank=rank, shuffle=False, drop_last=drop)  # type: ignore[arg-type,var-annotated]
        loader = DataLoader(range(samples), batch_size=micro_batch, sampler=sampler, drop_last=drop)  # type: ignore[arg-type,var-annotated]
        batches = list(loader)
        steps = len(batches) // accumulation if drop else -(-len(batches) // accumulation)
        used = batches[: steps * accumulation]
        seen += [int(index) for batch in used for index in batch]
    assert counted.steps == steps
    if drop:
        assert counted.dropped_samples == samples - len(seen)
    else:
        assert counted.repeated_samples == len(seen) - samples
        assert set(seen) == set(range(samples))


@given(st.floats(0.5, 0.99999))
def test_half_life_and_decay_are_inverse(decay: float) -> None:
    steps = t.ema_half_life(decay=decay)
    assert decay**steps == pytest.approx(0.5)
    assert t.ema_decay(half_life_steps=steps) == pytest.approx(decay)
    twice = t.scaled_ema_decay(decay=decay, batch=1, new_batch=2)
    assert t.ema_half_life(decay=twice) == pytest.approx(steps / 2)


def test_goldens() -> None:
    # GPT-3: 300 B tokens in batches of 3.2 M; BLOOM and Megatron: 1536 x 2048 tokens a step.
    assert t.steps_for_tokens(tokens=300 * 10**9, batch=1536, sequence=2048) == 95368
    assert t.global_batch(micro_batch=2, accumulation=6, data_parallel=8) == 96
    assert math.isclose(t.ema_half_life(decay=0.5), 1)
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    x = torch.tensor([[3.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.99 * t.largest_stable_step(curvature=9.0))
    for _ in range(200):
        optimizer.zero_grad()
        (0.5 * model(x).pow(2)).sum().backward()
        optimizer.step()
    assert abs(model.weight.item()) < 0.05


NORMS = {"small_norm_squared": 2.0, "large_norm_squared": 1.0}


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: t.largest_stable_step(curvature=0), "curvature"),
        (lambda: t.largest_stable_step(curvature=1, momentum=1), "momentum"),
        (lambda: t.best_quadratic_step(largest_curvature=1, smallest_curvature=2), "smallest_curvature"),
        (lambda: t.scaled_learning_rate(learning_rate=1, batch=0, new_batch=1, rule="sqrt"), "batch"),
        (lambda: t.scaled_learning_rate(learning_rate=1, batch=1, new_batch=1, rule="cube"), "rule"),  # type: ignore[arg-type]
        (lambda: t.noise_scale(small_batch=8, large_batch=8, **NORMS), "large_batch"),
        (lambda: t.noise_scale(small_batch=1, large_batch=2, **NORMS), "large_norm_squared"),
        (lambda: t.accumulation_weights(counts=[0, 0]), "counts"),
        (lambda: t.accumulation_weights(counts=[-1]), "counts"),
        (lambda: t.accumulation_weights(counts=[1, 2, 3], ranks=2), "counts"),
        (lambda: t.global_batch(micro_batch=0), "micro_batch"),
        (lambda: t.epoch_steps(samples=-1, micro_batch=1), "samples"),
        (lambda: t.steps_for_tokens(tokens=1, batch=0, sequence=1), "batch"),
        (lambda: t.ema_half_life(decay=1), "decay"),
        (lambda: t.ema_decay(half_life_steps=0), "half_life_steps"),
        (lambda: t.scaled_ema_decay(decay=-0.1, batch=1, new_batch=1), "decay"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(call: Any, argument: str) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    assert caught.value.argument == argument
