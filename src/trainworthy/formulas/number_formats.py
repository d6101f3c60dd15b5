"""Number formats: range, precision and rounding of fp64, fp32, tf32, fp16, bf16, fp8 and integers.

A binary format has a sign, e exponent bits and m mantissa bits; the bias is ``2**(e - 1) - 1``. Numbers are

    normal       (-1)**sign * 2**(exponent - bias) * (1 + mantissa / 2**m)      exponent > 0
    subnormal    (-1)**sign * 2**(1 - bias) * mantissa / 2**m                   exponent = 0

IEEE formats keep the largest exponent for infinity and NaN. The "fn" (finite) fp8 format keeps one pattern of it only,
for NaN: it has no infinity and reaches further. Sources: IEEE 754-2019, table 3.5; Micikevicius et al. 2022, "FP8
Formats for Deep Learning" (https://arxiv.org/abs/2209.05433), table 1; NVIDIA A100 whitepaper (tf32);
https://docs.pytorch.org/docs/stable/type_info.html.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from trainworthy.errors import UsageError

Special = Literal["ieee", "fn"]
Overflow = Literal["special", "saturate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """A binary floating-point format.

    Attributes:
        name: The short name.
        exponent_bits: Bits of the exponent.
        mantissa_bits: Bits stored of the mantissa; a normal number has one more in front that is always 1.
        special: "ieee" has infinities; "fn" has none, and NaN only where all bits are 1.
        storage_bits: Bits in memory; tf32 is computed with 19 bits and stored in 32.
        torch_name: The dtype in PyTorch; None if there is none.
        aliases: Other names.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    special: Special = "ieee"
    storage_bits: int
    torch_name: str | None
    aliases: tuple[str, ...] = ()

    @property
    def bias(self) -> int:
        """What is subtracted from the stored exponent."""
        return int(2 ** (self.exponent_bits - 1)) - 1

    @property
    def max_exponent(self) -> int:
        """Exponent of the largest numbers."""
        return self.bias + (1 if self.special == "fn" else 0)

    @property
    def max(self) -> float:
        """The largest finite number."""
        top = 2 if self.special == "fn" else 1  # fn: the mantissa of all ones is NaN
        return math.ldexp(2 - top * 2.0**-self.mantissa_bits, self.max_exponent)

    @property
    def min_normal(self) -> float:
        """The smallest positive normal number: below it precision fades."""
        return math.ldexp(1.0, 1 - self.bias)

    @property
    def min_subnormal(self) -> float:
        """The smallest positive number; also the step between subnormal numbers."""
        return math.ldexp(1.0, 1 - self.bias - self.mantissa_bits)

    @property
    def epsilon(self) -> float:
        """The step from 1 to the next larger number."""
        return math.ldexp(1.0, -self.mantissa_bits)

    @property
    def decimal_digits(self) -> int:
        """How many decimal digits survive a round trip from text: ``floor(m * log10(2))``."""
        return math.floor(self.mantissa_bits * math.log10(2))

    @property
    def exact_integers(self) -> int:
        """Up to this every whole number is exact: ``2**(m + 1)``."""
        return int(2 ** (self.mantissa_bits + 1))


class Rounded(NamedTuple):
    """A number after conversion.

    Attributes:
        value: What is stored; infinite or NaN after an overflow.
        kind: What happened.
    """

    value: float
    kind: Literal["exact", "rounded", "subnormal", "underflow", "overflow", "nan"]


FORMATS: dict[str, NumberFormat] = {
    one.name: one
    for one in (
        NumberFormat(name="fp64", exponent_bits=11, mantissa_bits=52, storage_bits=64, torch_name="float64",
                     aliases=("float64", "double", "f64")),
        NumberFormat(name="fp32", exponent_bits=8, mantissa_bits=23, storage_bits=32, torch_name="float32",
                     aliases=("float32", "float", "single", "f32")),
        NumberFormat(name="tf32", exponent_bits=8, mantissa_bits=10, storage_bits=32, torch_name=None,
                     aliases=("tensorfloat32", "tensorfloat-32")),
        NumberFormat(name="bf16", exponent_bits=8, mantissa_bits=7, storage_bits=16, torch_name="bfloat16",
                     aliases=("bfloat16", "brain-float")),
        NumberFormat(name="fp16", exponent_bits=5, mantissa_bits=10, storage_bits=16, torch_name="float16",
                     aliases=("float16", "half", "f16")),
        NumberFormat(name="fp8-e4m3fn", exponent_bits=4, mantissa_bits=3, special="fn", storage_bits=8,
                     torch_name="float8_e4m3fn", aliases=("fp8", "e4m3", "e4m3fn", "float8-e4m3fn", "fp8-e4m3")),
        NumberFormat(name="fp8-e5m2", exponent_bits=5, mantissa_bits=2, storage_bits=8,
                     torch_name="float8_e5m2", aliases=("e5m2", "float8-e5m2")),
    )
}  # fmt: skip


def number_format(*, name: str) -> NumberFormat:
    """Find a format by any of its names.

    >>> number_format(name="torch.bfloat16").name, number_format(name="FP8_E5M2").name
    ('bf16', 'fp8-e5m2')

    Raises:
        UsageError: If there is none; the message lists them.
    """
    wanted = name.strip().casefold().removeprefix("torch.").replace("_", "-")
    for one in FORMATS.values():
        if wanted in (one.name, *one.aliases):
            return one
    raise UsageError(f"No number format is called {name!r}.", fix=f"Known: {', '.join(FORMATS)}.")


def rounded(*, value: float, to: NumberFormat, overflow: Overflow = "special") -> Rounded:
    """Convert to a format: to the nearest number, ties to the even mantissa.

    Beyond the largest number by half a step or more, IEEE formats give infinity and fp8-e4m3fn, which has none, NaN;
    with ``overflow="saturate"`` it is the largest number. PyTorch saturates fp8-e4m3fn since 2.12 and gave NaN before;
    all others go to infinity. Below half of the smallest subnormal number the result is 0.

    Exact?    yes, from a 64-bit value; PyTorch converts fp64 to the small formats by way of fp32 and so rounds twice
    Source:   IEEE 754-2019, section 4.3.1 (roundTiesToEven) and 7.4; agrees with torch.Tensor.to and numpy.float16;
              Micikevicius et al. 2022, section 3.1, and pytorch/pytorch#178817 for saturation

    >>> rounded(value=0.1, to=FORMATS["bf16"])
    Rounded(value=0.10009765625, kind='rounded')
    >>> rounded(value=70000, to=FORMATS["fp16"]), rounded(value=449, to=FORMATS["fp8-e4m3fn"])
    (Rounded(value=inf, kind='overflow'), Rounded(value=448.0, kind='rounded'))
    >>> rounded(value=1000, to=FORMATS["fp8-e4m3fn"], overflow="saturate")
    Rounded(value=448.0, kind='overflow')
    >>> rounded(value=1e-8, to=FORMATS["fp16"]), rounded(value=6e-6, to=FORMATS["fp16"]).kind
    (Rounded(value=0.0, kind='underflow'), 'subnormal')
    """
    value = float(value)
    special = math.inf if to.special == "ieee" else math.nan
    beyond = Rounded(math.copysign(to.max if overflow == "saturate" else special, value), "overflow")
    if math.isnan(value):
        return Rounded(value, "nan")
    if abs(value) >= 4 * to.max:  # infinity too; what is left cannot overflow the arithmetic below
        return beyond
    if value == 0:
        return Rounded(value, "exact")
    # One step at the size of this number; subnormal numbers share the smallest one.
    exponent = max(math.frexp(value)[1] - 1, 1 - to.bias)
    step_exponent = exponent - to.mantissa_bits
    steps = round(math.ldexp(value, -step_exponent))  # exact so far; round() takes halves to even
    if steps == 0:
        return Rounded(math.copysign(0.0, value), "underflow")
    out = math.ldexp(steps, step_exponent)
    if abs(out) > to.max:
        return beyond
    if out == value:
        return Rounded(out, "exact")
    return Rounded(out, "subnormal" if abs(out) < to.min_normal else "rounded")


def bit_fields(*, value: float, of: NumberFormat) -> tuple[str, str, str] | None:
    """Return sign, exponent and mantissa of a number as bits; None for NaN and infinity.

    Exact?    yes; the value is rounded to the format first
    Source:   IEEE 754-2019, section 3.4

    >>> bit_fields(value=1.0, of=FORMATS["bf16"]), bit_fields(value=-0.5, of=FORMATS["fp8-e5m2"])
    (('0', '01111111', '0000000'), ('1', '01110', '00'))
    """
    stored = rounded(value=value, to=of).value
    if not math.isfinite(stored):
        return None
    fraction, power = math.frexp(abs(stored))  # fraction in [0.5, 1)
    exponent = power - 1 + of.bias
    if stored == 0:
        exponent, mantissa = 0, 0
    elif exponent > 0:
        mantissa = int(math.ldexp(2 * fraction - 1, of.mantissa_bits))
    else:
        exponent, mantissa = 0, int(math.ldexp(abs(stored), of.bias - 1 + of.mantissa_bits))
    sign = "1" if math.copysign(1.0, stored) < 0 else "0"
    return sign, f"{exponent:0{of.exponent_bits}b}", f"{mantissa:0{of.mantissa_bits}b}"


def spacing(*, value: float, of: NumberFormat) -> float:
    """Return the distance between neighbouring numbers at the size of ``value``.

    A weight w does not change when an update is smaller than half of ``spacing(w)``.

    Exact?    yes
    Source:   ``2**(floor(log2(|x|)) - m)``; numpy.spacing

    >>> spacing(value=1.0, of=FORMATS["bf16"]), spacing(value=3000, of=FORMATS["fp16"])
    (0.0078125, 2.0)
    """
    exponent = math.frexp(value)[1] - 1 if value else 1 - of.bias
    return math.ldexp(1.0, max(exponent, 1 - of.bias) - of.mantissa_bits)


def integer_range(*, bits: int, signed: bool = True) -> tuple[int, int]:
    """Return the smallest and largest number of an integer format.

    Exact?    yes
    Source:   two's complement; torch.iinfo

    >>> integer_range(bits=8), integer_range(bits=8, signed=False)
    ((-128, 127), (0, 255))
    """
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
