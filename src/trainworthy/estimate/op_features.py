"""What a kernel's time depends on, read from a tape's signature: the family of its curve and its sizes as logarithms.

The same function places an operation among the measurements when a machine is calibrated and when a step is estimated,
so that nothing is described twice. Sizes are base-2 logarithms: what matters of a size is its order of magnitude.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2, prod
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate.op_classes import LAID_OUT, OpClass, base_name, op_class

if TYPE_CHECKING:
    from trainworthy.tape.record import Signature, TensorMeta

_SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}


class Placed(NamedTuple):
    """A family of kernels and where in it an operation lies; ``fallbacks`` are asked if the family has no curve."""

    family: str
    features: tuple[float, ...]
    fallbacks: tuple[str, ...] = ()


def place(signature: Signature) -> Placed:
    """Return the family and features of an operation."""
    kind = op_class(signature.name)
    return _PLACERS.get(kind, _elementwise)(signature)


def dtype_of(signature: Signature) -> str:
    """Return the type that an operation computes in: that of its largest floating operand."""
    metas = sorted((*signature.outputs, *signature.inputs), key=lambda meta: -prod(meta.shape))
    for meta in metas:
        if meta.dtype in _SHORT:
            return _SHORT[meta.dtype]
    return metas[0].dtype if metas else "none"


def _log(size: float) -> float:
    return log2(max(size, 1))


def _numel(meta: TensorMeta) -> int:
    return prod(meta.shape)


def _family(signature: Signature, name: str) -> str:
    return f"{name}/{dtype_of(signature)}"


def _gemm(signature: Signature) -> Placed:
    name = base_name(signature.name)
    biased = name.startswith(("addmm", "baddbmm", "addbmm", "addmv"))
    operands = signature.inputs[1:3] if biased else signature.inputs[:2]
    if len(operands) < 2 or not signature.outputs:
        return _elementwise(signature)
    a, b = operands
    k = a.shape[-1] if a.shape else 1
    m = a.shape[-2] if len(a.shape) > 1 else 1
    n = b.shape[-1] if len(b.shape) > 1 else 1
    batch = prod(a.shape[:-2])
    sizes = (_log(m), _log(n), _log(k))
    layouts = (_transposed(a), _transposed(b))
    if len(a.shape) > 2:
        return Placed(_family(signature, "bmm"), (_log(batch), *sizes, *layouts))
    return Placed(_family(signature, "mm"), (*sizes, *layouts, float(biased)))


def _transposed(meta: TensorMeta) -> float:
    """Tell whether the last dimension is not the one that lies close together."""
    if len(meta.stride) < 2 or min(meta.shape[-2:]) == 1:
        return 0.0
    return float(meta.stride[-1] != 1)


def _conv(signature: Signature) -> Placed:
    backward = op_class(signature.name) == "conv_backward"
    tensors = signature.inputs[1:3] if backward else signature.inputs[:2]
    out = signature.inputs[0] if backward else signature.outputs[0] if signature.outputs else None
    if len(tensors) < 2 or out is None or len(tensors[1].shape) < 3:
        return _elementwise(signature)
    x, weight = tensors
    pixels_in, pixels_out = prod(x.shape[2:]), prod(out.shape[2:])
    transposed = is_transposed_conv(x, weight, out)
    channels_in, channels_out = x.shape[1], out.shape[1]
    per_group = weight.shape[0] if transposed else weight.shape[1]
    groups = max(channels_in // max(per_group, 1), 1) if not transposed else max(channels_out // weight.shape[1], 1)
    name = "conv_transposed" if transposed else "conv"
    if backward:
        wants_input = any(m.shape == x.shape for m in signature.outputs)
        wants_weight = any(m.shape == weight.shape for m in signature.outputs)
        name += (
            "_backward" if wants_input and wants_weight else "_backward_input" if wants_input else "_backward_weight"
        )
    return Placed(
        _family(signature, name),
        (
            _log(x.shape[0]), _log(pixels_out), _log(pixels_in) - _log(pixels_out), _log(channels_in / groups),
            _log(channels_out / groups), _log(groups), _log(prod(weight.shape[2:])),
            float(signature.name.endswith(LAID_OUT) or (len(x.stride) > 1 and x.stride[1] == 1 and x.shape[1] > 1)),
            _waste(channels_in // groups) + _waste(channels_out // groups),
        ),
        (_family(signature, name.replace("_transposed", "")), _family(signature, "conv")),
    )  # fmt: skip


def _waste(channels: int) -> float:
    """Return the doublings that padding channels to a multiple of 16 costs: vector units work on such blocks."""
    return _log(-(-channels // 16) * 16 / max(channels, 1)) if channels > 1 else 0.0


def is_transposed_conv(x: TensorMeta, weight: TensorMeta, out: TensorMeta) -> bool:
    """Tell a transposed convolution by its weight, (in, out / groups, ...); where both fit, by the larger output."""
    as_plain = weight.shape[0] == out.shape[1]
    as_transposed = weight.shape[0] == x.shape[1]
    if as_plain and as_transposed:
        return prod(out.shape[2:]) > prod(x.shape[2:])
    return as_transposed


def _attention(signature: Signature) -> Placed:
    q, k = signature.inputs[:2]
    name = "attention"
    if op_class(signature.name) == "attention_backward":
        name, q, k = "attention_backward", *signature.inputs[1:3]
    causal = float(signature.name.endswith(".causal"))
    heads = prod(q.shape[:-2])
    return Placed(
        _family(signature, name),
        (_log(heads), _log(q.shape[-2]), _log(k.shape[-2]), _log(q.shape[-1]), causal),
    )


def _norm(signature: Signature) -> Placed:
    name = base_name(signature.name)
    x = next((m for m in signature.inputs if len(m.shape) > 1), signature.inputs[0])
    if "layer_norm" in name or "rms_norm" in name:
        statistics = signature.inputs[2:4] if name.endswith("backward") else signature.outputs[1:2]
        rows = max((_numel(m) for m in statistics), default=1)
        return Placed(_family(signature, name), (_log(rows), _log(_numel(x) / max(rows, 1))))
    channels = x.shape[1] if len(x.shape) > 1 else 1
    samples = x.shape[0] if x.shape else 1
    name = name.replace("cudnn_batch_norm", "native_batch_norm")  # a virtual tape does not say whose kernel it is
    features = (_log(samples), _log(channels), _log(_numel(x) / max(samples * channels, 1)))
    return _by_layout(signature, name, x, features)


def _by_layout(signature: Signature, name: str, x: TensorMeta, features: tuple[float, ...], *more: str) -> Placed:
    """Return a family of images; those in channels_last have kernels of their own where that was measured."""
    plain = (_family(signature, name), *more)
    if len(x.shape) == 4 and len(x.stride) == 4 and x.stride[1] == 1 and x.shape[1] > 1:
        return Placed(_family(signature, f"{name}:last"), features, plain)
    return Placed(plain[0], features, plain[1:])


def _softmax(signature: Signature) -> Placed:
    x = signature.inputs[0]
    columns = x.shape[-1] if x.shape else 1
    name = base_name(signature.name)
    return Placed(_family(signature, name), (_log(_numel(x) / max(columns, 1)), _log(columns)))


def _reduction(signature: Signature) -> Placed:
    """Sums over the last dimension read rows, sums over leading ones add rows, sums over all end in one number."""
    x = signature.inputs[0]
    out = signature.outputs[0] if signature.outputs else x
    kept = _numel(out)
    name = base_name(signature.name)
    variant = "all"
    if 1 < kept < _numel(x):
        last_kept = bool(out.shape) and out.shape[-1] == x.shape[-1] and x.shape[-1] > 1
        variant = "outer" if last_kept else "inner"
    elif kept == _numel(x):
        variant = "none"
    family = f"{name}:{variant}/{dtype_of(signature)}"
    fallback = f"sum:{variant}/{dtype_of(signature)}"
    return Placed(family, (_log(_numel(x)), _log(kept)), (fallback, f"sum:{variant}/fp32", "sum:all/fp32"))


def _pool(signature: Signature) -> Placed:
    name = base_name(signature.name)
    sizes = [_numel(m) for m in (*signature.inputs[:1], *signature.outputs[:1])]
    small, large = min(sizes, default=1), max(sizes, default=1)
    other = "max_pool2d_with_indices_backward" if name.endswith("backward") else "max_pool2d_with_indices"
    x = signature.inputs[1] if name.endswith("backward") and len(signature.inputs) > 1 else signature.inputs[0]
    return _by_layout(signature, name, x, (_log(large), _log(large) - _log(small)), f"{other}/fp32")


def _copy(signature: Signature) -> Placed:
    """Copies by what they read: in order, or across rows."""
    name = base_name(signature.name)
    if name in {"cat", "stack"}:
        return Placed(
            _family(signature, "cat"),
            (_log(sum(_numel(m) for m in signature.inputs)), _log(len(signature.inputs))),
            ("clone:plain/fp32",),
        )
    if name.endswith("_backward"):  # zeros with a part filled in
        return Placed(_family(signature, name), (_log(sum(map(_numel, signature.outputs))),), ("fill_:plain/fp32",))
    source = signature.inputs[-1] if name == "copy_" else signature.inputs[0] if signature.inputs else None
    if source is None:
        return _elementwise(signature)
    target = signature.outputs[0] if signature.outputs else source
    changes = source.dtype != target.dtype
    order = layout_variant((source, target))
    family = f"clone:{'cast' if changes and order == 'plain' else order}/{dtype_of(signature)}"
    return Placed(family, (_log(_numel(target)),), (f"clone:{order}/fp32", "clone:plain/fp32"))


def _gather(signature: Signature) -> Placed:
    out = signature.outputs[0] if signature.outputs else signature.inputs[0]
    indices = max((_numel(m) for m in signature.inputs[1:]), default=1)
    name = base_name(signature.name)
    return Placed(
        _family(signature, name),
        (_log(indices), _log(_numel(out) / max(indices, 1))),
        (_family(signature, "embedding"), "embedding/fp32"),
    )


def _scatter(signature: Signature) -> Placed:
    name = base_name(signature.name)
    out = signature.outputs[0] if signature.outputs else signature.inputs[0]
    indices = min((_numel(m) for m in signature.inputs), default=1)
    source = min((_numel(m) for m in signature.inputs if m.dtype not in {"int64", "int32"}), default=1)
    return Placed(
        _family(signature, name),
        (_log(indices), _log(source / max(indices, 1)), _log(_numel(out))),  # how many rows, how wide, into how much
        (_family(signature, "embedding_dense_backward"), "embedding_dense_backward/fp32"),
    )


def _loss(signature: Signature) -> Placed:
    sizes = [_numel(m) for m in (*signature.inputs, *signature.outputs)]
    name = base_name(signature.name)
    if name.startswith("nll_loss"):  # one number of each row is read; the backward pass fills all
        rows = max((_numel(m) for m in signature.inputs if m.dtype == "int64"), default=1)
        return Placed(_family(signature, name), (_log(rows), _log(max(sizes) / max(rows, 1))))
    return Placed(_family(signature, name), (_log(max(sizes)),), _plain_fallbacks(signature))


def _rnn(signature: Signature) -> Placed:
    x, weight = signature.inputs[0], signature.inputs[1]
    name = base_name(signature.name)
    steps, batch = (x.shape[0], x.shape[1]) if len(x.shape) > 2 else (x.shape[0] if x.shape else 1, 1)
    # cuDNN takes either order, and only the state, (layers, batch, hidden), tells which.
    state = next((meta.shape for meta in signature.inputs[1:] if len(meta.shape) == 3), None)
    if state is not None and state[1] == steps != batch:
        steps, batch = batch, steps
    inputs = weight.shape[-1] if weight.shape else 1
    gates = weight.shape[0] if weight.shape else 1
    return Placed(_family(signature, name), (_log(steps), _log(batch), _log(inputs), _log(gates)))


def _lists(signature: Signature) -> Placed:
    """Optimizer kernels over lists of tensors."""
    name = base_name(signature.name)
    total = sum(_numel(m) for m in signature.inputs)
    return Placed(
        _family(signature, name),
        (_log(total), _log(len(signature.inputs))),
        (_family(signature, "_foreach_add_"), "_foreach_add_/fp32"),
    )


# Operators whose kernels cost alike, by one that is measured.
_LIKE = {
    "sub": "add", "rsub": "add", "maximum": "add", "minimum": "add", "neg": "relu", "abs": "relu", "clamp": "relu",
    "clamp_min": "relu", "hardtanh": "relu", "leaky_relu": "relu", "leaky_relu_backward": "threshold_backward",
    "hardtanh_backward": "threshold_backward", "rsqrt": "sqrt", "reciprocal": "div", "addcmul": "addcdiv",
    "exp2": "exp", "expm1": "exp", "log2": "log", "log1p": "log", "softplus": "log", "erf": "gelu",
    "sin": "cos", "mish": "gelu", "elu": "exp", "elu_backward": "sigmoid_backward", "hardswish": "silu",
    "softplus_backward": "sigmoid", "mish_backward": "gelu_backward", "hardswish_backward": "silu_backward",
    "native_dropout": "bernoulli_", "bernoulli": "bernoulli_", "rand": "uniform_", "randn": "normal_",
    "rand_like": "uniform_", "randn_like": "normal_", "randint": "random_", "zeros": "fill_", "ones": "fill_",
    "zero": "fill_", "zeros_like": "fill_", "ones_like": "fill_", "full": "fill_", "full_like": "fill_",
    "new_zeros": "fill_", "new_ones": "fill_", "new_full": "fill_", "fill": "fill_", "scalar_tensor": "fill_",
    "ne": "eq", "lt": "eq", "le": "eq", "gt": "eq", "ge": "eq", "logical_and": "eq", "logical_not": "eq",
    "logical_or": "eq", "bitwise_and": "eq", "bitwise_not": "eq", "masked_fill": "where", "tril": "clone",
    "triu": "clone", "isnan": "eq", "isfinite": "eq", "square": "mul", "native_dropout_backward": "mul",
    "normal": "normal_", "uniform": "uniform_", "random": "random_",
}  # fmt: skip


def layout_variant(metas: tuple[TensorMeta, ...]) -> str:
    """Return how operands lie: ``plain``, ``broadcast`` (some are repeated) or ``strided`` (across rows).

    Dense tensors whose dimensions are permuted alike, as channels_last tensors, count as plain.
    """
    full = max((_numel(m) for m in metas), default=0)
    order: tuple[int, ...] | None = None
    variant = "plain"
    for meta in metas:
        size = _numel(meta)
        if size <= 1:
            continue
        if size < full or 0 in meta.stride:
            variant = "broadcast" if variant == "plain" else variant
            continue
        mine = tuple(
            sorted((d for d in range(len(meta.shape)) if meta.shape[d] > 1), key=lambda d: -meta.stride[d])
        )  # fmt: skip
        if order is not None and mine and order and mine[-1] != order[-1]:
            return "strided"
        order = mine if order is None else order
    return variant


def _plain_fallbacks(signature: Signature) -> tuple[str, ...]:
    dtype = dtype_of(signature)
    base = "gelu" if op_class(signature.name) == "transcendental" else "add"
    base = "bernoulli_" if op_class(signature.name) == "random" else base
    return (f"{base}:plain/{dtype}", f"{base}:plain/fp32", "add:plain/fp32")


def _elementwise(signature: Signature) -> Placed:
    name = base_name(signature.name)
    known = _LIKE.get(name.removesuffix("_"), name)
    metas = (*signature.inputs, *signature.outputs)
    variant = layout_variant(metas)
    stem = known.removesuffix("_") if op_class(signature.name) not in {"random", "fill"} else known
    dtype = dtype_of(signature)
    # What is read and written decides, in numbers of four bytes: `x += y` moves less than `x + y`.
    total = signature.moved_bytes / 4 or max((_numel(m) for m in metas), default=1)
    families = (f"{stem}:plain/{dtype}", f"add:{variant}/{dtype}", f"add:{variant}/fp32")
    return Placed(f"{stem}:{variant}/{dtype}", (_log(total),), (*families, *_plain_fallbacks(signature)))


_PLACERS: dict[OpClass, Callable[[Signature], Placed]] = {
    "gemm": _gemm, "conv_forward": _conv, "conv_backward": _conv, "attention_forward": _attention,
    "attention_backward": _attention, "norm": _norm, "softmax": _softmax, "reduction": _reduction, "pool": _pool,
    "copy": _copy, "gather": _gather, "scatter": _scatter, "loss": _loss, "rnn_forward": _rnn, "rnn_backward": _rnn,
    "optimizer_fused": _lists, "optimizer_foreach": _lists,
}  # fmt: skip
