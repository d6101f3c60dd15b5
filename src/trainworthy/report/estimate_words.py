"""An estimate in words: verdict, why, and what to do next; and its quantities for people."""

from __future__ import annotations

from dataclasses import dataclass

from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.result import Estimate, WhatIf
from trainworthy.units import UNKNOWN, format_bytes, format_seconds, format_si

__all__ = ["EstimateAdvice", "advise_estimate", "between", "gpu_words", "quantity_cells"]

_MAX_NEXT = 4
_FITS = {"yes": "FITS", "no": "DOES NOT FIT", "unsure": "MAY NOT FIT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateAdvice:
    """The first lines of a report."""

    verdict: str
    why: tuple[str, ...]
    next: tuple[str, ...]
    is_good: bool


def advise_estimate(estimate: Estimate) -> EstimateAdvice:
    """Word the answer."""
    if estimate.error is not None:
        fix = estimate.error.get("fix")
        return EstimateAdvice(
            verdict=f"FAILED  {_place(estimate)}".strip(), why=(str(estimate.error.get("message", "unknown error")),),
            next=(str(fix),) if fix else ("Run `trainworthy rehearse` on it: that says more.",), is_good=False,
        )  # fmt: skip
    return EstimateAdvice(
        verdict=_verdict(estimate), why=tuple(_why(estimate)), next=tuple(_next(estimate)[:_MAX_NEXT]),
        is_good=estimate.fits == "yes",
    )  # fmt: skip


def _place(estimate: Estimate) -> str:
    error = estimate.error or {}
    path, line = error.get("path"), error.get("line")
    return "" if not path else f"at {path}:{line}" if line is not None else f"at {path}"


def gpu_words(estimate: Estimate) -> str:
    """Name the machine, and how many of it.

    >>> gpu_words(Estimate(gpu="h100-sxm-80gb", gpu_name=None, mode="eager", world_size=8))
    '8 h100-sxm-80gb'
    """
    name = estimate.gpu or estimate.gpu_name or "?"
    return f"{estimate.world_size:,} {name}" if estimate.world_size > 1 else name


def between(quantity: Quantity | None, unit: str) -> str:
    """Write a range with one unit, the expected value after it.

    >>> between(Quantity(0.0161, 0.02, 0.0264), "s"), between(Quantity(315e3, 4e5, 512e3), "tokens/s")
    ('16.1-26.4 ms (20 ms)', '315-512 ktokens/s (400 ktokens/s)')
    """
    if quantity is None:
        return UNKNOWN
    low, expected, high = (_one(value, unit) for value in quantity)
    if low == high:
        return expected
    (first, first_unit), (_, last_unit) = low.rsplit(" ", 1), high.rsplit(" ", 1)
    joined = (
        f"{first}-{high}" if first_unit == last_unit and low.count(" ") == high.count(" ") == 1 else f"{low} to {high}"
    )
    return f"{joined} ({expected})"


def _one(value: float, unit: str) -> str:
    if unit == "s":
        return _short_seconds(value)
    if unit == "B":
        return format_bytes(value)
    if unit == "%":
        return f"{100 * value:.3g} %"
    return format_si(value, unit)


def _short_seconds(seconds: float) -> str:
    if 0 < seconds < 1e-3:
        return f"{seconds * 1e6:.3g} us"
    return format_seconds(seconds)


def quantity_cells(quantity: Quantity | None, unit: str) -> tuple[str, str, str]:
    """Write low, expected and high for a table."""
    if quantity is None:
        return (UNKNOWN, UNKNOWN, UNKNOWN)
    return (_one(quantity.low, unit), _one(quantity.expected, unit), _one(quantity.high, unit))


# --- verdict ------------------------------------------------------------------------------------------------------


def _verdict(e: Estimate) -> str:
    parts = []
    if e.needed_memory_bytes is not None and e.driver_memory_bytes is not None:
        needed, limit = format_bytes(e.needed_memory_bytes.expected), format_bytes(e.driver_memory_bytes)
        parts.append(f"{_FITS[e.fits]} ({needed} of {limit})")
    if e.step_time_s is not None:
        parts.append(f"{between(e.step_time_s, 's')} a step")
    if e.tokens_per_s is not None:
        parts.append(between(e.tokens_per_s, "tokens/s"))
    elif e.samples_per_s is not None:
        parts.append(between(e.samples_per_s, "samples/s"))
    if e.mfu is not None:
        digits = 0 if e.mfu.low >= 0.01 else 2
        parts.append(f"MFU {100 * e.mfu.low:.{digits}f}-{100 * e.mfu.high:.{digits}f} %")
    return "; ".join(parts) or "NOTHING KNOWN"


# --- why ----------------------------------------------------------------------------------------------------------

_BOUND_WORDS = {
    "compute": "arithmetic", "memory": "memory traffic", "latency": "kernels too small to fill the GPU",
    "host": "waiting for the host", "network": "waiting for collectives", "bubble": "waiting for other stages",
}  # fmt: skip


def _why(e: Estimate) -> list[str]:
    lines = []
    if e.bound_by is not None:
        shares = sorted(e.bound_by.to_dict().items(), key=lambda item: -item[1])
        parts = [f"{_BOUND_WORDS[name]} {100 * share:.0f} %" for name, share in shares if share >= 0.005]
        lines.append(f"Time goes to {', '.join(parts)}.")
    if e.floor_s and e.step_time_s is not None:
        ratio = e.step_time_s.expected / e.floor_s
        lines.append(
            f"At the stated peaks the same operations would take {_short_seconds(e.floor_s)}: {ratio:.1f} times less."
        )
    if e.data_s:
        lines.append(f"The step waits {_short_seconds(e.data_s)} for its batches ({e.data_origin}).")
    elif e.data_origin and e.data_s is not None:
        lines.append(f"Loading of batches keeps up ({e.data_origin}).")
    heavy = [row for row in e.modules if not row.name.startswith("(waits")][:3]
    if heavy:
        words = ", ".join(f"{row.name.replace('{}', '*')} {100 * row.share:.0f} % ({row.bound})" for row in heavy)
        lines.append(f"Most of it in: {words}.")
    exposed = sum(call.exposed_s for call in e.communication)
    if e.communication:
        whole = sum(call.seconds for call in e.communication)
        lines.append(f"Collectives take {_short_seconds(whole)} a step; {_short_seconds(exposed)} of it nothing hides.")
    lines.append(f"Sure? {e.band[0].upper()}{e.band[1:]}." if e.band else "")
    return [line for line in lines if line]


# --- next ---------------------------------------------------------------------------------------------------------


def _next(e: Estimate) -> list[str]:
    steps = []
    if e.fits == "no":
        savers = sorted((w for w in e.what_ifs if w.memory_change_bytes), key=lambda w: w.memory_change_bytes or 0)
        steps += [_memory_words(w) for w in savers[:2] if (w.memory_change_bytes or 0) < 0]
        steps.append("Shard over several GPUs (--world-size), or find the batch that fits: --find-largest-batch.")
    steps += [_time_words(w) for w in e.what_ifs if w.speedup >= 1.01]
    if e.fits == "unsure" and e.driver_memory_bytes is not None and e.needed_memory_bytes is not None:
        steps.append("The range of memory crosses the card's: a smaller batch or checkpointing makes it sure.")
    if e.largest_batch and e.largest_batch.get("batch") is not None:
        steps.append(f"The largest batch that fits is {e.largest_batch['batch']:,} (rehearsed).")
    if e.calibration is None:
        steps.append("`trainworthy calibrate` on the machine itself narrows the range.")
    return steps


def _time_words(what_if: WhatIf) -> str:
    memory = ""
    if what_if.memory_change_bytes:
        sign = "less" if what_if.memory_change_bytes < 0 else "more"
        memory = f", {format_bytes(abs(what_if.memory_change_bytes))} {sign}"
    return f"{what_if.title}: {what_if.speedup:.2f} times as fast{memory} ({what_if.how})"


def _memory_words(what_if: WhatIf) -> str:
    saved = format_bytes(abs(what_if.memory_change_bytes or 0))
    return f"{what_if.title}: {saved} less, {what_if.speedup:.2f} times as fast ({what_if.how})"
