"""What the kernels of one operator do on a GPU: arithmetic with its padding, bytes with every pass over the data.

An operator becomes one or two kernels of a kind. A kind is what has an efficiency of its own on a GPU: the same
FLOPs cost more in a depthwise convolution than in a product, and the same bytes more in a transposing copy than in
an addition. How fast a kind is stands in ``gpu_kernels.py``; here nothing depends on the GPU but its tile waves.
"""

from __future__ import annotations

from math import prod
from typing import Literal, NamedTuple, get_args

from trainworthy.estimate.op_classes import LAID_OUT, base_name, op_class
from trainworthy.tape.record import Signature, TensorMeta

Kind = Literal[
    "gemm", "gemm_batched", "gemm_misaligned",
    "conv_1x1", "conv_forward", "conv_dgrad", "conv_wgrad", "conv_stem",
    "grouped_forward", "grouped_dgrad", "grouped_wgrad", "grouped_general",
    "depthwise_forward", "depthwise_dgrad", "depthwise_wgrad",
    "attention_forward", "attention_backward", "rnn_forward", "rnn_backward",
    "batch_norm_forward", "batch_norm_backward", "norm_forward", "norm_backward",
    "softmax", "pool", "reduction", "elementwise", "transcendental", "copy", "transpose", "fill", "gather", "scatter",
    "random", "loss", "optimizer_fused", "optimizer_foreach", "other",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)


class KernelWork(NamedTuple):
    """Kernels of one kind: FLOPs as executed (padding included), bytes moved to or from memory, and launches.

    ``unit`` says where the arithmetic runs: ``"matrix"`` on the matrix units for ``dtype``, ``"vector"`` outside them.
    """

    kind: Kind
    flops: float
    bytes: float
    launches: int
    dtype: str
    unit: Literal["matrix", "vector"] = "matrix"
    turned_bytes: float = 0.0
    """Moved besides, on matrix units only: they want channels last, and other layouts are turned for them."""
    saving: float = 1.0
    """In plain float32, by how much an algorithm of fewer multiplications than the direct one cuts the FLOPs."""


def element_bytes(dtype: str) -> int:
    """Return the bytes of an element; 4 for a type without a width in its name.

    >>> [element_bytes(name) for name in ("float16", "bfloat16", "float32", "int64", "bool", "float8_e4m3fn")]
    [2, 2, 4, 8, 1, 1]
    """
    for digits, size in (("64", 8), ("32", 4), ("16", 2)):
        if dtype.endswith(digits):
            return size
    return 1 if dtype.startswith(("bool", "int8", "uint8", "float8")) else 4


def tensor_bytes(meta: TensorMeta) -> int:
    """Return the bytes that a kernel reads of a tensor: an expanded dimension is read once.

    >>> tensor_bytes(TensorMeta((8, 4), (0, 1), "float32", "cuda:0"))
    16
    """
    sizes = (n for n, stride in zip(meta.shape, meta.stride, strict=False) if stride != 0 or n == 1)
    return prod(sizes) * element_bytes(meta.dtype)


def moved(signature: Signature) -> int:
    """Sum the bytes of all inputs and outputs."""
    return sum(tensor_bytes(t) for t in (*signature.inputs, *signature.outputs))


# --- products -----------------------------------------------------------------------------------------------------


class Gemm(NamedTuple):
    """A product (batch, m, k) x (batch, k, n)."""

    batch: int
    m: int
    n: int
    k: int


# Tiles of cuBLAS and CUTLASS with the share of the peak that a full wave of each reaches: a smaller tile reads more
# for the same arithmetic. Shares: CUTLASS's profiler, "GEMM performance" of its documentation, rounded.
_TILES = (
    (256, 128, 1.0),
    (128, 256, 1.0),
    (128, 128, 0.96),
    (128, 64, 0.85),
    (64, 128, 0.85),
    (64, 64, 0.7),
    (32, 64, 0.45),
    (64, 32, 0.45),
)
_SPLITS = (1, 2, 4, 8, 16, 32)
_K_STEP = 32
_MIN_K_PER_SPLIT = 256


def padded_gemm_flops(gemm: Gemm, *, sm_count: int) -> float:
    """Return the FLOPs that a product costs with the best tile: sticking out of the matrix, and the last wave.

    Source:   NVIDIA, "Matrix multiplication background user's guide": tile and wave quantisation; split-k as in
              CUTLASS ("parallelised reductions"): k is cut where the tiles of the result do not fill the GPU.

    >>> padded_gemm_flops(Gemm(1, 4096, 4096, 4096), sm_count=128) == 2 * 4096**3
    True
    """
    batch, m, n, k = gemm
    if min(batch, m, n, k) <= 0:
        return 0.0
    k_padded = -(-k // _K_STEP) * _K_STEP
    best = float("inf")
    for tile_m, tile_n, share in _TILES:
        tiles = batch * -(-m // tile_m) * -(-n // tile_n)
        for split in _SPLITS:
            if split > 1 and (k < split * _MIN_K_PER_SPLIT or tiles * split > 4 * sm_count):
                break
            waves = -(-tiles * split // sm_count)
            best = min(best, waves * sm_count / split * tile_m * tile_n / share)
    return 2.0 * best * k_padded


def gemm_work(signature: Signature, *, sm_count: int) -> KernelWork:
    """Describe ``mm``, ``bmm``, ``addmm``, ``baddbmm`` and ``linear``."""
    left, right = _factors(signature)
    out = signature.outputs[0]
    if base_name(signature.name) == "linear":
        gemm = Gemm(1, prod(out.shape[:-1]), out.shape[-1], left.shape[-1])
    else:
        batch = left.shape[0] if len(left.shape) == 3 else 1
        gemm = Gemm(batch, left.shape[-2], right.shape[-1], left.shape[-1])
    width = element_bytes(left.dtype)
    # Tensor cores want rows of 16 bytes (same guide, table 1): an odd leading dimension costs narrower loads.
    rows = [t.shape[-1] if t.stride[-1:] == (1,) else t.shape[-2] for t in (left, right) if len(t.shape) > 1]
    padded = signature.name.endswith(LAID_OUT)
    misaligned = not padded and width <= 2 and any(row * width % 16 for row in (*rows, out.shape[-1]))
    kind: Kind = "gemm_misaligned" if misaligned else "gemm_batched" if gemm.batch > 1 else "gemm"
    return KernelWork(kind, padded_gemm_flops(gemm, sm_count=sm_count), moved(signature), 1, left.dtype)


def _factors(signature: Signature) -> tuple[TensorMeta, TensorMeta]:
    matrices = [t for t in signature.inputs if len(t.shape) >= 2]
    return matrices[-2], matrices[-1]  # what is added comes before them


# --- attention, norms, and the rest -------------------------------------------------------------------------------


def attention_work(signature: Signature, *, backward: bool) -> KernelWork:
    """Describe a fused attention kernel: head dimensions are padded to 32, 64, 128 or 256 (FlashAttention-2)."""
    query = next((t for t in signature.inputs[int(backward) :] if t.shape), None) or signature.outputs[0]
    head = max(query.shape[-1:] or (1,))
    padded = next((size for size in (32, 64, 96, 128, 160, 192, 256) if size >= head), head)
    flops = float(signature.flops or 0) * padded / head
    kind: Kind = "attention_backward" if backward else "attention_forward"
    return KernelWork(kind, flops, moved(signature), 3 if backward else 1, query.dtype)


def rnn_work(signature: Signature, *, backward: bool) -> KernelWork:
    """Describe a recurrent layer of cuDNN: its weights are read, and kernels launched, at every step of the sequence.

    The first input is (length, batch, features), or the batch before the length; the sequence is the longer part of
    few dozens that is no multiple of 8, which a signature cannot tell: the first dimension is taken.
    """
    x = signature.inputs[0]
    weights = [t for t in signature.inputs if len(t.shape) == 2]
    steps = max(x.shape[0], 1) if len(x.shape) == 3 else 1
    reread = steps * sum(tensor_bytes(t) for t in weights)
    kind: Kind = "rnn_backward" if backward else "rnn_forward"
    launches = steps * max(1, len(weights) // 2) * 2
    return KernelWork(kind, float(signature.flops or 0), moved(signature) + reread, launches, x.dtype)


# Passes over the data that kernels of torch make beyond one over each operand (ATen/native/cuda: Normalization.cuh,
# batch_norm.cu, layer_norm_kernel.cu, group_norm_kernel.cu; the first pass of a training norm sums, the second writes).
_EXTRA_INPUT_PASSES = {
    "native_batch_norm": 1, "cudnn_batch_norm": 1, "native_group_norm": 1, "native_batch_norm_backward": 1,
    "cudnn_batch_norm_backward": 1, "native_layer_norm_backward": 1, "native_group_norm_backward": 1,
    "_log_softmax": 1,
}  # fmt: skip


# What kernels that go through an image's elements one by one cost beyond their bytes: element steps of one SM in a
# cycle, from benchmarks/results/gpu_step_time_h200-sxm-141gb.json (torch 2.11, cuDNN 9). They matter on GPUs whose
# memory is fast for their number of SMs. bfloat16 batch norms run PyTorch's own kernels, others cuDNN's
# (``_batch_norm_impl_index`` in ATen/native/Normalization.cpp).
_NATIVE_NORM = {False: 0.69, True: 0.62}  # by whether it is the backward pass
_NATIVE_NORM_LAST = {False: 0.78, True: 0.88}
_POOL = {False: 0.94, True: 0.36}
_OTHER_SHARE = 0.5  # what ``kernel_rates`` takes for kinds without a share of their own
_FLOPS_PER_SM_CYCLE = 256  # of the vector units: what a share of their peak is stated in


def image_flops(elements: float, per_sm_cycle: float) -> float:
    """Return the vector FLOPs that take as long as ``elements`` at so many in a cycle of an SM."""
    return elements / per_sm_cycle * _FLOPS_PER_SM_CYCLE


def is_channels_last(meta: TensorMeta) -> bool:
    """Tell whether an image lies with its channels side by side."""
    return len(meta.shape) > 2 and len(meta.stride) > 1 and meta.stride[1] == 1 and meta.shape[1] > 1


def _idle_factor(image: TensorMeta, *, backward: bool, sm_count: int) -> float:
    """Return how much longer a norm of plain images takes for having fewer channels than blocks that run at once.

    A block goes through one channel, and an SM runs two; the forward pass reaches more with fewer of them.
    """
    if len(image.shape) < 3 or is_channels_last(image):
        return 1.0
    busy = min(1.0, image.shape[1] / (2 * sm_count))
    return busy ** (-1.0 if backward else -0.6) if busy else 1.0


def norm_work(signature: Signature, *, training: bool, sm_count: int = 0) -> KernelWork:
    """Describe a normalisation; one in evaluation mode needs no statistics and is one pass."""
    name = base_name(signature.name)
    backward = name.endswith("backward")
    batch_norm = "batch_norm" in name
    large = [t for t in signature.inputs if prod(t.shape) == prod(signature.outputs[0].shape)] or list(
        signature.inputs[:1]
    )
    passes = 0 if batch_norm and not training else _EXTRA_INPUT_PASSES.get(name, 0)
    kind: Kind
    if batch_norm:
        kind = "elementwise" if not training else "batch_norm_backward" if backward else "batch_norm_forward"
    else:
        kind = "norm_backward" if backward else "norm_forward"
    total = moved(signature) + passes * sum(tensor_bytes(t) for t in large[: 2 if backward else 1])
    flops = float(signature.pointwise_flops)
    if batch_norm and training and sm_count and not signature.name.endswith(LAID_OUT):
        idle = _idle_factor(large[0], backward=backward, sm_count=sm_count)
        total = round(total * idle)
        if large[0].dtype == "bfloat16":
            steps = _NATIVE_NORM_LAST if is_channels_last(large[0]) else _NATIVE_NORM
            flops = image_flops(prod(large[0].shape), steps[backward]) * idle * _OTHER_SHARE
    return KernelWork(kind, flops, total, 1 + passes, large[0].dtype, "vector")


def other_work(signature: Signature) -> KernelWork:
    """Describe what only moves data and does arithmetic element by element."""
    dtype = (signature.outputs or signature.inputs)[0].dtype if signature.outputs or signature.inputs else "float32"
    moved_bytes = signature.moved_bytes or moved(signature)  # the tape knows which rows a gather reads
    flops = float(signature.pointwise_flops)
    if signature.name.startswith("max_pool"):
        backward = signature.name.endswith("backward")
        sizes = [prod(t.shape) for t in (*signature.inputs, *signature.outputs)]
        flops = image_flops(max(sizes, default=0), _POOL[backward]) * _OTHER_SHARE
    return KernelWork(other_kind(signature), flops, moved_bytes, 1, dtype, "vector")


def other_kind(signature: Signature) -> Kind:
    """Return the kind of an operator that is no product, convolution, attention or norm."""
    kind = op_class(signature.name)
    if kind == "copy" and _transposes(signature):
        return "transpose"
    return kind if kind in KINDS else "elementwise"


def _transposes(signature: Signature) -> bool:
    """Tell whether a copy changes the order of dimensions in memory."""
    if not signature.inputs or not signature.outputs or op_class(signature.name) != "copy":
        return False
    source, target = (
        signature.inputs[-1] if base_name(signature.name) == "copy_" else signature.inputs[0],
        signature.outputs[0],
    )
    return len(source.shape) == len(target.shape) and _order(source) != _order(target)


def _order(meta: TensorMeta) -> tuple[int, ...]:
    dims = [d for d, n in enumerate(meta.shape) if n > 1 and d < len(meta.stride) and meta.stride[d] != 0]
    return tuple(sorted(dims, key=lambda d: (-meta.stride[d], d)))


# --- all of them --------------------------------------------------------------------------------------------------


def kernel_work(signature: Signature, *, sm_count: int, training: bool = True) -> tuple[KernelWork, ...]:
    """Describe the kernels of one operator; empty for one that only changes how a tensor is seen.

    ``training`` is false for a step without a backward pass: batch norms then use their running statistics, which a
    signature does not show.
    """
    from trainworthy.estimate.conv_work import conv_work

    kind = op_class(signature.name)
    if kind in ("view", "collective", "sync") or signature.collective is not None:
        return ()
    dims = [len(t.shape) for t in signature.inputs]
    if not dims or not signature.outputs:
        return (other_work(signature),)
    if kind == "gemm":
        whole = sum(n >= 2 for n in dims) >= 2 and len(signature.outputs[0].shape) >= 2
        return (gemm_work(signature, sm_count=sm_count) if whole else flops_work(signature, "gemm"),)
    if kind in ("conv_forward", "conv_backward"):
        needed = 3 if kind == "conv_backward" else 2
        whole = len(dims) >= needed and min(dims[:needed]) >= 3
        return conv_work(signature, sm_count=sm_count) if whole else (flops_work(signature, "conv_forward"),)
    if kind in ("attention_forward", "attention_backward"):
        return (attention_work(signature, backward=kind == "attention_backward"),)
    if kind in ("rnn_forward", "rnn_backward"):
        return (rnn_work(signature, backward=kind == "rnn_backward"),)
    if kind == "norm":
        return (norm_work(signature, training=training, sm_count=sm_count),)
    return (other_work(signature),)


def flops_work(signature: Signature, kind: Kind) -> KernelWork:
    """Describe an operation whose shapes say less than they should: its counted FLOPs, without padding."""
    return KernelWork(kind, float(signature.flops or 0), moved(signature), 1, signature.inputs[0].dtype)
