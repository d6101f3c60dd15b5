"""How fast each kind of kernel is: shares of what plain products and plain streaming reach on the same GPU.

The shares are one set for all GPUs. They were worked out on the 540 rows of timm's tables for an RTX 3090 that
are neither in the sample nor in the calibration of ``benchmarks/single_gpu.py`` (training: torch 1.12, cuDNN 8.3;
inference: torch 2.4, cuDNN 9), each kind held near the figure that documentation gives. What differs from GPU to GPU
is two scales and the host; a row of ``published_rates.toml`` states them with the rows of the table they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainworthy.estimate.kernel_work import KernelWork, Kind

# Of the rate of a plain product, padding to tiles being counted in the work. Depthwise: of the vector units' rate.
# Batched products are small ones of attention; a stem has 3 channels padded to 8; gradients reach less than the
# forward pass (as in NVIDIA's convolution guide); FlashAttention-2's figures 4 to 6 give .8 and .68 (of a product).
COMPUTE_SHARE: Mapping[Kind, float] = {
    "gemm": 1.0, "gemm_batched": 0.75, "gemm_misaligned": 0.9, "conv_1x1": 0.95, "conv_forward": 1.0,
    "conv_dgrad": 0.88, "conv_wgrad": 0.88, "conv_stem": 0.77, "grouped_forward": 0.9, "grouped_dgrad": 0.78,
    "grouped_wgrad": 0.78, "grouped_general": 0.045, "depthwise_forward": 0.36, "depthwise_dgrad": 0.21,
    "depthwise_wgrad": 0.125, "attention_forward": 0.8, "attention_backward": 0.68, "rnn_forward": 0.6,
    "rnn_backward": 0.6,
}  # fmt: skip

# Of the rate of streaming. Epilogues and im2col keep products below it, two-kernel norms and column sums lose to
# synchronisation, activations with exponentials to arithmetic, scatters and gathers use part of each sector.
MEMORY_SHARE: Mapping[Kind, float] = {
    "gemm": 0.68, "elementwise": 1.0, "transcendental": 0.77, "copy": 0.76, "transpose": 0.85,
    "depthwise_forward": 0.75, "depthwise_dgrad": 0.8, "depthwise_wgrad": 0.8, "batch_norm_forward": 0.86,
    "batch_norm_backward": 0.84, "norm_forward": 0.87, "norm_backward": 0.73, "reduction": 0.79, "conv_1x1": 0.91,
    "gather": 0.6, "scatter": 0.35, "random": 0.75, "optimizer_foreach": 0.9, "optimizer_fused": 1.0, "fill": 1.0,
}  # fmt: skip
_OTHER_MEMORY_SHARE = 0.88
_OTHER_COMPUTE_SHARE = 0.5  # of the vector units: element by element, with conversions and index arithmetic

# The part of the shorter of arithmetic and traffic that the longer does not hide: prologue and epilogue of each tile.
EXPOSED = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRates:
    """What one GPU (and the software on it) reaches, relative to what its row and generation promise.

    ``shares`` replaces compute shares of single kinds where the software is known to have another kernel.
    """

    compute_scale: float = 1.0
    memory_scale: float = 1.0
    shares: Mapping[Kind, float] = field(default_factory=dict, hash=False)

    def compute_share(self, kind: Kind) -> float:
        """Return the share of the rate of a product, or of the vector units."""
        return self.compute_scale * self.shares.get(kind, COMPUTE_SHARE.get(kind, _OTHER_COMPUTE_SHARE))

    def memory_share(self, kind: Kind) -> float:
        """Return the share of the bandwidth that streaming reaches."""
        return self.memory_scale * MEMORY_SHARE.get(kind, _OTHER_MEMORY_SHARE)


DEFAULT_RATES = KernelRates()


def work_seconds(
    work: KernelWork, *, product_flops_per_s: float, vector_flops_per_s: float, bytes_per_s: float, rates: KernelRates
) -> tuple[float, float]:
    """Return seconds of arithmetic and of traffic; the longer holds what of the shorter it does not hide.

    >>> work = KernelWork("gemm", 2e12, 1e9, 1, "float16")
    >>> work_seconds(work, product_flops_per_s=1e14, vector_flops_per_s=1e13, bytes_per_s=1e12, rates=DEFAULT_RATES)
    (0.020176470588235292, 0.0014705882352941176)
    """
    peak = product_flops_per_s if work.unit == "matrix" else vector_flops_per_s
    compute_s = work.flops / (peak * rates.compute_share(work.kind))
    memory_s = work.bytes / (bytes_per_s * rates.memory_share(work.kind))
    if compute_s >= memory_s:
        return compute_s + EXPOSED * memory_s, memory_s
    return compute_s, memory_s + EXPOSED * compute_s
