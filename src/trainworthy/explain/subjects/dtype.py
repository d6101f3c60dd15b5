"""Number formats: range, precision, and what a value becomes."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from trainworthy.explain.arguments import number
from trainworthy.explain.drawing import Mark, Svg, columns
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.number_formats import (
    FORMATS,
    NumberFormat,
    Rounded,
    bit_fields,
    number_format,
    rounded,
    spacing,
)

_FORMULA = Formula(
    text="normal      (-1)^sign * 2^(exponent - bias) * (1 + mantissa / 2^m)\n"
    "subnormal   (-1)^sign * 2^(1 - bias) * mantissa / 2^m        exponent = 0\n"
    "bias = 2^(e - 1) - 1     epsilon = 2^-m     smallest normal = 2^(1 - bias)\n"
    "e: exponent bits, m: mantissa bits",
    source="IEEE 754-2019, section 3.4; Micikevicius et al. 2022, FP8 Formats for Deep Learning (arXiv 2209.05433), "
    "table 1; NVIDIA A100 whitepaper for tf32; torch.finfo (torch 2.13)",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default=None, metavar="FORMAT", help=f"{', '.join(FORMATS)} (default: bf16)")
    parser.add_argument("--value", type=number, default=None, metavar="X", help="a number to convert (default: 0.1)")


@subject(
    "dtype",
    summary="fp64 ... fp8, bf16, tf32: bits, range, rounding of a value",
    group="numbers",
    arguments=_arguments,
    examples=(
        "bf16",
        "fp16 --value 70000",
        "fp8-e4m3fn --value 1000",
        "tf32 --value 3.14159",
        "fp16 --value 1e-8",
        "fp64",
    ),
    aliases=("number-format", "precision", "dtypes", "finfo"),
)
def dtype(options: argparse.Namespace) -> Explanation:
    """Explain a number format."""
    name = options.name or "bf16"
    one = number_format(name=name)
    value = 0.1 if options.value is None else options.value
    found = _cast(value, one)
    title = f"{one.name}, 1 sign + {one.exponent_bits} exponent + {one.mantissa_bits} mantissa bits"
    return Explanation(
        title=title,
        result=f"largest {one.max:.6g}, smallest normal {one.min_normal:.6g}, epsilon {one.epsilon:.6g}, "
        f"{one.decimal_digits} decimal digits",
        steps=tuple(_steps(one, value, found)), diagram="\n".join(_lines(one, value)), svg=_svg(title, one, value),
        formulas=(_FORMULA,), notes=_notes(one), snippet=_snippet(one, value, found),
        see_also=("cross-entropy", "init"),
        values={
            "name": one.name, "exponent_bits": one.exponent_bits, "mantissa_bits": one.mantissa_bits,
            "storage_bytes": one.storage_bits // 8, "bias": one.bias, "max": one.max, "min_normal": one.min_normal,
            "min_subnormal": one.min_subnormal, "epsilon": one.epsilon, "decimal_digits": one.decimal_digits,
            "exact_integers_up_to": one.exact_integers, "value": value,
            "rounded": found.value if math.isfinite(found.value) else None, "kind": found.kind,
            "bits": bit_fields(value=found.value, of=one),
        },
    )  # fmt: skip


def _cast(value: float, one: NumberFormat) -> Rounded:
    """Convert as PyTorch does: fp8-e4m3fn saturates (since 2.12), the others go to infinity."""
    return rounded(value=value, to=one, overflow="saturate" if one.special == "fn" else "special")


def _steps(one: NumberFormat, value: float, found: Rounded) -> list[str]:
    top = "2 - 2^-m" if one.special == "ieee" else "2 - 2*2^-m, as all ones is NaN"
    out = [
        f"Exponents: {one.exponent_bits} bits with bias {one.bias} reach from 2^{1 - one.bias} to "
        f"2^{one.max_exponent}; "
        f"the largest number is 2^{one.max_exponent} * ({top}) = {one.max:.6g}.",
        f"Mantissa: {one.mantissa_bits} bits, so from 1 the next number is 1 + 2^-{one.mantissa_bits} = 1 + "
        f"{one.epsilon:.6g}; "
        f"whole numbers are exact up to {one.exact_integers:,}.",
        f"Below {one.min_normal:.6g} precision fades in steps of {one.min_subnormal:.6g}, the smallest number.",
    ]
    step = spacing(value=value, of=one) if math.isfinite(found.value) and found.kind != "overflow" else None
    words = {
        "exact": f"is exact, neighbours lie {step:.6g} away" if step else "",
        "rounded": f"becomes {found.value:.9g}, neighbours lie {step:.6g} apart" if step else "",
        "subnormal": f"becomes {found.value:.9g}, a subnormal number with few bits left",
        "underflow": f"becomes 0: less than half of {one.min_subnormal:.6g}",
        "overflow": f"becomes {found.value:g}: beyond {one.max:.6g} by half a step or more",
    }[found.kind]
    error = ""
    if found.kind in ("rounded", "subnormal") and value:
        error = f"; error {100 * abs(found.value - value) / abs(value):.2g} %"
    out.append(f"{value:g} {words}{error}.")
    return out


def _notes(one: NumberFormat) -> tuple[str, ...]:
    known = {
        "fp16": "Gradients below 3e-8 become 0 and values above 65519 become infinite: training needs a loss scaler.",
        "bf16": "The range of fp32 with 2 to 3 digits: no scaler needed, but a weight of 1 does not notice an "
        "update below 0.4 % "
        "of it; keep master weights and optimizer states in fp32.",
        "tf32": "Not a dtype: tensors stay fp32, tensor cores drop 13 bits of the mantissa of what they multiply "
        "and add in "
        "fp32. torch.backends.cuda.matmul.allow_tf32, torch.set_float32_matmul_precision('high').",
        "fp8-e4m3fn": "For weights and activations, with a scale for each tensor or block. PyTorch saturates at "
        "448 since "
        "2.12; up to 2.11 too large values became NaN.",
        "fp8-e5m2": "For gradients: more range, 2 bits of mantissa.",
        "fp64": "Training needs it only to check gradients; consumer GPUs compute it at 1/32 or 1/64 of their "
        "fp32 rate.",
        "fp32": "Whole numbers above 16,777,216 are not exact: count steps and tokens in integers.",
    }
    return (known[one.name],)


def _lines(one: NumberFormat, value: float) -> list[str]:
    stored = _cast(value, one).value
    fields = bit_fields(value=stored, of=one)
    lines = [f"s {'e' * one.exponent_bits} {'m' * one.mantissa_bits}"]
    if fields is not None:
        word = f"{value:g}" if stored == value else f"{value:g}, stored as {stored:.6g}"
        lines.append(" ".join(fields) + (f"   {word}" if one.mantissa_bits < 50 else ""))
    rows: list[Sequence[object]] = [["", "bits", "e", "m", "largest", "min normal", "min subn.", "epsilon", "digits"]]
    for other in FORMATS.values():
        rows.append([
            f"{'>' if other is one else ' '} {other.name}",
            other.storage_bits, other.exponent_bits, other.mantissa_bits,
            f"{other.max:.4g}", f"{other.min_normal:.3g}", f"{other.min_subnormal:.2g}", f"{other.epsilon:.3g}",
            other.decimal_digits,
        ])  # fmt: skip
    table = columns(rows, gap=1, align="l")
    casts = [["", f"{value:g} becomes"]]
    casts += [[f"{'>' if o is one else ' '} {o.name}", f"{_cast(value, o).value:.10g}"] for o in FORMATS.values()]
    return [*lines, "", *table, "", *columns(casts, align="ll")]


def _svg(title: str, one: NumberFormat, value: float) -> str:
    """Draw the bits of every format, aligned at the border of exponent and mantissa."""
    picture, size = Svg(title=title), 11.0
    left = 110 + 12 * size
    for row, other in enumerate(FORMATS.values()):
        y = row * 24.0
        picture.text(0, y + 13, other.name, bold=other is one)
        fields = bit_fields(value=_cast(value, other).value, of=other) or (
            "-", "-" * other.exponent_bits, "-" * other.mantissa_bits
        )  # fmt: skip
        marks: tuple[Mark, ...] = ("bad", "added", "strong")
        x = left - (1 + other.exponent_bits) * size
        for bits, mark in zip(fields, marks, strict=True):
            for bit in bits:
                picture.cell(x, y, size, 17, bit if size > 7 else "", mark=mark)
                x += size
    y = len(FORMATS) * 24.0 + 14
    picture.text(0, y, f"the bits of {value:g}: sign, exponent, mantissa", faint=True)
    return picture.render()


def _snippet(one: NumberFormat, value: float, found: Rounded) -> str:
    if one.torch_name is None:
        return "\n".join([
            "import struct", "", "# tf32 is no dtype: keep 10 of the 23 bits of a float32, ties to even.",
            f"(bits,) = struct.unpack(\"<I\", struct.pack(\"<f\", {value!r}))",
            "bits = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF & 0xFFFFFFFF",
            "(kept,) = struct.unpack(\"<f\", struct.pack(\"<I\", bits))", f"assert kept == {found.value!r}",
        ])  # fmt: skip
    lines = [
        "import math" if not math.isfinite(found.value) or one.special == "fn" else "", "import torch", "",
        f"info = torch.finfo(torch.{one.torch_name})", f"assert info.max == {one.max!r}",
        f"assert info.smallest_normal == {one.min_normal!r}", f"assert info.eps == {one.epsilon!r}",
        f"x = torch.tensor({value!r}, dtype=torch.float64).to(torch.{one.torch_name}).double()",
    ]  # fmt: skip
    if one.special == "fn" and found.kind == "overflow":
        lines.append(f"assert x == {found.value!r} or math.isnan(x)  # saturates since torch 2.12")
    elif not math.isfinite(found.value):
        lines.append(f"assert x == {'-' if found.value < 0 else ''}math.inf")
    else:
        lines.append(f"assert x == {found.value!r}")
    if "math." not in "\n".join(lines[1:]):
        lines[0] = ""
    return "\n".join(line for at, line in enumerate(lines) if line or at)
