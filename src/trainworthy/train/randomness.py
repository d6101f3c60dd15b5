"""Random numbers without a state: whatever is random in a run is a function of the seed and of where it happens.

::

    order of the samples   f(seed, epoch)
    a sample               f(seed, epoch, index)       in ``__getitem__``, in whichever process it is loaded
    collation              f(seed, epoch, first sample of the micro-batch)
    a step                 f(seed, step, rank)         dropout, and all else that is drawn in it
    initial weights        f(seed)

So there is nothing to save, and a continued run draws what an uninterrupted one would have drawn: after any number of
kills, with any number of loader workers. Each of these points sets the *global* generators of torch, numpy and
``random``, because those are what a user's code draws from.

Setting them costs about 5 microseconds (torch 1, numpy 2, ``random`` 2). ``torch.manual_seed`` would cost a hundred: it
walks through every kind of device, hence generators are seeded one by one here.

Limits: torch's generator for CPUs uses 32 of the 64 bits of a seed. Permutations are those of ``torch.randperm``, which
torch does not promise to keep from one version to the next.
"""

from __future__ import annotations

import enum
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

_MASK = (1 << 64) - 1
_python: random.Random = random.seed.__self__  # type: ignore[attr-defined]  # the generator behind random.random()
_seed_python = super(random.Random, _python).seed  # what random.seed calls for a whole number, at half its cost


class Domain(enum.IntEnum):
    """What random numbers are for; equal numbers in two domains give unrelated streams."""

    ORDER = 1
    ITEM = 2
    COLLATE = 3
    STEP = 4
    WEIGHTS = 5
    EVALUATION = 6
    STREAM = 7


def mix(*words: int) -> int:
    """Return 64 bits that depend on every word and on their order (the finaliser of splitmix64, chained).

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    >>> mix(0, Domain.ITEM, 3) == mix(0, 3, Domain.ITEM)
    False
    """
    state = 0
    for word in words:
        state = (state ^ word) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def order(seed: int, epoch: int, size: int) -> torch.Tensor:
    """Return the order of the samples in an epoch: a permutation of ``range(size)``, int64, on the CPU."""
    generator = torch.Generator().manual_seed(mix(seed, Domain.ORDER, epoch))
    return torch.randperm(size, generator=generator)


def set_host_generators(key: int) -> None:
    """Seed the global generators of torch (CPU), ``random`` and, where it is loaded, numpy."""
    torch.default_generator.manual_seed(key)
    _seed_python(key)
    _python.gauss_next = None  # type: ignore[attr-defined]  # random.seed forgets the spare normal number too
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(key & 0xFFFFFFFF)


def device_generator(device: torch.device) -> torch.Generator | None:
    """Return the global generator of an accelerator; None for the CPU, whose generator is set with the host's."""
    if device.type == "cpu":
        return None
    if device.type == "mps":
        generator: torch.Generator = torch.mps._get_default_mps_generator()
        return generator
    module = torch.get_device_module(device)
    module.init()
    generators: tuple[torch.Generator, ...] = module.default_generators
    return generators[module.current_device() if device.index is None else device.index]


class StepSeeder:
    """Sets every generator that a training step draws from.

    Args:
        seed: The run's seed.
        rank: The rank whose draws are its own: ranks that hold shards of one layer share a number.
        device: Where the model is.
        domain: ``STEP``, or ``EVALUATION`` for evaluations.
    """

    def __init__(
        self, seed: int, *, rank: int = 0, device: torch.device | None = None, domain: Domain = Domain.STEP
    ) -> None:
        self._prefix = mix(seed, domain, rank)
        self._generator = device_generator(device or torch.device("cpu"))

    def __call__(self, step: int) -> None:
        """Set the generators to where step number ``step`` (from 0) begins."""
        key = mix(self._prefix, step)
        set_host_generators(key)
        if self._generator is not None:
            self._generator.manual_seed(key)


@contextmanager
def initialising(seed: int, *, device: torch.device | None = None) -> Iterator[None]:
    """Make initial weights a function of the seed; afterwards the generators go on as if nothing had happened."""
    device = device or torch.device("cpu")
    before = capture(device)
    StepSeeder(seed, device=device, domain=Domain.WEIGHTS)(0)
    try:
        yield
    finally:
        restore(before, device)


def capture(device: torch.device | None = None) -> dict[str, Any]:
    """Return the state of the global generators, for code that draws outside of a step.

    Returns:
        ``torch`` and ``device``: uint8 tensors; ``python`` and ``numpy``: plain data. What is absent is left out.
    """
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {"torch": torch.get_rng_state(), "python": [version, list(words), gauss]}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        name, keys, position, has_gauss, cached = numpy.random.get_state()
        state["numpy"] = [name, keys.tolist(), position, has_gauss, cached]
    generator = device_generator(device or torch.device("cpu"))
    if generator is not None:
        state["device"] = generator.get_state()
    return state


def restore(state: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Set the global generators to a state that :func:`capture` returned."""
    torch.set_rng_state(state["torch"].cpu())
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    if "numpy" in state:
        import numpy as np

        name, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    generator = device_generator(device or torch.device("cpu"))
    if generator is not None and "device" in state:
        generator.set_state(state["device"].cpu())
