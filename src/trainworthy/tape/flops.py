"""FLOPs and bytes of one operation.

Dot products use the formulas of ``torch.utils.flop_counter`` (one multiply-add is 2 FLOPs, causal
attention counts the full square); what that registry lacks or gets wrong is registered here:
grouped convolution backward (torch 2.13 forgets the groups), CPU fused attention (it counts 0),
cuDNN and MKLDNN recurrent layers. An operation with arithmetic that nobody has a formula for is
``None``, never 0. Elementwise, reduction and normalisation arithmetic is kept apart:
``POINTWISE_FLOPS_PER_ELEMENT`` says how it is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
Args = Sequence[Any]


class Cost(NamedTuple):
    """What one call costs; see ``record.Signature`` for the meaning of each field."""

    flops: int | None
    pointwise_flops: int
    recompute_flops: int
    moved_bytes: int


# FLOPs per element of the larger of input and output; per-row scalars (1/n, eps, rsqrt) left out.
# layer_norm: mean 1, subtract 1, square and sum 2, scale 1, affine 2. softmax: max, subtract, exp,
# sum, divide. Backward passes: the textbook sums. Everything else that PyTorch tags as pointwise or
# reduction counts 1.
POINTWISE_FLOPS_PER_ELEMENT = {
    "native_layer_norm": 7, "native_layer_norm_backward": 11,
    "native_group_norm": 7, "native_group_norm_backward": 11,
    "native_batch_norm": 7, "native_batch_norm_backward": 11,
    "cudnn_batch_norm": 7, "cudnn_batch_norm_backward": 11,
    "_fused_rms_norm": 4, "_fused_rms_norm_backward": 8,
    "_softmax": 5, "_softmax_backward_data": 4,
    "_log_softmax": 5, "_log_softmax_backward_data": 4, "_safe_softmax": 5,
    "native_dropout": 2, "native_dropout_backward": 2,
    "_fused_adamw_": 14, "_fused_adam_": 14, "_fused_sgd_": 4, "_fused_adagrad_": 6,
    "avg_pool2d": 1, "max_pool2d_with_indices": 1, "embedding_dense_backward": 1,
    "_thnn_fused_lstm_cell": 5, "_thnn_fused_lstm_cell_backward_impl": 5,
    "_thnn_fused_gru_cell": 5, "_thnn_fused_gru_cell_backward": 5,
    "linalg_vector_norm": 2, "linalg_cross": 9, "var_mean": 4, "var": 4, "std": 4,
}  # fmt: skip

# Arithmetic that grows faster than its data and has no formula here: unknown, and said so.
_UNKNOWN_PREFIXES = ("linalg_", "_linalg", "fft_", "_fft", "svd", "qr", "cholesky", "lu_", "triangular_solve",
                     "inverse", "ormqr", "geqrf", "_cdist", "cdist", "_pdist", "_ctc_loss", "_cudnn_ctc_loss",
                     "_trilinear", "grid_sampler", "_grouped_mm", "_scaled_grouped_mm", "_sparse", "sspaddmm",
                     "_nested", "matrix_exp", "_transformer", "_native_multi_head", "flex_", "_scaled_dot_product",
                     "_flash_attention", "_efficient_attention", "mkldnn_", "miopen_", "quantized_", "_int_mm",
                     "_weight_int", "_addmm_activation", "_slow_conv", "slow_conv", "conv_depthwise", "thnn_conv",
                     "_conv_depthwise", "_dyn_quant", "fbgemm_", "_wrapped_", "_lstm_mps", "_cslt",
                     "_mixed_dtypes")  # fmt: skip
# Operations that touch only the rows they select, not the whole first operand.
_GATHERS = frozenset({"embedding", "index", "index_select", "gather", "take", "take_along_dim"})
_SCATTERS = frozenset({"index_put_", "index_put", "_index_put_impl_", "scatter_add_", "scatter_",
                       "index_add_", "scatter_add", "index_add", "scatter"})  # fmt: skip
_FREE = frozenset({"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "detach", "detach_",
                   "_unsafe_view", "t_", "transpose_", "squeeze_", "unsqueeze_", "as_strided_", "set_", "resize_",
                   "swapaxes_", "swapdims_", "rename_", "unsafe_split", "unsafe_chunk"})  # fmt: skip
# Operations that write their result without reading what they are given.
_FILLS = frozenset({"zero_", "fill_", "normal_", "uniform_", "random_", "exponential_", "log_normal_", "cauchy_",
                    "geometric_"})  # fmt: skip

_COPIES = frozenset({"copy_", "_to_copy", "clone", "where", "masked_fill", "masked_fill_", "_foreach_copy_",
                     "_foreach_zero_", "zeros_like", "ones_like", "full_like"})  # fmt: skip

_FORMULAS: dict[str, Callable[..., int]] = {}
_RECOMPUTES: dict[str, Callable[..., int]] = {}


def formula(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a FLOP formula that takes the arguments and the result of the operation."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        for name in names:
            if name in _FORMULAS:
                raise ValueError(f"two FLOP formulas for {name}: {_FORMULAS[name]}, {function}")
            _FORMULAS[name] = function
        return function

    return decorate


# Besides torch's own: FSDP2's copies in and out of its buffers, and waiting for a collective, multiply nothing.
_KNOWN_NAMESPACES = frozenset({"aten", "prim", "prims", "fsdp", "_c10d_functional", "_dtensor"})


def op_cost(func: Any, name: str, args: Args, kwargs: dict[str, Any], out: Any) -> Cost:
    """Count FLOPs and moved bytes of one call of ``func``; ``name`` is without overload."""
    tensors = list(_tensors(args)) + list(_tensors(kwargs.values()))
    outputs = list(_tensors((out,)))
    flops = _dot_flops(func, name, args, kwargs, out)
    recompute = _RECOMPUTES[name](*args) if name in _RECOMPUTES else 0
    pointwise = _pointwise_flops(func, name, args, tensors, outputs)
    return Cost(flops, pointwise, recompute, _moved_bytes(func, name, args, tensors, outputs))


def _dot_flops(func: Any, name: str, args: Args, kwargs: dict[str, Any], out: Any) -> int | None:
    kwargs = {key: value for key, value in kwargs.items() if key != "out"}
    base = name if name in _FORMULAS else name.removesuffix("_")  # addmm_ is addmm
    own = _FORMULAS.get(base)
    if own is not None:
        return own(*args, out=out, **kwargs)
    registered = flop_registry.get(getattr(func, "overloadpacket", None)) or flop_registry.get(
        getattr(aten, base, None)
    )
    if registered is not None:
        return int(registered(*args, **kwargs, out_val=out))
    if getattr(func, "namespace", "aten") not in _KNOWN_NAMESPACES:
        return None
    if name.startswith(_UNKNOWN_PREFIXES) and name not in POINTWISE_FLOPS_PER_ELEMENT:
        return None
    return 0


def _pointwise_flops(func: Any, name: str, args: Args, tensors: list[torch.Tensor], outputs: list[torch.Tensor]) -> int:
    per_element = POINTWISE_FLOPS_PER_ELEMENT.get(name)
    tags = getattr(func, "tags", ())
    if per_element is None:
        if name.startswith("_foreach_"):
            return (
                0
                if name in _COPIES
                else sum(int(t.numel()) for t in next(a for a in args if isinstance(a, (list, tuple))))
            )
        if torch.Tag.pointwise not in tags and torch.Tag.reduction not in tags:
            return 0
        if name in _COPIES or name in _FILLS:
            return 0
        per_element = 1
    if name.startswith("_fused_"):
        return per_element * sum(int(t.numel()) for t in next(a for a in args if isinstance(a, (list, tuple))))
    sizes = [t.numel() for t in (*tensors, *outputs)]
    return per_element * max(sizes, default=0)


def _written(func: Any, args: Args) -> list[torch.Tensor]:
    """List the tensors that an operation without result writes."""
    written = [value for argument, value in zip(func._schema.arguments, args, strict=False) if argument.is_write]
    if func._schema.name.startswith("aten::_fused_"):
        del written[1:2]  # gradients, which these change only when they take a loss scale out
    return list(_tensors(written))


def _moved_bytes(func: Any, name: str, args: Args, tensors: list[torch.Tensor], outputs: list[torch.Tensor]) -> int:
    if name in _FREE or getattr(func, "is_view", False):
        return 0
    written = sum(_touched_bytes(t) for t in outputs)
    if name in _GATHERS:
        return 2 * written + sum(_touched_bytes(t) for t in tensors[1:])
    if name in _SCATTERS:
        values = sum(_touched_bytes(t) for t in tensors[1:])
        copied = 0 if name.endswith("_") else _touched_bytes(tensors[0]) + written
        return copied + values + tensors[-1].numel() * tensors[0].element_size() * 2
    if name == "nll_loss_forward":
        return 2 * _touched_bytes(tensors[1]) + written
    if name in _FILLS or name.endswith("_like") or name.startswith("new_"):
        return written
    if not outputs:  # lists written in place return nothing
        written = sum(_touched_bytes(t) for t in _written(func, args))
    if name in {"copy_", "_foreach_copy_", "_foreach_zero_"}:  # what is overwritten is not read
        return sum(_touched_bytes(t) for t in tensors)
    return sum(_touched_bytes(t) for t in tensors) + written


def _touched_bytes(tensor: torch.Tensor) -> int:
    """Count the bytes behind a tensor once: expanded dimensions repeat the same memory."""
    if tensor.layout is not torch.strided:
        return sum(_touched_bytes(part) for part in sparse_parts(tensor))
    elements = prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size == 0)
    return elements * tensor.element_size()


def sparse_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the dense tensors that a sparse tensor consists of."""
    if tensor.layout is torch.sparse_coo:
        return (tensor._indices(), tensor._values())
    if tensor.layout in {torch.sparse_csr, torch.sparse_bsr}:
        return (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    if tensor.layout in {torch.sparse_csc, torch.sparse_bsc}:
        return (tensor.ccol_indices(), tensor.row_indices(), tensor.values())
    return ()


def _tensors(values: Any) -> Any:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


# --- formulas that torch.utils.flop_counter lacks or gets wrong -----------------------------------


def _conv_flops(x: torch.Tensor, w: torch.Tensor, out: torch.Tensor, transposed: bool) -> int:
    # Every weight meets every output position (input position if transposed) of every sample; the
    # weight's second dimension is already divided by the groups. Source: Dumoulin & Visin 2016.
    positions = (x if transposed else out).shape[2:]
    return 2 * int(x.shape[0]) * prod(positions) * prod(w.shape)


@formula("convolution_backward")
def _convolution_backward(
    grad_out: torch.Tensor, x: torch.Tensor, w: torch.Tensor, bias: Any, stride: Any, padding: Any,
    dilation: Any, transposed: bool, output_padding: Any, groups: int, mask: Any, out: Any = None,
) -> int:  # fmt: skip
    # Gradients of input and weight each need the multiply-adds of the forward pass.
    return (int(mask[0]) + int(mask[1])) * _conv_flops(x, w, grad_out, transposed)


@formula("mv")
def _mv(a: torch.Tensor, v: torch.Tensor, out: Any = None) -> int:
    return 2 * a.numel()


@formula("addmv")
def _addmv(bias: Any, a: torch.Tensor, v: torch.Tensor, out: Any = None, **_: Any) -> int:
    return 2 * a.numel()


@formula("dot", "vdot")
def _dot(a: torch.Tensor, b: torch.Tensor, out: Any = None) -> int:
    return 2 * a.numel()


@formula("addr")
def _addr(self: Any, a: torch.Tensor, b: torch.Tensor, out: Any = None, **_: Any) -> int:
    return 2 * a.numel() * b.numel()


@formula("addbmm")
def _addbmm(self: Any, a: torch.Tensor, b: torch.Tensor, out: Any = None, **_: Any) -> int:
    return 2 * a.numel() * int(b.shape[-1])


_ATTENTION = tuple(
    f"_scaled_dot_product_{kind}"
    for kind in ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
)


@formula(*_ATTENTION)
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, out: Any = None, **__: Any) -> int:
    # Scores and their product with the values, for every query head (heads of keys and values may be shared).
    return 2 * prod(q.shape[:-1]) * int(k.shape[-2]) * int(q.shape[-1] + v.shape[-1])


@formula(*(f"{name}_backward" for name in _ATTENTION))
def _attention_backward(
    grad: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any,
    out: Any = None, **__: Any,
) -> int:  # fmt: skip
    # The scores again; gradients of queries, keys, values and probabilities (Dao et al. 2022, algorithm 4).
    return 2 * prod(q.shape[:-1]) * int(k.shape[-2]) * int(3 * q.shape[-1] + 2 * v.shape[-1])


def _attention_scores(grad: torch.Tensor, q: torch.Tensor, k: torch.Tensor, *_: Any) -> int:
    # Fused kernels form the scores again in the backward pass (Dao et al. 2022, section 3.1).
    return 2 * int(prod(q.shape)) * int(k.shape[-2])


for _name in _ATTENTION:
    _RECOMPUTES[f"{_name}_backward"] = _attention_scores


def _rnn_flops(weights: Sequence[torch.Tensor], steps_and_batch: int) -> int:
    # Every weight matrix meets every (time step, sample); biases are not dot products.
    return 2 * steps_and_batch * sum(w.numel() for w in weights if w.dim() == 2)


@formula("_cudnn_rnn")
def _cudnn_rnn(x: torch.Tensor, weights: Sequence[torch.Tensor], *_: Any, out: Any = None, **__: Any) -> int:
    return _rnn_flops(weights, prod(x.shape[:-1]))


@formula("_cudnn_rnn_backward")
def _cudnn_rnn_backward(x: torch.Tensor, weights: Sequence[torch.Tensor], *_: Any, out: Any = None, **__: Any) -> int:
    # Gradients of inputs and of weights: twice the forward pass.
    return 2 * _rnn_flops(weights, prod(x.shape[:-1]))


@formula("mkldnn_rnn_layer")
def _mkldnn_rnn(x: torch.Tensor, w0: torch.Tensor, w1: torch.Tensor, *_: Any, out: Any = None, **__: Any) -> int:
    return _rnn_flops((w0, w1), prod(x.shape[:-1]))


@formula("mkldnn_rnn_layer_backward")
def _mkldnn_rnn_backward(
    x: torch.Tensor, w0: torch.Tensor, w1: torch.Tensor, *_: Any, out: Any = None, **__: Any
) -> int:
    return 2 * _rnn_flops((w0, w1), prod(x.shape[:-1]))


@formula("mm", "_sparse_mm", "sparse_mm")
def _mm(a: torch.Tensor, b: torch.Tensor, *_: Any, out: Any = None, **__: Any) -> int:
    # Every entry of the left matrix that is there meets a row of the right one, and the other way round.
    if a.layout is not torch.strided:
        return 2 * int(a._nnz()) * int(b.shape[-1])
    if b.layout is not torch.strided:
        return 2 * int(b._nnz()) * int(a.shape[0])
    return 2 * a.numel() * int(b.shape[-1])


@formula("addmm", "_sparse_addmm")
def _addmm(self: Any, a: torch.Tensor, b: torch.Tensor, *_: Any, out: Any = None, **__: Any) -> int:
    return _mm(a, b)
