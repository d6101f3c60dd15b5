from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.gemm import TILES, alignment_elements, best_tile, padded, tile_count

sizes = {"m": st.integers(1, 9000), "n": st.integers(1, 9000), "sm_count": st.integers(1, 160)}


@given(**sizes, batch=st.integers(1, 9))
def test_tiles_cover_the_result_and_waves_cover_the_tiles(*, m: int, n: int, sm_count: int, batch: int) -> None:
    for tile_m, tile_n in TILES:
        count = tile_count(m=m, n=n, sm_count=sm_count, batch=batch, tile_m=tile_m, tile_n=tile_n)
        covered = [
            (row, column) for row in range(0, m, tile_m) for column in range(0, n, tile_n)
        ]  # fmt: skip
        assert count.tiles == batch * len(covered)
        assert (count.waves - 1) * sm_count < count.tiles <= count.waves * sm_count
        assert 0 < count.efficiency <= count.tile_efficiency <= 1
        # What is computed, useful or not, times the efficiency, is what was asked for.
        done = count.waves * sm_count * tile_m * tile_n
        assert done * count.efficiency == pytest.approx(batch * m * n)
        assert best_tile(m=m, n=n, sm_count=sm_count, batch=batch)[1].efficiency >= 0.95 * count.efficiency


def test_goldens_of_nvidia_s_guide() -> None:
    # A100, 108 SMs, tiles of 256 x 128: 2304 x 1536 is one full wave, one column of tiles more starts a second one.
    full = tile_count(m=2304, n=1536, sm_count=108)
    assert (full.tiles, full.waves, full.efficiency) == (108, 1, 1.0)
    more = tile_count(m=2304, n=1664, sm_count=108)
    assert (more.tiles, more.waves) == (117, 2)
    assert more.wave_efficiency == pytest.approx(117 / 216)
    # Tile quantisation: n = 1537 computes what n = 1664 computes.
    assert tile_count(m=2304, n=1537, sm_count=108)[:2] == more[:2]


@pytest.mark.parametrize(
    ("dtype", "volta_or_first", "ampere_and_later"),
    # Table 1 of the guide: 16 bytes, and 128 bytes from A100 on.
    [("fp16", 8, 64), ("int8", 16, 128)],
)
def test_alignment_of_the_guide(dtype: str, volta_or_first: int, ampere_and_later: int) -> None:
    assert alignment_elements(dtype=dtype, compute_capability=(7, 5)) == volta_or_first
    for capability in ((8, 0), (8, 6), (9, 0), (10, 0)):
        assert alignment_elements(dtype=dtype, compute_capability=capability) == ampere_and_later


def test_alignment_of_types_that_came_later() -> None:
    assert [alignment_elements(dtype=d, compute_capability=(9, 0)) for d in ("tf32", "fp64", "bf16", "fp8")] == [
        32, 16, 64, 128,
    ]  # fmt: skip
    assert alignment_elements(dtype="fp32", compute_capability=(7, 0)) == 4
    for dtype, capability in (("bf16", (7, 5)), ("fp8", (8, 6)), ("fp16", (6, 0)), ("tf32", (7, 0))):
        with pytest.raises(FormulaError, match="compute_capability"):
            alignment_elements(dtype=dtype, compute_capability=capability)


@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_padding_is_least(size: int, multiple: int) -> None:
    result = padded(size=size, multiple=multiple)
    assert result % multiple == 0
    assert 0 <= result - size < multiple


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: tile_count(m=0, n=1, sm_count=1), "m"), (lambda: tile_count(m=1, n=1, sm_count=0), "sm_count"),
        (lambda: best_tile(m=1, n=-1, sm_count=1), "n"), (lambda: padded(size=1, multiple=0), "multiple"),
        (lambda: alignment_elements(dtype="fp7", compute_capability=(9, 0)), "dtype"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(call: Any, argument: str) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    assert caught.value.argument == argument
