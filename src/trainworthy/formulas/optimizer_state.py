"""How much memory an optimizer keeps, from the shapes of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from trainworthy.formulas.arguments import ceil_div, require_one_of, require_whole

STEP_BYTES = 4  # one float32 counter a tensor, which is on the CPU unless the optimizer is fused or capturable
BLOCK_ELEMENTS = 256  # of bitsandbytes: one float32 scale for so many 8-bit values (2048 before 0.44)
MIN_8BIT_ELEMENTS = 4096  # of bitsandbytes: smaller tensors keep 32-bit states


class OptimizerKind(NamedTuple):
    """States an optimizer keeps: elements for a shape, whether it counts steps, and what they are."""

    elements: Callable[[tuple[int, ...]], int]
    counts_steps: bool
    what: str


def _copies(count: int) -> Callable[[tuple[int, ...]], int]:
    return lambda shape: count * prod(shape)


def _factored(shape: tuple[int, ...]) -> int:
    """Rows and columns of the last two dimensions; a vector is kept whole."""
    if len(shape) < 2:
        return prod(shape)
    return prod(shape[:-1]) + prod(shape[:-2]) * shape[-1]


OPTIMIZERS: dict[str, OptimizerKind] = {
    "sgd": OptimizerKind(_copies(0), False, "nothing"),
    "sgd-momentum": OptimizerKind(_copies(1), False, "momentum"),
    "adam": OptimizerKind(_copies(2), True, "mean and mean square of the gradient"),
    "adamw": OptimizerKind(_copies(2), True, "mean and mean square of the gradient"),
    "adam-amsgrad": OptimizerKind(_copies(3), True, "mean, mean square and its maximum"),
    "adamax": OptimizerKind(_copies(2), True, "mean and infinity norm"),
    "rmsprop": OptimizerKind(_copies(1), True, "mean square"),
    "rmsprop-momentum": OptimizerKind(_copies(2), True, "mean square and momentum"),
    "rmsprop-centered-momentum": OptimizerKind(_copies(3), True, "mean square, mean and momentum"),
    "adagrad": OptimizerKind(_copies(1), True, "sum of squares"),
    "adadelta": OptimizerKind(_copies(2), True, "mean squares of gradients and of updates"),
    "adafactor": OptimizerKind(_factored, True, "mean squares of rows and columns; of vectors, of each element"),
    "lion": OptimizerKind(_copies(1), False, "momentum"),
    "adam-8bit": OptimizerKind(_copies(2), False, "mean and mean square in 8 bits, a float32 scale for 256 of them"),
}


def optimizer_state_bytes(
    *, optimizer: str, shapes: Sequence[tuple[int, ...]], bytes_per_element: int = 4
) -> int:  # fmt: skip
    """Count the bytes that an optimizer keeps for parameters of these shapes, step counters included.

    ``bytes_per_element`` is that of the parameters that the optimizer is given: states have their type, but for
    ``"adam-8bit"``, whose small tensors are kept in float32.

    Shapes:   of the parameters, one each
    Unit:     bytes
    Exact?    yes, for torch.optim (2.13); for bitsandbytes without the two tables of 256 values that all tensors share
    Source:   torch/optim/*.py; bitsandbytes, optim/optimizer.py (block-wise, min_8bit_size)

    >>> optimizer_state_bytes(optimizer="adamw", shapes=[(10, 20), (20,)])
    1768
    >>> optimizer_state_bytes(optimizer="adafactor", shapes=[(1000, 2000)])
    12004

    Raises:
        FormulaError: For an unknown optimizer or a negative size.
    """
    require_one_of(tuple(OPTIMIZERS), optimizer=optimizer)
    require_whole(1, bytes_per_element=bytes_per_element)
    kind = OPTIMIZERS[optimizer]
    total = 0
    for shape in shapes:
        for size in shape:
            require_whole(0, shapes=size)
        if optimizer == "adam-8bit":
            total += _adam_8bit_bytes(prod(shape))
        else:
            total += kind.elements(shape) * bytes_per_element + (STEP_BYTES if kind.counts_steps else 0)
    return total


def optimizer_bytes_per_parameter(
    *, optimizer: str, bytes_per_element: int = 4, shape: tuple[int, int] | None = None
) -> float:
    """Return the bytes a parameter of a large tensor, without the step counters.

    ``shape`` matters only to ``"adafactor"``, which is given a square matrix of 4096 by 4096 without it.

    Unit:     bytes per parameter
    Exact?    as `optimizer_state_bytes`, for large tensors
    Source:   as `optimizer_state_bytes`

    >>> [optimizer_bytes_per_parameter(optimizer=name) for name in ("sgd", "adamw", "adam-8bit")]
    [0.0, 8.0, 2.03125]

    Raises:
        FormulaError: As `optimizer_state_bytes`.
    """
    require_one_of(tuple(OPTIMIZERS), optimizer=optimizer)
    shape = (4096, 4096) if shape is None else shape
    require_whole(1, rows=shape[0], columns=shape[1])
    steps = STEP_BYTES if OPTIMIZERS[optimizer].counts_steps else 0
    total = optimizer_state_bytes(optimizer=optimizer, shapes=[shape], bytes_per_element=bytes_per_element)
    return (total - steps) / prod(shape)


def _adam_8bit_bytes(elements: int) -> int:
    if elements < MIN_8BIT_ELEMENTS:
        return 2 * 4 * elements
    return 2 * (elements + 4 * ceil_div(elements, BLOCK_ELEMENTS))
