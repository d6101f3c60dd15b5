"""Convolution, pooling and transposed convolution along one axis: sizes, windows, padding.

A kernel of k taps, d apart, reaches over ``d * (k - 1) + 1`` positions; it starts p positions before the input and
moves by s. All axes follow the same rule independently; ``conv_shapes`` joins them. Main source: Dumoulin and Visin, "A
guide to convolution arithmetic for deep learning", 2016 (https://arxiv.org/abs/1603.07285), cited by relation.
"""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import Shape, whole


class Pad(NamedTuple):
    """Zeros before and after one axis."""

    before: int
    after: int


def same_padding(*, kernel: int, dilation: int = 1) -> Pad:
    """Return the padding of ``padding="same"``: as many outputs as inputs, for stride 1.

    Unit:     positions
    Exact?    yes; where the zeros do not halve, the odd one goes behind
    Source:   torch.nn.modules.conv, _ConvNd.__init__ (torch 2.13): ``total = d * (k - 1)``, ``before = total // 2``

    >>> same_padding(kernel=3), same_padding(kernel=4), same_padding(kernel=3, dilation=2)
    (Pad(before=1, after=1), Pad(before=1, after=2), Pad(before=2, after=2))
    """
    total = whole("dilation", dilation, minimum=1) * (whole("kernel", kernel, minimum=1) - 1)
    return Pad(total // 2, total - total // 2)


def axis_padding(*, padding: int | str, kernel: int, dilation: int = 1) -> Pad:
    """Return the zeros before and after one axis for a number, "same" or "valid".

    Unit:     positions
    Exact?    yes
    Source:   torch.nn.Conv2d (torch 2.13): "valid" is no padding

    >>> axis_padding(padding=3, kernel=7), axis_padding(padding="valid", kernel=7)
    (Pad(before=3, after=3), Pad(before=0, after=0))

    Raises:
        UsageError: If it is another word.
    """
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise UsageError(f"padding must be a number, 'same' or 'valid', got {padding!r}.")
        return same_padding(kernel=kernel, dilation=dilation) if padding == "same" else Pad(0, 0)
    amount = whole("padding", padding)
    return Pad(amount, amount)


def reach(*, kernel: int, dilation: int = 1) -> int:
    """Return over how many positions a dilated kernel extends.

    Unit:     positions
    Exact?    yes
    Source:   Dumoulin and Visin, section 5.1: ``k + (k - 1)(d - 1)``

    >>> reach(kernel=3), reach(kernel=3, dilation=2)
    (3, 5)
    """
    return whole("dilation", dilation, minimum=1) * (whole("kernel", kernel, minimum=1) - 1) + 1


def conv_size(*, size: int, kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1) -> int:
    """Return the output size of a convolution along one axis.

    Unit:     positions
    Exact?    yes
    Source:   Dumoulin and Visin, relation 15: ``floor((i + 2p - k - (k - 1)(d - 1)) / s) + 1``; torch.nn.Conv2d

    >>> conv_size(size=224, kernel=7, stride=2, padding=3)
    112
    >>> conv_size(size=2, kernel=5)
    Traceback (most recent call last):
    ...
    trainworthy.errors.ShapeError: A kernel reaching over 5 does not fit into 2 positions (size 2, padding 0 and 0).
      fix:   Pad more, or use a smaller kernel or dilation, or a larger input.

    Raises:
        ShapeError: If the kernel is larger than the padded input, or "same" is asked of a stride.
        UsageError: If a number is no size.
    """
    size, stride = whole("size", size), whole("stride", stride, minimum=1)
    if padding == "same" and stride != 1:
        raise ShapeError(f"padding='same' needs stride 1, got stride {stride}.", fix="Give the padding as a number.")
    pad = axis_padding(padding=padding, kernel=kernel, dilation=dilation)
    return _num_windows(size=size, kernel=kernel, stride=stride, pad=pad, dilation=dilation)


def unread_positions(*, size: int, kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1) -> int:
    """Return how many positions at the end no window reads, because the stride does not divide.

    Unit:     positions of the padded input
    Exact?    yes; up to ``padding`` of them are zeros. With a remainder r, r + 1 input sizes give one output size
    Source:   Dumoulin and Visin, section 4.6: ``(i + 2p - k) mod s``

    >>> unread_positions(size=6, kernel=3, stride=2), unread_positions(size=224, kernel=7, stride=2, padding=3)
    (1, 1)
    """
    out = conv_size(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    pad = axis_padding(padding=padding, kernel=kernel, dilation=dilation)
    return pad.before + size + pad.after - ((out - 1) * stride + reach(kernel=kernel, dilation=dilation))


def window(*, output: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Shape:
    """Return the input positions that one output reads; those below 0 or beyond the input are padding.

    Unit:     positions
    Exact?    yes
    Source:   Dumoulin and Visin, section 2: tap j of output o reads ``o * s - p + d * j``

    >>> window(output=0, kernel=3, stride=2, padding=1), window(output=2, kernel=3, dilation=2)
    ((-1, 0, 1), (2, 4, 6))
    """
    return tuple(output * stride - padding + dilation * tap for tap in range(kernel))


def pool_size(
    *, size: int, kernel: int, stride: int | None = None, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Return the output size of max or average pooling along one axis.

    With ``ceil_mode`` a last window may hang over the end, but must start inside the input or the padding before it.

    Unit:     positions
    Exact?    yes
    Source:   ATen/native/Pool.h, pooling_output_shape and pool2d_shape_check (torch 2.13); the stride is the kernel
              if not given, the padding at most half of the kernel, dilated or not

    >>> pool_size(size=7, kernel=2), pool_size(size=7, kernel=2, ceil_mode=True)
    (3, 4)
    >>> pool_size(size=112, kernel=3, stride=2, padding=1)
    56

    Raises:
        ShapeError: If the window is larger than the padded input, or the padding more than half of it.
        UsageError: If a number is no size.
    """
    step = whole("stride", kernel if stride is None else stride, minimum=1)
    extent, padding, size = reach(kernel=kernel, dilation=dilation), whole("padding", padding), whole("size", size)
    if 2 * padding > kernel:
        raise ShapeError(
            f"Pooling takes at most half of the kernel as padding, got padding {padding} for kernel {kernel}.",
            fix=f"Pad {kernel // 2} at most, or pad the input itself.",
        )
    if not ceil_mode:
        return _num_windows(size=size, kernel=kernel, stride=step, pad=Pad(padding, padding), dilation=dilation)
    room = size + 2 * padding - extent
    out = -(-room // step) + 1 if size else 0
    if out > 0 and (out - 1) * step >= size + padding:
        out -= 1
    if out < 1:
        raise _no_window(size, Pad(padding, padding), extent)
    return out


def adaptive_windows(*, size: int, output: int) -> tuple[tuple[int, int], ...]:
    """Return the first and one-past-last input position of each output of adaptive pooling.

    Unit:     positions
    Exact?    yes
    Source:   ATen/native/AdaptivePooling.h, start_index and end_index (torch 2.13): from ``floor(i * n / m)`` to
              ``ceil((i + 1) * n / m)``

    >>> adaptive_windows(size=7, output=3)
    ((0, 3), (2, 5), (4, 7))
    """
    size, output = whole("size", size, minimum=1), whole("output", output, minimum=1)
    return tuple((at * size // output, -(-(at + 1) * size // output)) for at in range(output))


def transposed_size(
    *, size: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """Return the output size of a transposed convolution along one axis.

    Unit:     positions
    Exact?    yes
    Source:   Dumoulin and Visin, relation 14: ``s(i - 1) + a + k - 2p``; torch.nn.ConvTranspose2d, which adds dilation

    >>> transposed_size(size=7, kernel=4, stride=2, padding=1), transposed_size(size=3, kernel=3, stride=2)
    (14, 7)

    Raises:
        ShapeError: If nothing is left, or ``output_padding`` is not smaller than stride or dilation.
        UsageError: If a number is no size.
    """
    size, stride = whole("size", size, minimum=1), whole("stride", stride, minimum=1)
    padding, extra = whole("padding", padding), whole("output_padding", output_padding)
    extent = reach(kernel=kernel, dilation=dilation)
    if extra >= max(stride, dilation):
        raise ShapeError(
            f"output_padding {extra} must be smaller than the stride ({stride}) or the dilation ({dilation}).",
            fix="It chooses among the sizes that a convolution maps to one; beyond that, pad or upsample.",
        )
    out = (size - 1) * stride + extent - 2 * padding + extra
    if out < 1:
        raise ShapeError(
            f"A transposed convolution of size {size} gives {out} positions: padding {padding} cuts all of them off.",
            fix="It removes 2 * padding positions from the output; use less.",
        )
    return out


def output_padding_for(
    *, size: int, output: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return the ``output_padding`` with which a transposed convolution gives ``output``.

    Unit:     positions
    Exact?    yes
    Source:   torch.nn.modules.conv, _ConvTransposeNd._output_padding (torch 2.13): what ``output_size=`` does

    >>> output_padding_for(size=112, output=224, kernel=7, stride=2, padding=3)
    1

    Raises:
        ShapeError: If ``output`` is not among the sizes that can be reached.
    """
    smallest = transposed_size(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    extra = whole("output", output) - smallest
    if not 0 <= extra < max(stride, dilation):
        raise ShapeError(
            f"{output} cannot be reached from {size}: from {smallest} to {smallest + max(stride, dilation) - 1} can.",
            fix="Change kernel, stride or padding.",
        )
    return extra


class TransposedSteps(NamedTuple):
    """A transposed convolution as an ordinary one, along one axis.

    Attributes:
        zeros_between: Zeros put between neighbouring inputs, s - 1.
        spread: Size after that.
        pad: Zeros around, ``d(k - 1) - p`` on both sides, and ``output_padding`` more behind; negative ones cut off.
        padded: Size after that.
        output: Size after a convolution of stride 1 with the flipped kernel.
    """

    zeros_between: int
    spread: int
    pad: Pad
    padded: int
    output: int


def transposed_steps(
    *, size: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> TransposedSteps:
    """Take a transposed convolution apart: insert zeros, pad, convolve with the flipped kernel.

    Unit:     positions
    Exact?    yes
    Source:   Dumoulin and Visin, section 4.5 and relation 14

    >>> transposed_steps(size=3, kernel=3, stride=2)
    TransposedSteps(zeros_between=1, spread=5, pad=Pad(before=2, after=2), padded=9, output=7)

    Raises:
        ShapeError: As `transposed_size`.
    """
    output = transposed_size(
        size=size, kernel=kernel, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    around = dilation * (kernel - 1) - padding
    spread = (size - 1) * stride + 1
    pad = Pad(around, around + output_padding)
    return TransposedSteps(stride - 1, spread, pad, spread + pad.before + pad.after, output)


def _num_windows(*, size: int, kernel: int, stride: int, pad: Pad, dilation: int) -> int:
    extent = reach(kernel=kernel, dilation=dilation)
    room = size + pad.before + pad.after - extent
    if room < 0:
        raise _no_window(size, pad, extent)
    return room // stride + 1


def _no_window(size: int, pad: Pad, extent: int) -> ShapeError:
    return ShapeError(
        f"A kernel reaching over {extent} does not fit into {size + pad.before + pad.after} positions "
        f"(size {size}, padding {pad.before} and {pad.after}).",
        fix="Pad more, or use a smaller kernel or dilation, or a larger input.",
    )
