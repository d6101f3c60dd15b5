"""CUDA's autocast for virtual tensors.

The lists are those of ``aten/src/ATen/autocast_mode.h`` (torch 2.13): operations that run in the
lower precision, in float32, or in the widest type of their inputs. The CPU has lists of its own.
As in C++, the low-precision copy of a float32 parameter is kept until the outermost autocast context
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.overrides import below, has_override, override, passed_on
from trainworthy.virtual.tensors import raw_is_meta

aten = torch.ops.aten

LOWER_PRECISION = """
conv1d conv1d.padding conv2d conv2d.padding conv3d conv3d.padding conv_tbc conv_transpose1d
conv_transpose2d.input conv_transpose3d.input convolution _convolution prelu addmm addmv addr matmul
einsum mm mv linalg_vecdot linear addbmm baddbmm bmm chain_matmul linalg_multi_dot
_thnn_fused_lstm_cell _thnn_fused_gru_cell lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
""".split()
FLOAT32 = """
acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar
pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm group_norm nuclear_norm
nuclear_norm.dim cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d
hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss
multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss
binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp
upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
_upsample_bilinear2d_aa upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa rms_norm
frobenius_norm.dim linalg_vector_norm linalg_matrix_norm
linalg_matrix_norm.str_ord
softmax.int log_softmax.int cumprod cumsum sum sum.dim_IntList prod prod.dim_int
""".split()
# These take a dtype: it is float32 unless the caller says otherwise.
SET_DTYPE = frozenset({"softmax.int", "log_softmax.int", "cumprod", "cumsum", "sum", "sum.dim_IntList",
                       "prod", "prod.dim_int", "linalg_vector_norm", "linalg_matrix_norm",
                       "linalg_matrix_norm.str_ord"})  # fmt: skip
WIDEST = """
addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add
""".split()
BANNED = ("binary_cross_entropy",)
# The CPU's lists: what it casts and CUDA does not is float32, but for these that promote.
CPU_WIDEST = ("stack", "cat", "index_copy")

_CACHE: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}


def autocast_device(tensors: Any) -> str | None:
    """Return the device type whose autocast is on for these tensors, if any is."""
    for tensor in tensors:
        if isinstance(tensor, torch.Tensor):
            kind = shown_device(tensor).type
            if kind in {"cuda", "cpu"} and raw_is_meta(tensor):
                return kind if torch.is_autocast_enabled(kind) else None
        elif isinstance(tensor, (list, tuple)):
            found = autocast_device(tensor)
            if found:
                return found
    return None


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Cast eligible tensors (floating point, not double); float32 leaves are cached."""
    if isinstance(value, torch.Tensor):
        if not value.dtype.is_floating_point or value.dtype in {torch.float64, dtype} or not raw_is_meta(value):
            return value
        return _cached(value, dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(cast(v, dtype) for v in value)
    return value


def _cached(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    cacheable = (
        tensor.requires_grad
        and tensor.is_leaf
        and tensor.dtype is torch.float32
        and dtype in {torch.float16, torch.bfloat16}
        and torch.is_autocast_cache_enabled()
        and not tensor._is_view()
    )
    if not cacheable:
        plain: torch.Tensor = aten._to_copy.default(tensor, dtype=dtype)
        return plain
    known = _CACHE.get(id(tensor))
    if known is not None and known[0] is tensor and known[1].dtype is dtype:
        # A copy made without grad mode has no graph; the C++ cache has that well-known trap too.
        return known[1]
    copy: torch.Tensor = aten._to_copy.default(tensor, dtype=dtype)
    _CACHE[id(tensor)] = (tensor, copy)
    return copy


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload or "default")


Policy = Callable[[Any, tuple[Any, ...], dict[str, Any], torch.dtype], Any]


def _lower(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    return func(*(cast(a, dtype) for a in args), **{k: cast(v, dtype) for k, v in kwargs.items()})


def _float32(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    return _lower(func, args, kwargs, torch.float32)


def _set_dtype(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    names = [a.name for a in func._schema.arguments]
    at = names.index("dtype")
    given = kwargs.get("dtype") or (args[at] if len(args) > at else None)
    if given is not None or not args[0].dtype.is_floating_point:
        return func(*args, **kwargs)
    return func(*args[:at], **{**kwargs, "dtype": torch.float32})


def _norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    """Add ``dtype=float32``, which these overloads do not have, as C++ does."""
    if args[0].dtype not in {torch.float16, torch.bfloat16, torch.float32}:
        return func(*args, **kwargs)
    if func is aten.norm.Scalar:
        return aten.norm.ScalarOpt_dtype(args[0], *(args[1:] or (2,)), dtype=torch.float32)
    p, dim, keepdim = (*args[1:], *kwargs.values(), False)[:3]
    return aten.norm.ScalarOpt_dim_dtype(args[0], p, dim, keepdim, dtype=torch.float32)


def _widest(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    if any(t.dtype is torch.float32 for t in _tensors(args)):
        dtype = torch.float32
    return func(*(cast(a, dtype) for a in args), **kwargs)


def _banned(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
        "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
        "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
        "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
        "safe to autocast."
    )


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _cuda_policies() -> dict[str, Policy]:
    policies: dict[str, Policy] = dict.fromkeys(LOWER_PRECISION, _lower)
    policies |= {name: _set_dtype if name in SET_DTYPE else _float32 for name in FLOAT32}
    policies |= dict.fromkeys(("norm.Scalar", "norm.ScalarOpt_dim"), _norm)
    policies |= dict.fromkeys(WIDEST, _widest) | dict.fromkeys(BANNED, _banned)
    return policies


def _cpu_policies() -> dict[str, Policy]:
    """Read the CPU's list from the dispatcher: lower precision as on CUDA, else float32."""
    policies: dict[str, Policy] = {}
    for full in torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCPU"):
        name = full.removeprefix("aten::")
        if name in LOWER_PRECISION or name in {"mkldnn_rnn_layer", "_addmm_activation"}:
            policies[name] = _lower
        else:
            policies[name] = _widest if name in CPU_WIDEST else _float32
    return policies


def _kernel(name: str, policies: dict[str, Policy | None]) -> Callable[..., Any]:
    func = _overload(name)

    def kernel(keys: Any, *args: Any, **kwargs: Any) -> Any:
        kind = autocast_device(args)
        policy = policies.get(kind) if kind is not None else None
        if policy is None and kind is not None:  # what it is composed of may be on the list
            return passed_on(func, keys, args, kwargs)
        with below():
            if policy is None or kind is None:
                return func(*args, **kwargs)
            return policy(func, args, kwargs, torch.get_autocast_dtype(kind))

    return kernel


_ELSEWHERE = {"scaled_dot_product_attention", "lstm_cell", "gru_cell"}  # whose own overrides cast


def _register() -> None:
    cuda, cpu = _cuda_policies(), _cpu_policies()
    for name in [*cuda, *(n for n in cpu if n not in cuda)]:
        try:
            _overload(name)
        except AttributeError:  # an operation that this version of torch does not have
            continue
        if not has_override(name) and name not in _ELSEWHERE:
            override(name)(_kernel(name, {"cuda": cuda.get(name), "cpu": cpu.get(name)}))


_register()


@contextmanager
def cache_followed() -> Iterator[None]:
    """Empty the cache of low-precision parameters when the outermost autocast context ends."""
    clear = torch.clear_autocast_cache

    def cleared() -> None:
        _CACHE.clear()
        clear()

    torch.clear_autocast_cache = cleared
    try:
        yield
    finally:
        torch.clear_autocast_cache = clear
        _CACHE.clear()
