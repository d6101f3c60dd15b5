"""What a GPU that nobody calibrated is assumed to reach, as shares of its row's rates, with sources.

These are typical figures for a generation, not for a card: ``trainworthy calibrate`` on the card replaces them.
"""

from __future__ import annotations

from trainworthy.hardware.calibration import HostCosts
from trainworthy.hardware.gpu import Gpu

# Largest share of the dense 16-bit peak that any matrix product reaches ("maximum achievable matmul FLOPS").
# Source: stas00/ml-engineering, compute/accelerator, MAMF table: A100 .869, H100 .803, B200 .776, MI300X .514.
_GEMM_SHARE = {(8, 0): 0.869, (9, 0): 0.803, (10, 0): 0.776, (10, 3): 0.776}
_GEMM_SHARE_FP8 = 0.709  # of the fp8 peak, H100; same source
_GEMM_SHARE_AMD = 0.514
_GEMM_SHARE_OTHER = 0.80

# Share of the stated bandwidth that a triad reaches. Source: te42kyfo/gpu-benches, gpu-stream: A100-80 1759 of 2039,
# A100-40 1360 of 1555, H100 PCIe 1832 of 2000, H200 3534 of 4800, V100 814 of 900, A40 653 of 696, L40 768 of 864 GB/s.
_TRIAD_SHARE = {(7, 0): 0.90, (8, 0): 0.87, (8, 6): 0.93, (8, 9): 0.89, (9, 0): 0.90}
_TRIAD_SHARE_BY_ID = {"h200-sxm-141gb": 0.74}
_TRIAD_SHARE_OTHER = 0.87

# Part of the triad's bandwidth that kernels reach which do more than stream: measured shares differ by kernel and card;
# normalisation and softmax read rows twice or synchronise, gathers and scatters use part of each sector.
BANDWIDTH_SHARE = {
    "norm": 0.70, "softmax": 0.80, "reduction": 0.85, "pool": 0.60, "elementwise": 0.95, "transcendental": 0.90,
    "copy": 0.85, "fill": 0.95, "gather": 0.60, "scatter": 0.35, "random": 0.75, "loss": 0.60,
    "optimizer_fused": 0.85, "optimizer_foreach": 0.90, "gemm": 0.90, "other": 0.80,
}  # fmt: skip

# Share of the matrix peak's achievable part in kernels that are not plain products. Attention: FlashAttention-2 (Dao,
# 2023, figures 4-6, head 128): forward 227 of 312 TFLOP/s and backward 198 on A100 (.73 and .63 of the peak, .84 and
# .73 of what a product reaches); on H100 335-350 and 250-300 of 989. Convolutions: implicit GEMMs of cuDNN.
KERNEL_SHARE = {
    "gemm": 1.0, "conv_forward": 0.75, "conv_backward": 0.65, "attention_forward": 0.80, "attention_backward": 0.68,
    "rnn_forward": 0.35, "rnn_backward": 0.35,
}  # fmt: skip
_ATTENTION_SHARE_HOPPER = {"attention_forward": 0.44, "attention_backward": 0.35}

# A kernel's own time when there is nothing to do, and the shortest distance between launches on a busy stream.
# Source: te42kyfo/gpu-benches, gpu-small-kernels: 2 to 5 us.
LAUNCH_LATENCY_S = 2.5e-6
KERNEL_FLOOR_S = 2.0e-6

# Eager PyTorch on a server CPU. Source: PyTorch's own performance guides speak of 5 to 10 us an operation of Python
# with autograd; the engine of the backward pass is C++ and does with less.
HOST = HostCosts(forward_op_s=7.0e-6, backward_op_s=6.0e-6, optimizer_op_s=6.0e-6, view_s=1.5e-6, step_s=100e-6)

# Unlike its capability says: L2 bandwidth over memory bandwidth. Source: te42kyfo/gpu-benches, gpu-l2-cache: 2 to 3.
L2_BANDWIDTH_FACTOR = 2.5


# What a product of 16-bit matrices whose rows are no multiple of 16 bytes reaches of one whose rows are: from Hopper on
# the fast kernels load tiles by TMA, which wants that alignment. Source: vocabulary of 50257 on an H200,
# benchmarks/results/gpu_step_time_h200-sxm-141gb.json: 95 to 146 TFLOP/s of 700. Compiled code pads (Inductor's
# ``shape_padding``).
_MISALIGNED_SHARE_HOPPER = 0.19


def misaligned_factor(gpu: Gpu | None) -> float:
    """Return how much longer an unaligned product takes than ``kernel_rates`` says."""
    if gpu is None or gpu.vendor != "NVIDIA" or gpu.compute_capability < (9, 0) or gpu.compute_capability >= (12, 0):
        return 1.0
    return 1 / _MISALIGNED_SHARE_HOPPER


def gemm_share(gpu: Gpu, dtype: str) -> float:
    """Return the largest share of the peak for ``dtype`` that a matrix product reaches on ``gpu``."""
    if gpu.vendor == "AMD":
        return _GEMM_SHARE_AMD
    share = _GEMM_SHARE.get(gpu.compute_capability, _GEMM_SHARE_OTHER)
    return min(share, _GEMM_SHARE_FP8) if dtype == "fp8" else share


def triad_share(gpu: Gpu) -> float:
    """Return the share of the stated bandwidth that streaming reaches on ``gpu``."""
    return _TRIAD_SHARE_BY_ID.get(gpu.id) or _TRIAD_SHARE.get(gpu.compute_capability, _TRIAD_SHARE_OTHER)


def kernel_share(gpu: Gpu, op_class: str) -> float:
    """Return what a kernel of that class reaches of the rate of plain matrix products on ``gpu``."""
    if gpu.compute_capability >= (9, 0) and op_class in _ATTENTION_SHARE_HOPPER:
        return _ATTENTION_SHARE_HOPPER[op_class]
    return KERNEL_SHARE.get(op_class, 1.0)
