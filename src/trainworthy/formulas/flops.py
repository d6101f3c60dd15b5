"""FLOPs and bytes of classes of operations. One multiply-add is 2 FLOPs (1 MAC).

Bytes are what a kernel of its own reads and writes: every operand once, every result once. `attention_flops` has the
arithmetic of attention, `transformer` that of whole layers and models.
"""

from __future__ import annotations

from math import prod
from typing import Literal

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import require_divisible, require_one_of, require_positive, require_whole

# FLOPs per element of the larger of input and output, forward and backward, as `tape.flops` counts them.
PASSES_PER_ELEMENT: dict[str, tuple[int, int]] = {
    "layer_norm": (7, 11),
    "group_norm": (7, 11),
    "batch_norm": (7, 11),
    "rms_norm": (4, 8),
    "softmax": (5, 4),
    "log_softmax": (5, 4),
    "dropout": (2, 2),
}
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def macs(*, flops: int) -> int:
    """Count multiply-adds of a dot-product class operation.

    Unit:     MAC
    Exact?    yes; odd numbers of FLOPs are no multiply-adds
    Source:   definition

    >>> macs(flops=48)
    24

    Raises:
        FormulaError: If ``flops`` is negative or odd.
    """
    require_whole(0, flops=flops)
    require_divisible("FLOPs of a multiply-add", 2, flops=flops)
    return flops // 2


def elementwise_flops(*, elements: int, flops_per_element: int = 1) -> int:
    """Count FLOPs of an operation that treats every element alike.

    Shapes:   any, ``elements`` of the broadcast result
    Unit:     FLOP
    Exact?    by convention: an exponential or a square root counts 1
    Source:   docs/counting.md

    >>> elementwise_flops(elements=6, flops_per_element=2)
    12

    Raises:
        FormulaError: If an argument is negative.
    """
    require_whole(0, elements=elements, flops_per_element=flops_per_element)
    return elements * flops_per_element


def elementwise_bytes(*, elements: int, bytes_per_element: int, inputs: int = 1, outputs: int = 1) -> int:
    """Count bytes of an elementwise operation whose operands all have ``elements`` elements.

    Unit:     bytes
    Exact?    yes, for operands that do not fit in cache
    Source:   every operand once, every result once

    >>> elementwise_bytes(elements=1000, bytes_per_element=2, inputs=2)
    6000

    Raises:
        FormulaError: If an argument is negative.
    """
    require_whole(0, elements=elements, bytes_per_element=bytes_per_element, inputs=inputs, outputs=outputs)
    return elements * bytes_per_element * (inputs + outputs)


def reduction_flops(*, elements: int) -> int:
    """Count FLOPs of a sum, maximum or product over ``elements`` elements, whatever the axes.

    Shapes:   elements of the input
    Unit:     FLOP
    Exact?    one more for each result than n - 1; products use the same convention
    Source:   docs/counting.md

    >>> reduction_flops(elements=1_000_000)
    1000000

    Raises:
        FormulaError: If ``elements`` is negative.
    """
    require_whole(0, elements=elements)
    return elements


def reduction_bytes(*, elements: int, results: int, bytes_per_element: int) -> int:
    """Count bytes of a reduction: the input is read, the results are written.

    Unit:     bytes
    Exact?    yes, in one pass
    Source:   every operand once, every result once

    >>> reduction_bytes(elements=1000, results=10, bytes_per_element=4)
    4040

    Raises:
        FormulaError: If an argument is negative.
    """
    require_whole(0, elements=elements, results=results, bytes_per_element=bytes_per_element)
    return (elements + results) * bytes_per_element


def dot_product_flops(*, length: int) -> int:
    """Count FLOPs of the dot product of two vectors.

    Shapes:   (length,) and (length,) -> ()
    Unit:     FLOP
    Exact?    up to the last addition: 2n - 1 would be exact
    Source:   torch.utils.flop_counter (torch 2.13), which counts 2n

    >>> dot_product_flops(length=128)
    256

    Raises:
        FormulaError: If ``length`` is negative.
    """
    require_whole(0, length=length)
    return 2 * length


def matmul_flops(*, m: int, k: int, n: int, batch: int = 1) -> int:
    """Count FLOPs of ``out[b, m, n] = a[b, m, k] @ w[b, k, n]``.

    Shapes:   a (b, m, k), w (b, k, n) -> out (b, m, n)
    Unit:     FLOP
    Exact?    up to the last addition of each dot product
    Source:   torch.utils.flop_counter.mm_flop (torch 2.13)

    >>> matmul_flops(m=2, k=3, n=4)
    48

    Raises:
        FormulaError: If a size is negative.
    """
    require_whole(0, batch=batch, m=m, k=k, n=n)
    return 2 * batch * m * k * n


def matmul_bytes(*, m: int, k: int, n: int, batch: int = 1, bytes_per_element: int) -> int:
    """Count bytes of a matrix product whose operands and result have the same type.

    Shapes:   as `matmul_flops`
    Unit:     bytes
    Exact?    the least possible: tiles that are read again come from cache
    Source:   NVIDIA, "Matrix multiplication background user's guide"

    >>> matmul_bytes(m=8192, k=128, n=8192, bytes_per_element=2)
    138412032

    Raises:
        FormulaError: If a size is negative.
    """
    require_whole(0, batch=batch, m=m, k=k, n=n, bytes_per_element=bytes_per_element)
    return batch * (m * k + k * n + m * n) * bytes_per_element


def linear_flops(*, rows: int, in_features: int, out_features: int) -> int:
    """Count FLOPs of a linear layer, forward; the bias is an addition, not a dot product.

    Shapes:   x (rows, in_features), weight (out_features, in_features) -> (rows, out_features)
    Unit:     FLOP
    Exact?    as `matmul_flops`; with bias the last addition makes it exact
    Source:   torch.utils.flop_counter.addmm_flop (torch 2.13)

    >>> linear_flops(rows=8, in_features=3, out_features=4)
    192

    Raises:
        FormulaError: If a size is negative.
    """
    require_whole(0, rows=rows, in_features=in_features, out_features=out_features)
    return 2 * rows * in_features * out_features


def linear_backward_flops(*, rows: int, in_features: int, out_features: int, needs_input_gradient: bool = True) -> int:
    """Count FLOPs of the backward pass of a linear layer: one product for the weight, one for the input.

    Shapes:   as `linear_flops`
    Unit:     FLOP
    Exact?    as `linear_flops`; the first layer of a network needs no gradient of its input
    Source:   chain rule

    >>> linear_backward_flops(rows=8, in_features=3, out_features=4)
    384

    Raises:
        FormulaError: If a size is negative.
    """
    forward = linear_flops(rows=rows, in_features=in_features, out_features=out_features)
    return forward * (2 if needs_input_gradient else 1)


def conv_flops(
    *,
    batch: int,
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, ...],
    positions: tuple[int, ...],
    groups: int = 1,
) -> int:
    """Count FLOPs of a convolution of any number of dimensions, forward.

    ``positions`` are where the kernel is laid: those of the output; of a transposed convolution, those of the input.

    Shapes:   x (batch, in_channels, *spatial), weight (out_channels, in_channels / groups, *kernel)
              -> (batch, out_channels, *positions)
    Unit:     FLOP
    Exact?    counts the products with padding too, as all published figures do
    Source:   Dumoulin and Visin 2016; torch.utils.flop_counter.conv_flop_count (torch 2.13)

    >>> conv_flops(batch=1, in_channels=3, out_channels=64, kernel=(7, 7), positions=(112, 112))
    236027904
    >>> conv_flops(batch=1, in_channels=32, out_channels=32, kernel=(3, 3), positions=(8, 8), groups=32)
    36864

    Raises:
        FormulaError: If a size is negative, the kernel has not as many dimensions as there are positions, or the groups
            do not divide the channels.
    """
    require_whole(0, batch=batch)
    require_whole(1, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if len(kernel) != len(positions):
        raise FormulaError("kernel", kernel, f"of as many dimensions as positions = {positions}")
    for size in kernel:
        require_whole(1, kernel=size)
    for size in positions:
        require_whole(0, positions=size)
    require_divisible("groups", groups, in_channels=in_channels, out_channels=out_channels)
    return 2 * batch * prod(positions) * out_channels * (in_channels // groups) * prod(kernel)


def conv_backward_flops(
    *,
    batch: int,
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, ...],
    positions: tuple[int, ...],
    groups: int = 1,
    needs_input_gradient: bool = True,
) -> int:
    """Count FLOPs of the backward pass of a convolution: the forward count for the weight, and again for the input.

    Shapes:   as `conv_flops`
    Unit:     FLOP
    Exact?    as `conv_flops`
    Source:   chain rule; torch 2.13 forgets the groups in the gradient of the weight

    >>> conv_backward_flops(batch=1, in_channels=3, out_channels=64, kernel=(7, 7), positions=(112, 112))
    472055808

    Raises:
        FormulaError: As `conv_flops`.
    """
    forward = conv_flops(
        batch=batch, in_channels=in_channels, out_channels=out_channels,
        kernel=kernel, positions=positions, groups=groups,
    )  # fmt: skip
    return forward * (2 if needs_input_gradient else 1)


def embedding_bytes(*, tokens: int, dim: int, bytes_per_element: int, index_bytes: int = 8) -> int:
    """Count bytes of an embedding look-up: the rows that are read, their copies, and the indices. It has no FLOPs.

    Shapes:   indices (tokens,), weight (vocabulary, dim) -> (tokens, dim)
    Unit:     bytes
    Exact?    yes; rows that are read twice may come from cache
    Source:   every operand once, every result once

    >>> embedding_bytes(tokens=10, dim=4, bytes_per_element=2)
    240

    Raises:
        FormulaError: If a size is negative.
    """
    require_whole(0, tokens=tokens, dim=dim, bytes_per_element=bytes_per_element, index_bytes=index_bytes)
    return 2 * tokens * dim * bytes_per_element + tokens * index_bytes


def pass_flops(*, kind: str, elements: int, direction: Literal["forward", "backward"] = "forward") -> int:
    """Count FLOPs of a normalisation, softmax or dropout.

    Shapes:   any, ``elements`` in all
    Unit:     FLOP
    Exact?    a convention: the operations of the textbook formulas, without what is done once a row
    Source:   `PASSES_PER_ELEMENT`; docs/counting.md

    >>> pass_flops(kind="layer_norm", elements=100), pass_flops(kind="softmax", elements=100, direction="backward")
    (700, 400)

    Raises:
        FormulaError: For an unknown kind or direction, or a negative count.
    """
    require_one_of(tuple(PASSES_PER_ELEMENT), kind=kind)
    require_one_of(("forward", "backward"), direction=direction)
    require_whole(0, elements=elements)
    return elements * PASSES_PER_ELEMENT[kind][direction == "backward"]


def recurrent_flops(
    *,
    kind: Literal["rnn", "gru", "lstm"],
    batch: int,
    steps: int,
    input_size: int,
    hidden_size: int,
    layers: int = 1,
    directions: int = 1,
) -> int:
    """Count FLOPs of recurrent layers, forward; the backward pass is twice as much.

    Every weight matrix meets every step of every sample: 1 gate (rnn), 3 (gru) or 4 (lstm), each with a matrix for the
    input and one for the state. Layers after the first read the states of all directions.

    Shapes:   x (steps, batch, input_size) -> (steps, batch, directions * hidden_size)
    Unit:     FLOP
    Exact?    dot products only; the gates' elementwise arithmetic is not in it
    Source:   Hochreiter and Schmidhuber 1997; Cho et al. 2014; shapes of torch.nn.LSTM's parameters

    >>> recurrent_flops(kind="lstm", batch=1, steps=1, input_size=10, hidden_size=20)
    4800

    Raises:
        FormulaError: For an unknown kind, negative sizes, or other than 1 or 2 directions.
    """
    require_one_of(tuple(_GATES), kind=kind)
    require_whole(0, batch=batch, steps=steps)
    require_whole(1, input_size=input_size, hidden_size=hidden_size, layers=layers, directions=directions)
    if directions > 2:
        raise FormulaError("directions", directions, "1 or 2")
    gates = _GATES[kind] * hidden_size
    first = gates * (input_size + hidden_size)
    later = gates * (directions * hidden_size + hidden_size)
    return 2 * batch * steps * directions * (first + (layers - 1) * later)


def optimizer_step_bytes(*, parameters: int, read_bytes: float, written_bytes: float) -> float:
    """Count bytes of an optimizer step that reads and writes so many bytes a parameter, in one fused pass.

    AdamW in float32 reads weight, gradient and two moments (16) and writes all but the gradient (12).

    Unit:     bytes
    Exact?    yes for fused optimizers; foreach ones make further passes
    Source:   Loshchilov and Hutter 2019, algorithm 2

    >>> optimizer_step_bytes(parameters=10**9, read_bytes=16, written_bytes=12)
    28000000000

    Raises:
        FormulaError: If an argument is negative or no bytes are moved.
    """
    require_whole(0, parameters=parameters)
    require_positive(read_bytes=read_bytes, written_bytes=written_bytes)
    return parameters * (read_bytes + written_bytes)
