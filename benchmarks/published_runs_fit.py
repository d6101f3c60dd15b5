"""Fits the constants of ``estimate/constants`` to measured runs; used by ``benchmarks.published_runs``.

Few constants, each with a meaning and a prior (data sheets, papers, kernels' published rates). The fit moves a
constant away from its prior only as far as the rows insist: least squares on the logarithm of predicted / measured with
a Huber loss, sources weighted by a random effect per source, and a Gaussian prior on the logarithm of every constant.

A left-out source is predicted with constants that never saw it; where it is the only one of its stack, that stack then
has the priors, which are the constants of ``generic``. The form of the model and the priors were revised while these
rows were looked at: the error of left-out sources is that of constants, not of a model built blind.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainworthy.estimate.analytic_time import run_parts
from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_constants import Rates, rates_for

Vector = NDArray[np.float64]

SOURCE_SPREAD = 0.03
"""Standard deviation of what all rows of a source share: cluster, drivers, version of the software."""
ROW_SPREAD = 0.07
"""Standard deviation of a row: runs repeated days apart differ by 3 to 7 %."""
_HUBER = 0.10
_STEP = 0.05
_LARGEST_MOVE = 0.8


class Constant(NamedTuple):
    """One fitted number: where it holds, its prior and the spread of the prior's logarithm."""

    scope: str
    """``common``, ``generation``, ``stack`` or ``pair`` (stack on generation)."""
    key: str
    name: str
    prior: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A measured run."""

    id: str
    source: str
    config: RunConfig
    measured_s: float


# Priors. Generations: measured ceilings of large products (MAMF: A100 .87, H100 .80, B200 .78, GB200 .73 of the dense
# peak, less what clocks lose in sustained training), flash attention 2 and 3 papers (A100 190 of 312 forward without a
# mask; H100 350 to 400 of 989 for version 2, 600 to 700 for version 3), fp8 at 1.75 to 2 times bf16 (MAMF .709 of
# 1979 on H100).
_GENERATIONS: dict[str, dict[str, float]] = {
    "ampere": {"matmul": 0.80, "flash": 0.55},
    "hopper": {"matmul": 0.72, "flash": 0.33, "native_flash": 1.5, "low_precision_gain": 1.85},
    "blackwell": {"matmul": 0.62, "flash": 0.33, "native_flash": 1.5, "low_precision_gain": 1.9, "fp4_gain": 3.3},
    "blackwell-ultra": {"matmul": 0.68, "flash": 0.36, "native_flash": 1.5, "low_precision_gain": 1.9, "fp4_gain": 3.6},
    "volta": {"matmul": 0.70, "flash": 0.30},
    "cdna": {"matmul": 0.45, "flash": 0.25},
}
_GENERATION_SPREADS = {
    "matmul": 0.15, "flash": 0.25, "native_flash": 0.15, "low_precision_gain": 0.07, "fp4_gain": 0.1,
}  # fmt: skip
# Bytes and passes: counted kernel by kernel for Megatron's layer (score passes, optimizer), triad bandwidth of 73 to
# 94 % of the data sheet, host time of 25 to 40 kernels a layer at 10 to 30 us each with autograd.
_COMMON = {
    "memory": (0.82, 0.1), "flash1": (0.7, 0.2), "flash_head_power": (0.25, 0.5), "flash_backward": (0.8, 0.15),
    "score_passes_fused": (5.0, 0.3), "score_passes_unfused": (12.0, 0.3), "plain_norm_factor": (6.0, 0.4),
    "compiled_passes": (0.65, 0.25), "cast_passes": (1.0, 0.3), "host_micro_us": (1500.0, 0.3), "step_ms": (10.0, 0.3),
    "fsdp_exposed": (0.2, 0.3), "dp_exposed": (0.4, 0.3), "optimizer_bytes": (36.0, 0.4),
}  # fmt: skip
_STACKS = {"passes": (1.3, 0.3), "host_layer_us": (850.0, 0.4), "step_layer_ms": (0.6, 0.8), "tp_exposed": (0.8, 0.35)}
_PAIR = (1.0, 0.08)
# FSDP2 keeps every parameter as a DTensor: some 9 tensors a layer, about 10 operators each for norm, clipping and Adam,
# 30 to 50 us of host time an operator.
_OWN_PRIORS = {(stack, "step_layer_ms"): (3.0, 0.8) for stack in ("torchtitan", "automodel")}


def constants_of(rows: Sequence[Row]) -> list[Constant]:
    """List what can be fitted: the constants of generations, stacks and pairs that occur."""
    found = [Constant("common", "*", name, prior, spread) for name, (prior, spread) in _COMMON.items()]
    for generation in sorted({row.config.generation for row in rows}):
        for name, prior in _GENERATIONS.get(generation, {}).items():
            found.append(Constant("generation", generation, name, prior, _GENERATION_SPREADS[name]))
    for stack in sorted({row.config.stack for row in rows}):
        for name, usual in _STACKS.items():
            found.append(Constant("stack", stack, name, *_OWN_PRIORS.get((stack, name), usual)))
    for pair in sorted({_pair(row.config) for row in rows}):
        found.append(Constant("pair", pair, "product_factor", *_PAIR))
    return found


def rates_of(config: RunConfig, constants: Sequence[Constant], theta: Vector) -> Rates:
    """Return the rates that the constants give for a run; what is not fitted comes from the files."""
    values = {name: prior for name, (prior, _) in {**_COMMON, **_STACKS, "product_factor": _PAIR}.items()}
    values |= _GENERATIONS.get(config.generation, {})
    for constant, move in zip(constants, theta, strict=True):
        if _applies(constant, config):
            values[constant.name] = constant.prior * math.exp(move)
    return replace(rates_for(generation=config.generation, stack="generic"), **values)


def errors_of(rows: Sequence[Row], constants: Sequence[Constant], theta: Vector) -> Vector:
    """Return the logarithm of predicted / measured of each row."""
    cache: dict[str, Rates] = {}
    found = []
    for row in rows:
        pair = _pair(row.config)
        if pair not in cache:
            cache[pair] = rates_of(row.config, constants, theta)
        found.append(math.log(run_parts(row.config, cache[pair]).total_s / row.measured_s))
    return np.array(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Fitted constants, the rows that they are fitted to, and the linearisation there."""

    rows: Sequence[Row]
    constants: Sequence[Constant]
    theta: Vector
    jacobian: Vector

    def values(self) -> list[dict[str, Any]]:
        """Return what was fitted, with priors."""
        return [
            {**constant._asdict(), "value": constant.prior * math.exp(move), "moved_spreads": move / constant.spread}
            for constant, move in zip(self.constants, self.theta, strict=True)
        ]

    def without(self, keep: Sequence[bool]) -> Vector:
        """Return the constants fitted to the rows that are kept; what no row speaks of has its prior.

        From the solution for all rows: two moves with its linearisation, then two with one made at the new place.
        """
        chosen = np.array(keep)
        rows = [row for row, kept in zip(self.rows, keep, strict=True) if kept]
        theta, jacobian = self.theta, self.jacobian[chosen]
        for attempt in range(4):
            errors = errors_of(rows, self.constants, theta)
            if attempt == 2:
                jacobian = _jacobian(rows, self.constants, theta, errors)
            theta = theta + _move(self.constants, theta, jacobian, errors, _weights(rows))
        return theta


def fit(rows: Sequence[Row], *, rounds: int = 4) -> Fit:
    """Fit all constants to the rows."""
    constants = constants_of(rows)
    theta, jacobian = np.zeros(len(constants)), np.zeros((len(rows), len(constants)))
    for _ in range(rounds):
        errors = errors_of(rows, constants, theta)
        jacobian = _jacobian(rows, constants, theta, errors)
        theta = theta + _move(constants, theta, jacobian, errors, _weights(rows))
    return Fit(rows=rows, constants=constants, theta=theta, jacobian=jacobian)


def thinned(rows: Sequence[Row], *, largest: int = 40) -> list[Row]:
    """Return at most about ``largest`` rows of each source, evenly spread: weights count sources, not rows."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.source, []).append(row)
    return [row for found in groups.values() for row in found[:: max(1, len(found) // largest)]]


def _weights(rows: Sequence[Row]) -> Vector:
    counts = Counter(row.source for row in rows)
    return np.array([1 / (counts[row.source] * SOURCE_SPREAD**2 + ROW_SPREAD**2) for row in rows])


def _jacobian(rows: Sequence[Row], constants: Sequence[Constant], theta: Vector, errors: Vector) -> Vector:
    jacobian = np.zeros((len(rows), len(constants)))
    for column, constant in enumerate(constants):
        moved = theta.copy()
        moved[column] += _STEP
        touched = [at for at, row in enumerate(rows) if _applies(constant, row.config)]
        changed = errors_of([rows[at] for at in touched], constants, moved)
        jacobian[touched, column] = (changed - errors[touched]) / _STEP
    return jacobian


def _move(constants: Sequence[Constant], theta: Vector, jacobian: Vector, errors: Vector, weights: Vector) -> Vector:
    """One Gauss-Newton move, with the Huber weights of the errors it leaves (iterated)."""
    spreads = np.array([constant.spread for constant in constants])
    move = np.zeros(len(constants))
    for _ in range(8):
        left = errors + jacobian @ move
        robust = weights * np.minimum(1, _HUBER / np.maximum(np.abs(left), 1e-9))
        normal = jacobian.T @ (robust[:, None] * jacobian) + np.diag(1 / spreads**2)
        move = np.linalg.solve(normal, -(jacobian.T @ (robust * errors)) - theta / spreads**2)
        move = np.clip(move, -_LARGEST_MOVE, _LARGEST_MOVE)
    return move


def _applies(constant: Constant, config: RunConfig) -> bool:
    return constant.key in {"*", config.generation, config.stack, _pair(config)}


def _pair(config: RunConfig) -> str:
    return f"{config.stack} {config.generation}"
