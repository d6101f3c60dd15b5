"""Operators by what bounds them: matrix products, convolutions, attention, normalisation, copies, views, ...

The name alone decides (overload and namespace are ignored): a tape says nothing more about an operator. A name that no
table knows is elementwise if it moves bytes and computes nothing else, and its class is then ``"other"``: the estimate
treats both alike, but says which operators it guessed about.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

OpClass = Literal[
    "gemm",
    "conv_forward",
    "conv_backward",
    "attention_forward",
    "attention_backward",
    "rnn_forward",
    "rnn_backward",
    "norm",
    "softmax",
    "reduction",
    "pool",
    "elementwise",
    "transcendental",
    "copy",
    "fill",
    "gather",
    "scatter",
    "random",
    "loss",
    "optimizer_fused",
    "optimizer_foreach",
    "sync",
    "collective",
    "view",
    "other",
]
LAID_OUT = ".laid_out"
"""Ends the names of operators in compiled code that lays operands out as kernels like them: rows of matrices padded to
16 bytes, images channels-last, norms and biases in generated kernels (Inductor's ``shape_padding`` and
``layout_optimization``)."""

OP_CLASSES: tuple[OpClass, ...] = get_args(OpClass)

_NAMES: dict[OpClass, str] = {
    "gemm": "mm addmm bmm baddbmm addbmm mv addmv dot vdot addr linear linear_backward _addmm_activation _int_mm "
    "_scaled_mm _grouped_mm _scaled_grouped_mm mkldnn_linear matmul einsum",
    "conv_forward": "convolution _convolution convolution_overrideable cudnn_convolution cudnn_convolution_transpose "
    "mkldnn_convolution thnn_conv2d _slow_conv2d_forward _conv_depthwise2d conv_depthwise3d miopen_convolution",
    "conv_backward": "convolution_backward convolution_backward_overrideable mkldnn_convolution_backward "
    "_slow_conv2d_backward",
    "rnn_forward": "_cudnn_rnn mkldnn_rnn_layer miopen_rnn",
    "rnn_backward": "_cudnn_rnn_backward mkldnn_rnn_layer_backward miopen_rnn_backward",
    "norm": "native_layer_norm native_layer_norm_backward native_batch_norm native_batch_norm_backward "
    "cudnn_batch_norm cudnn_batch_norm_backward miopen_batch_norm miopen_batch_norm_backward native_group_norm "
    "native_group_norm_backward _fused_rms_norm _fused_rms_norm_backward batch_norm_stats batch_norm_elemt "
    "batch_norm_backward_reduce batch_norm_backward_elemt batch_norm_gather_stats_with_counts "
    "_native_batch_norm_legit _batch_norm_with_update batch_norm_backward",
    "softmax": "_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data _safe_softmax logsumexp",
    "reduction": "sum mean amax amin max min prod norm linalg_vector_norm var std var_mean std_mean argmax argmin any "
    "all cumsum cumprod logcumsumexp nansum count_nonzero aminmax topk sort median kthvalue",
    "pool": "max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices "
    "max_pool3d_with_indices_backward avg_pool2d avg_pool2d_backward avg_pool3d avg_pool3d_backward "
    "_adaptive_avg_pool2d _adaptive_avg_pool2d_backward _adaptive_avg_pool3d _adaptive_avg_pool3d_backward "
    "adaptive_max_pool2d adaptive_max_pool2d_backward upsample_nearest2d upsample_nearest2d_backward "
    "upsample_bilinear2d upsample_bilinear2d_backward upsample_bicubic2d upsample_bicubic2d_backward "
    "upsample_linear1d upsample_linear1d_backward upsample_nearest1d upsample_nearest1d_backward "
    "upsample_nearest3d upsample_nearest3d_backward upsample_trilinear3d upsample_trilinear3d_backward "
    "_upsample_nearest_exact2d _upsample_nearest_exact2d_backward grid_sampler_2d grid_sampler_2d_backward "
    "im2col col2im reflection_pad2d reflection_pad2d_backward replication_pad2d replication_pad2d_backward "
    "reflection_pad1d reflection_pad1d_backward",
    "transcendental": "exp exp_ exp2 expm1 log log2 log10 log1p pow tanh tanh_ tanh_backward sigmoid sigmoid_ "
    "sigmoid_backward gelu gelu_backward silu silu_ silu_backward mish mish_backward softplus softplus_backward elu "
    "elu_ elu_backward erf erfc erfinv sin cos tan sinh cosh asin acos atan atan2 log_sigmoid_forward "
    "log_sigmoid_backward xlogy logaddexp lgamma digamma _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl "
    "_thnn_fused_gru_cell _thnn_fused_gru_cell_backward glu glu_backward",
    "copy": "copy_ _to_copy clone contiguous cat stack _foreach_copy_ index_copy roll flip constant_pad_nd repeat tril "
    "triu split_with_sizes_copy all_gather_copy_in split_copy slice_backward select_backward as_strided_scatter "
    "slice_scatter select_scatter diagonal_backward unfold_backward _reshape_copy channel_shuffle pixel_shuffle "
    "pixel_unshuffle _pin_memory chunk_cat",
    "fill": "zero_ fill_ zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full arange eye "
    "linspace scalar_tensor masked_fill masked_fill_ where tril_ triu_ _foreach_zero_ one_hot",
    "gather": "embedding index index_select gather take take_along_dim _embedding_bag nonzero masked_select "
    "embedding_renorm_ bucketize searchsorted unique2 _unique2",
    "scatter": "embedding_dense_backward index_put index_put_ _index_put_impl_ scatter scatter_ scatter_add "
    "scatter_add_ scatter_reduce scatter_reduce_ index_add index_add_ index_copy_ masked_scatter masked_scatter_ "
    "_embedding_bag_dense_backward bincount histc",
    "random": "native_dropout bernoulli bernoulli_ normal_ uniform_ random_ randn rand randint randperm multinomial "
    "exponential_ randn_like rand_like rrelu_with_noise normal log_normal_ geometric_ cauchy_ randint_like",
    "loss": "nll_loss_forward nll_loss_backward nll_loss2d_forward nll_loss2d_backward mse_loss mse_loss_backward "
    "binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits smooth_l1_loss "
    "smooth_l1_loss_backward huber_loss huber_loss_backward _ctc_loss _ctc_loss_backward multi_margin_loss "
    "soft_margin_loss soft_margin_loss_backward",
    "sync": "_local_scalar_dense is_nonzero equal item _assert_async",
    "view": "view t transpose permute expand squeeze unsqueeze select slice as_strided detach detach_ alias reshape "
    "_reshape_alias _unsafe_view split split_with_sizes chunk unbind unfold diagonal narrow expand_as view_as T mT "
    "swapaxes movedim flatten unflatten empty empty_strided empty_like new_empty new_empty_strided t_ transpose_ "
    "squeeze_ unsqueeze_ as_strided_ set_ resize_ view_as_real view_as_complex real imag unsafe_split unsafe_chunk "
    "unsafe_split_with_sizes lift_fresh lift_fresh_copy _conj conj resolve_conj resolve_neg _values _indices "
    "_coalesced_ values indices rename_ record_stream wait_tensor",
}  # fmt: skip
_BY_NAME: dict[str, OpClass] = {name: cls for cls, names in _NAMES.items() for name in names.split()}

# One operand or several, one result, a few FLOPs an element: bound by memory.
_SIMPLE = (
    "add add_ sub sub_ rsub mul mul_ div div_ neg neg_ abs abs_ sign relu relu_ threshold threshold_ "
    "threshold_backward hardtanh hardtanh_ hardtanh_backward leaky_relu leaky_relu_ leaky_relu_backward clamp clamp_ "
    "clamp_min clamp_min_ clamp_max clamp_max_ maximum minimum fmax fmin eq ne lt le gt ge logical_and logical_or "
    "logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor lerp lerp_ addcmul addcmul_ addcdiv "
    "addcdiv_ sqrt sqrt_ rsqrt rsqrt_ reciprocal reciprocal_ square floor ceil round trunc fmod remainder isnan isinf "
    "isfinite hardswish hardswish_ hardswish_backward hardsigmoid hardsigmoid_ hardsigmoid_backward native_dropout_"
    "backward sgn floor_divide pow_ copysign nan_to_num prelu _prelu_kernel _prelu_kernel_backward "
    "_amp_update_scale_ _amp_foreach_non_finite_check_and_unscale_ eq_ ne_ bitwise_and_ logical_and_ cross "
    "linalg_cross __and__ __or__ __lshift__ __rshift__"
)  # fmt: skip
_ELEMENTWISE = frozenset(_SIMPLE.split())


@cache
def base_name(name: str) -> str:
    """Return an operator's name without namespace and overload.

    >>> base_name("add_.Tensor"), base_name("fsdp.all_gather_copy_in"), base_name("sum.dim_IntList")
    ('add_', 'all_gather_copy_in', 'sum')
    """
    namespaces = ("aten.", "prims.", "prim.", "fsdp.", "_c10d_functional.", "c10d.", "_dtensor.")
    for namespace in namespaces:
        name = name.removeprefix(namespace)
    return name.split(".", 1)[0]


@cache
def op_class(name: str) -> OpClass:
    """Return the class of an operator, named as a tape names it.

    >>> op_class("addmm"), op_class("add_.Tensor"), op_class("_fused_adamw_"), op_class("view")
    ('gemm', 'elementwise', 'optimizer_fused', 'view')
    """
    base = base_name(name)
    known = _BY_NAME.get(base)
    if known is not None:
        return known
    if name.startswith(("_c10d_functional.", "c10d.")):
        return "collective"
    if "attention" in base and base.startswith(("_scaled_dot_product", "_flash", "_efficient", "_cudnn", "_fused_sdp")):
        return "attention_backward" if base.endswith("backward") else "attention_forward"
    if base.startswith("_fused_"):
        return "optimizer_fused"
    if base.startswith("_foreach_"):
        return "optimizer_foreach"
    if base in _ELEMENTWISE or base.removesuffix("_") in _ELEMENTWISE:
        return "elementwise"
    return "other"
