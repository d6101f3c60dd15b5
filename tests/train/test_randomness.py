"""Random numbers follow from the seed and the place alone, and unrelated places are unrelated."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.train.randomness import (
    Domain,
    StepSeeder,
    capture,
    initialising,
    mix,
    order,
    restore,
    set_host_generators,
)

words = st.integers(0, 2**63)


def draws() -> tuple[float, ...]:
    return torch.rand(()).item(), random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn())


def spoil() -> None:
    torch.manual_seed(77), random.seed(78), np.random.seed(79), random.gauss(0, 1), np.random.randn()


@given(st.lists(words, min_size=1, max_size=4), st.lists(words, min_size=1, max_size=4))
def test_different_places_have_different_keys(first: list[int], second: list[int]) -> None:
    assert (mix(*first) == mix(*second)) == (first == second)
    assert 0 <= mix(*first) < 2**64


def test_the_mixing_function_is_the_published_one() -> None:
    # splitmix64 of 0 and its first outputs, as published with its reference code: the finaliser applied to k * golden.
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1

    def finalise(state: int) -> int:
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
        return state ^ (state >> 31)

    assert [f"{finalise(golden * k & mask):016x}" for k in (1, 2)] == ["e220a8397b1dcdaf", "6e789e6aa1b965f4"]
    assert mix(5) == finalise((5 * golden + 0x632BE59BD9B4E019) & mask)


def test_half_of_the_bits_change_with_one_of_the_seed() -> None:
    changed = [bin(mix(7, Domain.ITEM, 3, place) ^ mix(7 ^ 1 << bit, Domain.ITEM, 3, place)).count("1")
               for bit in range(32) for place in range(32)]  # fmt: skip
    assert 31 < np.mean(changed) < 33


@given(st.integers(0, 5), st.integers(0, 5), st.integers(1, 50))
def test_an_order_is_a_permutation_and_another_each_epoch(seed: int, epoch: int, size: int) -> None:
    chosen = order(seed, epoch, size)
    assert sorted(chosen.tolist()) == list(range(size))
    assert torch.equal(chosen, order(seed, epoch, size))
    if size > 20:
        assert not torch.equal(chosen, order(seed, epoch + 1, size))
        assert not torch.equal(chosen, order(seed + 1, epoch, size))


def test_an_order_draws_nothing_from_the_global_generators() -> None:
    spoil()
    expected = draws()
    spoil()
    order(0, 0, 1000)
    assert draws() == expected


def test_all_generators_are_set_whatever_was_drawn_before() -> None:
    set_host_generators(mix(1, 2))
    expected = draws()
    spoil()
    random.gauss(0, 1)  # leaves a spare number behind
    set_host_generators(mix(1, 2))
    assert draws() == expected
    set_host_generators(mix(1, 3))
    assert not set(draws()) & set(expected)


def test_python_draws_what_random_seed_would_give() -> None:
    set_host_generators(mix(4))
    drawn = random.random(), random.gauss(0, 1)
    random.seed(mix(4))
    assert drawn == (random.random(), random.gauss(0, 1))


def test_steps_ranks_and_domains_are_unrelated() -> None:
    seen = set()
    for seed in (0, 1):
        for rank in (0, 1):
            for domain in (Domain.STEP, Domain.EVALUATION):
                seeder = StepSeeder(seed, rank=rank, domain=domain)
                for step in (0, 1):
                    seeder(step)
                    seen.add(draws())
    assert len(seen) == 16


def test_weights_follow_from_the_seed_and_nothing_else_notices() -> None:
    spoil()
    expected = draws()
    spoil()
    with initialising(3):
        first = torch.nn.Linear(3, 3).weight
    assert draws() == expected
    with initialising(3):
        assert torch.equal(torch.nn.Linear(3, 3).weight, first)
    with initialising(4):
        assert not torch.equal(torch.nn.Linear(3, 3).weight, first)


def test_a_captured_state_comes_back() -> None:
    spoil()
    state = capture()
    expected = draws()
    spoil()
    draws()
    restore(state)
    assert draws() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_the_gpu_is_set_too() -> None:
    seeder = StepSeeder(0, device=torch.device("cuda"))
    seeder(5)
    expected = torch.rand(3, device="cuda")
    state = capture(torch.device("cuda"))
    more = torch.rand(3, device="cuda")
    restore(state, torch.device("cuda"))
    assert torch.equal(torch.rand(3, device="cuda"), more)
    seeder(5)
    assert torch.equal(torch.rand(3, device="cuda"), expected)
