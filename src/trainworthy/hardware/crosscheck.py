"""A row must agree with independent facts in the same row, or it is refused.

Public tables of GPU rates are wrong by factors of 2 to 11 (sparse for dense, another card's bandwidth). Those errors
cannot pass here: every stated rate is recomputed from counts and clocks.
"""

from __future__ import annotations

import re

from trainworthy.errors import HardwareRowError
from trainworthy.hardware.gpu import Gpu

TOLERANCE = 0.05
TENSOR_TYPES = frozenset({"tf32", "bf16", "fp16", "fp8", "int8", "fp16_accumulate_fp16"})
KNOWN_TYPES = TENSOR_TYPES | {"fp64", "fp32"}
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*-(\d+)gb")


def check_gpu(gpu: Gpu, *, where: str) -> None:
    """Refuse a row that contradicts itself by more than 5 %.

    Raises:
        HardwareRowError: With the field, what it says, and what the rest of the row implies.
    """
    _check_numbers(gpu, where=where)
    _check_memory_size(gpu, where=where)
    implied_gb_per_s = gpu.bus_bits * gpu.pin_gbit_per_s / 8
    _agree("memory.gb_per_s", stated=gpu.memory_gb_per_s, implied=implied_gb_per_s, where=where)
    if gpu.peaks_tflops.keys() != gpu.flop_per_clock_per_sm.keys():
        uneven = sorted(gpu.peaks_tflops.keys() ^ gpu.flop_per_clock_per_sm.keys())
        raise HardwareRowError(
            f"peak_tflops and flop_per_clock_per_sm do not name the same types: {', '.join(uneven)}.",
            where=where,
            fix="State both for each type, or neither if the GPU has no such unit.",
        )
    for dtype, stated in gpu.peaks_tflops.items():
        if dtype not in KNOWN_TYPES:
            raise HardwareRowError(f"Unknown type {dtype!r}. Known: {', '.join(sorted(KNOWN_TYPES))}.", where=where)
        _agree(f"peak_tflops.{dtype}", stated=stated, implied=implied_tflops(gpu, dtype), where=where)


def implied_tflops(gpu: Gpu, dtype: str) -> float:
    """Compute the peak from SMs x FLOP per clock per SM x clock."""
    mhz = gpu.boost_mhz
    if dtype in TENSOR_TYPES and gpu.tensor_boost_mhz is not None:
        mhz = gpu.tensor_boost_mhz
    return gpu.sm_count * gpu.flop_per_clock_per_sm[dtype] * mhz * 1e6 / 1e12


def _check_numbers(gpu: Gpu, *, where: str) -> None:
    """Refuse text and zeros: what is unknown is left out, never written as 0."""
    numbers: dict[str, object] = {
        "sm_count": gpu.sm_count,
        "memory.bytes": gpu.memory_bytes,
        "memory.gb_per_s": gpu.memory_gb_per_s,
        "memory.bus_bits": gpu.bus_bits,
        "memory.pin_gbit_per_s": gpu.pin_gbit_per_s,
        "memory.l2_bytes": gpu.l2_bytes,
        "clock.boost_mhz": gpu.boost_mhz,
        "clock.tensor_boost_mhz": gpu.tensor_boost_mhz,
        "power_w": gpu.power_w,
    }
    numbers |= {f"peak_tflops.{dtype}": rate for dtype, rate in gpu.peaks_tflops.items()}
    numbers |= {f"flop_per_clock_per_sm.{dtype}": rate for dtype, rate in gpu.flop_per_clock_per_sm.items()}
    for name, value in numbers.items():
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise HardwareRowError(
                f"{name} is {value!r}, not a number above 0.", where=where, fix="Leave out what is unknown."
            )


def _check_memory_size(gpu: Gpu, *, where: str) -> None:
    match = _ID.fullmatch(gpu.id)
    if match is None:
        raise HardwareRowError(f"The id {gpu.id!r} is not family-form-memory, such as h100-sxm-80gb.", where=where)
    nominal = int(match[1])
    # Drivers keep some memory for themselves (ECC, firmware), and vendors mean GB or GiB as they please.
    if not nominal * 1e9 * (1 - TOLERANCE) <= gpu.memory_bytes <= nominal * 2**30:
        raise HardwareRowError(
            f"memory.bytes says {gpu.memory_bytes:,} but the id promises {nominal} GB.",
            where=where,
            fix="Give what torch.cuda.get_device_properties(0).total_memory prints on that card.",
        )


def _agree(name: str, *, stated: float, implied: float, where: str) -> None:
    if not abs(stated - implied) <= TOLERANCE * implied:
        raise HardwareRowError(
            f"{name} says {stated:g} but the row implies {implied:.4g}.",
            where=where,
            fix="Correct whichever is wrong: the stated rate, the clock, a count, or the bus. Rates are dense.",
        )
