"""Why a matrix product is slower than its FLOPs: tiles, waves and alignment.

A GPU cuts the result into tiles, one thread block each, and runs as many blocks at once as it has SMs (a wave). A tile
that sticks out of the matrix and a last wave that is not full cost as much as full ones.
"""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import ceil_div, require_one_of, require_whole

# Thread-block tiles that cuBLAS has, largest first: larger ones reuse more, smaller ones waste less.
TILES: tuple[tuple[int, int], ...] = (
    (256, 128),
    (128, 256),
    (128, 128),
    (256, 64),
    (64, 256),
    (128, 64),
    (64, 128),
    (64, 64),
)
_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}


class TileCount(NamedTuple):
    """Tiles over a result, waves of them over the SMs, and the share of the arithmetic that is of use."""

    tiles: int
    waves: int
    tile_efficiency: float
    wave_efficiency: float

    @property
    def efficiency(self) -> float:
        """Return the product of both: the share of the work done that is of use."""
        return self.tile_efficiency * self.wave_efficiency


def tile_count(
    *, m: int, n: int, sm_count: int, tile_m: int = 256, tile_n: int = 128, batch: int = 1, blocks_per_sm: int = 1
) -> TileCount:
    """Count tiles and waves of a result (m, n) and the efficiency that quantisation leaves.

    Shapes:   out (batch, m, n) in tiles (tile_m, tile_n)
    Unit:     tiles, waves; efficiencies are shares of 1
    Exact?    for that tile and without split-k or stream-k; libraries choose the tile by heuristics
    Source:   NVIDIA, "Matrix multiplication background user's guide": tile and wave quantisation

    >>> tile_count(m=2304, n=1536, sm_count=108).waves, tile_count(m=2304, n=1792, sm_count=108).waves
    (1, 2)

    Raises:
        FormulaError: If a size is below 1.
    """
    require_whole(1, m=m, n=n, sm_count=sm_count, tile_m=tile_m, tile_n=tile_n, batch=batch)
    require_whole(1, blocks_per_sm=blocks_per_sm)
    tiles = batch * ceil_div(m, tile_m) * ceil_div(n, tile_n)
    waves = ceil_div(tiles, sm_count * blocks_per_sm)
    return TileCount(
        tiles=tiles,
        waves=waves,
        tile_efficiency=batch * m * n / (tiles * tile_m * tile_n),
        wave_efficiency=tiles / (waves * sm_count * blocks_per_sm),
    )


def best_tile(*, m: int, n: int, sm_count: int, batch: int = 1) -> tuple[tuple[int, int], TileCount]:
    """Return the largest tile of `TILES` that leaves no more than 5 % less than the best one does.

    Shapes:   out (batch, m, n)
    Unit:     (tile_m, tile_n) and its `TileCount`
    Exact?    a guess at what a library does: larger tiles read less, and are faster per FLOP
    Source:   as `tile_count`

    >>> best_tile(m=4096, n=4096, sm_count=128)[0]
    (256, 128)

    Raises:
        FormulaError: If a size is below 1.
    """
    counts = [
        (tile, tile_count(m=m, n=n, sm_count=sm_count, batch=batch, tile_m=tile[0], tile_n=tile[1])) for tile in TILES
    ]
    best = max(count.efficiency for _, count in counts)
    return next(pair for pair in counts if pair[1].efficiency >= 0.95 * best)


def alignment_elements(*, dtype: str, compute_capability: tuple[int, int]) -> int:
    """Return the multiple that m, n and k should have, for a type on an architecture.

    A dimension that is a multiple of 16 bytes can use tensor cores with full loads (any size can, since cuBLAS 11, but
    slower); from compute capability 8.0 (A100) 128 bytes are best.

    Unit:     elements
    Exact?    a recommendation: "most efficient"
    Source:   NVIDIA, "Matrix multiplication background user's guide", table 1: tensor core requirements

    >>> [alignment_elements(dtype="fp16", compute_capability=cc) for cc in ((7, 0), (8, 0))]
    [8, 64]
    >>> alignment_elements(dtype="tf32", compute_capability=(9, 0))
    32

    Raises:
        FormulaError: For an unknown type or one that the architecture has no tensor cores for.
    """
    require_one_of(tuple(_BYTES), dtype=dtype)
    if compute_capability < _first_capability(dtype):
        raise FormulaError("compute_capability", compute_capability, f"at least {_first_capability(dtype)} for {dtype}")
    return max((128 if compute_capability >= (8, 0) else 16) // _BYTES[dtype], 1)


def padded(*, size: int, multiple: int) -> int:
    """Round a dimension up to a multiple, as one does with a vocabulary.

    Unit:     elements
    Exact?    yes
    Source:   definition; Shoeybi et al., "Megatron-LM", 2019, pads the vocabulary to a multiple of 128 times tensor
              ranks

    >>> padded(size=50257, multiple=64), padded(size=50257, multiple=128 * 8)
    (50304, 51200)

    Raises:
        FormulaError: If the size is negative or the multiple below 1.
    """
    require_whole(0, size=size)
    require_whole(1, multiple=multiple)
    return ceil_div(size, multiple) * multiple


def _first_capability(dtype: str) -> tuple[int, int]:
    return {"fp16": (7, 0), "int8": (7, 5), "fp8": (8, 9)}.get(dtype, (8, 0) if dtype != "fp32" else (0, 0))
