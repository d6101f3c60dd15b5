"""What one GPU does for one micro batch in one transformer layer: matrix products, attention, memory passes.

Seconds without communication. The products are costed by shape (tiles, waves, length of the dot product); everything
else by the bytes that it reads and writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_constants import Constants

# (tile, speed relative to the largest): smaller tiles reuse less (NVIDIA, "Matrix multiplication background user's
# guide", on the efficiency of tile sizes).
_TILES = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.95), (128, 64, 0.78), (64, 128, 0.78), (64, 64, 0.6))
_K_START = 160.0
"""Length of a dot product whose set-up costs as much as its arithmetic: prologue and epilogue of a tile."""
_ALIGNED, _HALF_ALIGNED = 64, 8
_UNALIGNED_SHARES = (0.7, 0.35)
"""Rate of products whose contiguous dimensions are no multiple of 64 (128 bytes), and of 8 (16 bytes) / aligned ones:
NVIDIA, "Matrix multiplication background user's guide", table of alignments, and figures for cuBLAS 11 on A100."""
_PRECISION_BYTES = {"fp32": 4, "tf32": 4}


class Seconds(NamedTuple):
    """Time of arithmetic and of memory, apart."""

    compute_s: float = 0.0
    memory_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Return the sum: kernels of a stream run one after the other."""
        return self.compute_s + self.memory_s

    def plus(self, other: Seconds, *, times: float = 1.0) -> Seconds:
        """Add ``times`` the other."""
        return Seconds(self.compute_s + times * other.compute_s, self.memory_s + times * other.memory_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """One layer, one micro batch, one GPU."""

    forward: Seconds
    backward: Seconds
    recomputed: Seconds
    """What checkpointing runs again before the backward pass."""


@lru_cache(maxsize=8192)
def product_share(m: int, n: int, k: int, sm_count: int) -> float:
    """Return the share of the attainable rate that a product (m, k) @ (k, n) reaches.

    The best of a few tiles: what partial tiles and the last wave waste, half of it (libraries hide some by split-k and
    by clusters of other sizes), and a start-up for each tile.

    Unit:     1
    Exact?    a model of a heuristic
    Source:   as `trainworthy.formulas.gemm.tile_count`

    >>> product_share(8192, 8192, 8192, 108) > product_share(512, 512, 512, 108)
    True
    """
    best = 0.0
    for tile_m, tile_n, speed in _TILES:
        rows, columns = -(-m // tile_m), -(-n // tile_n)
        tiles = rows * columns
        waves = -(-tiles // sm_count)
        useful = m * n / (tiles * tile_m * tile_n)
        full = tiles / (waves * sm_count)
        if tiles < sm_count and k >= 2048:  # split-k uses idle SMs
            full = max(full, 0.8 * min(1.0, full * (k // 1024)))
        best = max(best, speed * useful * full**0.6)
    return best * k / (k + _K_START) * _alignment(n, k)


def _alignment(n: int, k: int) -> float:
    if n % _HALF_ALIGNED or k % _HALF_ALIGNED:
        return _UNALIGNED_SHARES[1]
    return _UNALIGNED_SHARES[0] if n % _ALIGNED or k % _ALIGNED else 1.0


def product_s(m: float, n: float, k: float, *, config: RunConfig, constants: Constants, count: int = 1) -> float:
    """Compute the time of ``count`` products of one shape one after another.

    Unit:     s
    Exact?    a model; see `product_share`
    Source:   roofline: arithmetic at the attainable rate of that shape, or bytes over bandwidth
    """
    m_, n_, k_ = max(1, round(m)), max(1, round(n)), max(1, round(k))
    share = product_share(m_, n_, k_, config.gpu.sm_count)
    low_precision = config.precision in {"fp8", "nvfp4"}
    rate = constants.matmul_flops_per_s * (constants.low_precision_gain if low_precision else 1.0)
    if config.fp8_recipe == "rowwise":  # torchtitan, June 2025: float8 rowwise as fast as bf16 on H100
        rate = constants.matmul_flops_per_s * constants.low_precision_gain**constants.rates.rowwise_power
    size = 1 if low_precision else _PRECISION_BYTES.get(config.precision, 2)
    moved = size * (m_ * k_ + k_ * n_) + 2 * m_ * n_
    return count * max(2.0 * m_ * n_ * k_ / (rate * share), moved / constants.memory_bytes_per_s)


def layer_times(config: RunConfig, constants: Constants) -> LayerTimes:
    """Compute the times of one layer for a micro batch."""
    products_forward, products_backward = _products(config, constants)
    attention_forward, attention_backward = attention_times(config, constants)
    passes = _memory_passes(config, constants)
    forward = Seconds(products_forward, passes).plus(attention_forward)
    # The backward pass reads what the forward pass wrote and writes as much again, for most kernels twice the bytes.
    backward = Seconds(products_backward, 1.8 * passes).plus(attention_backward)
    recomputed = _recomputed(config, forward, products_forward, passes, attention_forward)
    return LayerTimes(forward=forward, backward=backward, recomputed=recomputed)


def _recomputed(
    config: RunConfig, forward: Seconds, products_s: float, passes_s: float, attention: Seconds
) -> Seconds:  # fmt: skip
    if config.checkpointing == "none":
        return Seconds()
    if config.checkpointing == "full":
        return forward
    if config.selection == "layer":  # torchtitan: every second layer
        return Seconds(forward.compute_s / 2, forward.memory_s / 2)
    if config.selection == "attention" or config.stack in {"megatron", "nemo", "megatron-deepspeed"}:
        return attention  # Korthikanti et al. 2022
    # torchtitan's "op": keeps every second product and attention; the elementwise kernels run again.
    return Seconds(0.5 * products_s, passes_s)


def _products(config: RunConfig, constants: Constants) -> tuple[float, float]:
    model, tp, tokens = config.model, config.tp, config.micro_batch_tokens
    width, kv = model.attention_width / tp, max(model.kv_width / tp, model.head_dim)
    shapes: list[tuple[float, float, float, int]] = [
        (tokens, width + 2 * kv, model.hidden, 1),
        (tokens, model.hidden, width, 1),
    ]
    dense_share = 1.0
    if model.experts is not None:
        dense_share = model.experts.dense_layers / model.layers
    forward = backward = 0.0
    mlp = [(tokens, (model.mlp_matrices - 1) * model.ffn_hidden / tp, model.hidden, 1),
           (tokens, model.hidden, model.ffn_hidden / tp, 1)]  # fmt: skip
    for group, share in ((shapes, 1.0), (mlp, dense_share), (_expert_shapes(config), 1.0 - dense_share)):
        for shape in group if share else ():
            one, other = _both_ways(shape, config, constants)
            slower = 1.0 if shape[-1] == 1 else 1 / constants.rates.expert_products
            forward += share * slower * one
            backward += share * slower * other
    return forward, backward


def _both_ways(
    shape: tuple[float, float, float, int], config: RunConfig, constants: Constants
) -> tuple[float, float]:  # fmt: skip
    m, n, k, count = shape
    forward = product_s(m, n, k, config=config, constants=constants, count=count)
    inputs = product_s(m, k, n, config=config, constants=constants, count=count)
    weights = 0.0 if config.is_lora else product_s(k, n, m, config=config, constants=constants, count=count)
    return forward, inputs + weights


def _expert_shapes(config: RunConfig) -> list[tuple[float, float, float, int]]:
    experts, tokens = config.model.experts, config.micro_batch_tokens
    if experts is None:
        return []
    local = max(1, experts.count // config.ep)
    per_expert = max(1.0, tokens * experts.per_token / local)  # balanced routing
    up, hidden, ffn = config.model.mlp_matrices - 1, config.model.hidden, experts.ffn_hidden
    shapes: list[tuple[float, float, float, int]] = [
        (per_expert, up * ffn, hidden, local),
        (per_expert, hidden, ffn, local),
    ]
    if experts.shared_ffn_hidden:
        shared = experts.shared_ffn_hidden / config.tp
        shapes += [(tokens, up * shared, hidden, 1), (tokens, hidden, shared, 1)]
    return shapes


def attention_times(config: RunConfig, constants: Constants) -> tuple[Seconds, Seconds]:
    """Compute scores, softmax and their product with the values: forward and backward.

    Flash kernels skip what a causal mask hides, so their arithmetic is halved, and run the forward products again on
    the way back (2.5 times forward; Dao 2023). Without them all scores are computed and written to memory.
    """
    model, queries, keys = config.model, config.seq_len / config.cp, config.attention_span
    heads = model.heads / config.tp
    flops = 4.0 * config.micro_batch * queries * keys * heads * model.head_dim
    if config.attention == "flash":
        rate = constants.flash_flops_per_s * min(1.0, (model.head_dim / 128) ** constants.rates.flash_head_power)
        if config.flash_version == 1:
            rate *= constants.rates.flash1
        elif config.flash_version is None or config.flash_version >= 3:
            rate *= constants.rates.native_flash
        time = flops / 2 / rate * (1 + 256 / max(queries, 1))
        return Seconds(time), Seconds(2.5 * time / constants.rates.flash_backward)
    share = product_share(round(queries), round(keys), model.head_dim, config.gpu.sm_count)
    share = max(share, 0.25)  # batched: other heads fill the waves
    compute = flops / (constants.matmul_flops_per_s * share)
    score_bytes = 2.0 * config.micro_batch * queries * keys * heads
    passes = constants.rates.score_passes_fused if config.attention == "fused" else constants.rates.score_passes_unfused
    memory = score_bytes * passes / constants.memory_bytes_per_s
    return Seconds(compute, memory), Seconds(2 * compute, 1.3 * memory)


def _memory_passes(config: RunConfig, constants: Constants) -> float:
    """Time of norms, residuals, dropout, activation, rotation and copies, forward."""
    model, tp, tokens = config.model, config.tp, config.micro_batch_tokens
    whole = 1 / tp if config.sequence_parallel else 1.0
    dropout = 3.0 if model.dropout else 0.0
    norms = 4.0 * model.hidden  # two norms, read and written
    residual = 6.0 * model.hidden  # two sums: two reads and a write each
    if model.mlp == "gated" and not _has_fused_norms(config):
        norms *= constants.rates.plain_norm_factor  # RMS norms in separate kernels, in fp32
    active = model.ffn_hidden
    if model.experts is not None:
        active = model.experts.per_token * model.experts.ffn_hidden + model.experts.shared_ffn_hidden
        residual += 6.0 * model.hidden * model.experts.per_token  # dispatch and combine
    activation = (3.0 if model.mlp == "gated" else 2.0) * active
    heads = 2.0 * (model.attention_width + 2 * model.kv_width)  # splits, transposes, rotation
    elements = whole * (norms + residual + dropout * model.hidden) + (activation + heads) / tp
    if config.precision in {"fp8", "nvfp4"}:  # casts before products, and transposed copies for the backward pass
        elements += (3 * model.hidden + active + model.attention_width) / tp * constants.rates.cast_passes
    passes = constants.rates.passes * (constants.rates.compiled_passes if config.compiled else 1.0)
    return 2.0 * tokens * elements * passes / constants.memory_bytes_per_s


def _has_fused_norms(config: RunConfig) -> bool:
    if config.fused_norms is not None:
        return config.fused_norms
    return config.stack != "aleph-scaling"
