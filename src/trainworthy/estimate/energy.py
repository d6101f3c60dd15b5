"""Energy and money of a step, modelled from the card's power and how busy it is."""

from __future__ import annotations

from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.result import BoundBy

__all__ = ["ENERGY_NOTE", "gpu_power_w", "kwh", "money"]

# Shares of the card's stated power (its limit). A card that trains takes 60 to 100 % of it: products of matrices reach
# the limit, streaming takes about two thirds. A context that waits takes a fifth to a third.
# Assumed, in the range of published measurements of training (Zeus, NSDI 2023; POLCA, ASPLOS 2024); not fitted.
_BUSY = {
    "compute": Quantity(0.80, 0.92, 1.0),
    "memory": Quantity(0.50, 0.68, 0.85),
    "latency": Quantity(0.30, 0.42, 0.60),
}
_WAITING = {
    "host": Quantity(0.15, 0.25, 0.35),
    "network": Quantity(0.30, 0.45, 0.60),
    "bubble": Quantity(0.15, 0.25, 0.35),
}

ENERGY_NOTE = (
    "energy: modelled from the card's power limit and what bounds the step, not measured; the rest of the computer and "
    "the cooling are not in it (servers add about half, data centres 10 to 50 %)"
)


def gpu_power_w(bound_by: BoundBy, *, limit_w: float | None) -> Quantity | None:
    """Return the mean power of one GPU over a step; None where the card's limit is not known."""
    if limit_w is None:
        return None
    low = expected = high = 0.0
    for name, share in bound_by.to_dict().items():
        part = _BUSY.get(name) or _WAITING[name]
        low, expected, high = low + share * part.low, expected + share * part.expected, high + share * part.high
    return Quantity(low * limit_w, expected * limit_w, min(high, 1.0) * limit_w)


def kwh(power_w: Quantity | None, seconds: Quantity | None, *, gpus: int) -> Quantity | None:
    """Return the energy of ``gpus`` GPUs over a time, in kilowatt-hours.

    >>> kwh(Quantity(700, 700, 700), Quantity(3600, 3600, 7200), gpus=2)
    Quantity(low=1.4, expected=1.4, high=2.8)
    """
    if power_w is None or seconds is None:
        return None
    scale = gpus / 3.6e6
    return Quantity(
        power_w.low * seconds.low * scale, power_w.expected * seconds.expected * scale,
        power_w.high * seconds.high * scale,
    )  # fmt: skip


def money(seconds: Quantity | None, *, price_per_hour: float | None, gpus: int) -> Quantity | None:
    """Return what ``gpus`` GPUs cost over a time, in the currency of the price for one GPU and hour."""
    if price_per_hour is None or seconds is None:
        return None
    return seconds.times(price_per_hour * gpus / 3600)
