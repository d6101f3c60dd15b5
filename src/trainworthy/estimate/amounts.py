"""What a user says of a run: amounts of a step, of the whole training, and a price."""

from __future__ import annotations

from dataclasses import dataclass, fields

from trainworthy.errors import UsageError

__all__ = ["Amounts", "check_amounts"]

_MOST = 1e21  # a million times the tokens of the largest published training
_OPTIONS = {"train_tokens": "--tokens", "train_samples": "--samples", "data_s_per_batch": "--data-s-per-batch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What the user says of the run; None: what the tape says, or nothing."""

    samples_per_step: float | None = None
    tokens_per_step: float | None = None
    data_s_per_batch: float | None = None
    workers: int | None = None
    price_per_hour: float | None = None
    train_steps: float | None = None
    train_samples: float | None = None
    train_tokens: float | None = None
    epochs: float | None = None


def check_amounts(amounts: Amounts) -> None:
    """Refuse amounts that cannot be.

    Raises:
        UsageError: Naming the option.
    """
    for each in fields(amounts):
        value = getattr(amounts, each.name)
        option = _OPTIONS.get(each.name, f"--{each.name.replace('_', '-')}")
        at_least = 0 if each.name in ("workers", "data_s_per_batch", "price_per_hour") else None
        wrong = value is not None and not (value > 0 or (at_least == 0 and value == 0))
        if wrong:
            raise UsageError(
                f"{option} is {value:g}.", where=option,
                fix="Pass 0 or more." if at_least == 0 else "Pass a number above 0, such as 1e9.",
            )  # fmt: skip
        if value is not None and value > _MOST:
            raise UsageError(f"{option} is {value:g}, more than {_MOST:g}.", where=option, fix="Check the unit.")
