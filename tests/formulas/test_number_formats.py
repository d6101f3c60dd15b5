"""Number formats against torch.finfo, and rounding against torch and NumPy over the whole range."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.formulas.number_formats import (
    FORMATS,
    NumberFormat,
    Rounded,
    bit_fields,
    integer_range,
    number_format,
    rounded,
    spacing,
)

WITH_DTYPE = [one for one in FORMATS.values() if one.torch_name]
fp32 = st.floats(width=32, allow_nan=True, allow_infinity=False)


def cast(value: float, one: NumberFormat) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32).to(dtype_of(one))


def ours_of(value: float, one: NumberFormat) -> Rounded:
    """Round as this version of torch does: fp8-e4m3fn saturates since 2.12."""
    saturates = one.special == "fn" and tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 12)
    return rounded(value=value, to=one, overflow="saturate" if saturates else "special")


def dtype_of(one: NumberFormat) -> torch.dtype:
    assert one.torch_name is not None
    found: torch.dtype = getattr(torch, one.torch_name)
    return found


@pytest.mark.parametrize("one", WITH_DTYPE, ids=lambda one: one.name)
def test_limits_agree_with_finfo(one: NumberFormat) -> None:
    info = torch.finfo(dtype_of(one))
    assert (one.max, one.min_normal, one.epsilon) == (info.max, info.smallest_normal, info.eps)
    assert one.storage_bits == info.bits == 1 + one.exponent_bits + one.mantissa_bits
    if one.name in ("fp64", "fp32", "fp16"):
        numpy_info = np.finfo(str(one.torch_name))
        assert one.min_subnormal == numpy_info.smallest_subnormal
        assert one.decimal_digits == numpy_info.precision


def test_published_limits() -> None:
    # Micikevicius et al. 2022, table 1; NVIDIA A100 whitepaper for tf32.
    e4m3, e5m2, tf32, bf16, fp16 = (FORMATS[n] for n in ("fp8-e4m3fn", "fp8-e5m2", "tf32", "bf16", "fp16"))
    assert (e4m3.bias, e4m3.max, e4m3.min_normal, e4m3.min_subnormal) == (7, 448, 2**-6, 2**-9)
    assert (e5m2.bias, e5m2.max, e5m2.min_normal, e5m2.min_subnormal) == (15, 57344, 2**-14, 2**-16)
    assert (tf32.exponent_bits, tf32.mantissa_bits) == (8, 10)
    assert fp16.max == 65504
    assert bf16.max == pytest.approx(3.3895e38, rel=1e-4)
    assert (fp16.exact_integers, bf16.exact_integers, FORMATS["fp32"].exact_integers) == (2048, 256, 16_777_216)


@settings(max_examples=1250)
@given(fp32, st.sampled_from(WITH_DTYPE))
def test_rounding_agrees_with_torch(value: float, one: NumberFormat) -> None:
    expected = cast(value, one).double().item()
    ours = ours_of(value, one)
    assert ours.value == expected or (math.isnan(ours.value) and math.isnan(expected))
    assert math.copysign(1, ours.value) == math.copysign(1, expected) or math.isnan(expected)
    assert (ours.kind == "exact") == (ours.value == value)
    assert (ours.kind == "nan") == math.isnan(value)


@settings(max_examples=750)
@given(st.floats(allow_nan=False))
def test_rounding_of_doubles_agrees_with_numpy(value: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        for name, dtype in (("fp16", np.float16), ("fp32", np.float32), ("fp64", np.float64)):
            assert rounded(value=value, to=FORMATS[name]).value == float(dtype(value))


@settings(max_examples=400)
@given(fp32)
def test_tf32_keeps_ten_bits(value: float) -> None:
    ours = rounded(value=value, to=FORMATS["tf32"]).value
    if math.isfinite(ours):
        (bits,) = struct.unpack("<I", struct.pack("<f", ours))
        assert bits & 0x1FFF == 0
        assert abs(ours - value) <= spacing(value=value, of=FORMATS["tf32"]) / 2


@settings(max_examples=750)
@given(fp32, st.sampled_from(WITH_DTYPE))
def test_bits_agree_with_torch(value: float, one: NumberFormat) -> None:
    fields = bit_fields(value=ours_of(value, one).value, of=one)
    stored = cast(value, one)
    if not stored.double().isfinite():
        assert fields is None
        return
    assert fields is not None
    assert [len(field) for field in fields] == [1, one.exponent_bits, one.mantissa_bits]
    raw = stored.reshape(1).view(torch.uint8).flip(0).tolist()
    assert "".join(fields) == "".join(f"{byte:08b}" for byte in raw)


@settings(max_examples=250)
@given(st.floats(min_value=1e-30, max_value=1e30), st.sampled_from(WITH_DTYPE))
def test_rounding_is_idempotent_and_near(value: float, one: NumberFormat) -> None:
    once = rounded(value=value, to=one).value
    if math.isfinite(once):
        assert rounded(value=once, to=one).kind == "exact"
        assert abs(once - value) <= spacing(value=value, of=one)
    if one.name in ("fp32", "fp64"):
        dtype: Any = {"fp32": np.float32, "fp64": np.float64}[one.name]
        assert spacing(value=float(dtype(value)), of=one) == float(np.spacing(dtype(value)))


def test_what_happens() -> None:
    fp16, e4m3 = FORMATS["fp16"], FORMATS["fp8-e4m3fn"]
    assert rounded(value=65519, to=fp16) == (65504.0, "rounded")
    assert rounded(value=65520, to=fp16) == (math.inf, "overflow")
    assert rounded(value=-65520, to=fp16) == (-math.inf, "overflow")
    assert rounded(value=464, to=e4m3).value == 448  # a tie, to the even mantissa
    assert math.isnan(rounded(value=465, to=e4m3).value)
    assert math.isnan(rounded(value=-math.inf, to=e4m3).value)
    assert rounded(value=465, to=e4m3, overflow="saturate") == (448, "overflow")
    assert rounded(value=-math.inf, to=e4m3, overflow="saturate") == (-448, "overflow")
    assert rounded(value=2**-25, to=fp16) == (0.0, "underflow")
    assert rounded(value=2**-24, to=fp16) == (2**-24, "exact")
    assert rounded(value=math.inf, to=e4m3).kind == "overflow"
    # bf16 forgets an update of a thousandth: half of the spacing at 1 is 2**-8.
    assert rounded(value=1 + 0.001, to=FORMATS["bf16"]).value == 1


@pytest.mark.parametrize("name", ["bf16", "BFloat16", "torch.bfloat16", " brain-float "])
def test_names(name: str) -> None:
    assert number_format(name=name).name == "bf16"


def test_names_are_unique_and_unknown_ones_are_refused() -> None:
    names = [name for one in FORMATS.values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
    with pytest.raises(UsageError, match="No number format is called 'bf17'"):
        number_format(name="bf17")


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers_agree_with_iinfo(bits: int) -> None:
    info, unsigned = torch.iinfo(getattr(torch, f"int{bits}")), np.iinfo(f"uint{bits}")
    assert integer_range(bits=bits) == (info.min, info.max)
    assert integer_range(bits=bits, signed=False) == (unsigned.min, unsigned.max)
