"""Convolution on plain lists, one axis: what the pictures show is computed, not painted.

"Convolution" is cross-correlation, as in every deep learning library: the kernel is not flipped. In a transposed
convolution, taken as an ordinary one, it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trainworthy.formulas.conv import Pad, axis_padding, conv_size, transposed_steps

Values = tuple[float, ...]


def spread_values(*, values: Sequence[float], zeros_between: int) -> Values:
    """Put zeros between neighbouring values.

    Shapes:   (n,) -> ((n - 1) * (zeros_between + 1) + 1,)
    Exact?    yes
    Source:   Dumoulin and Visin, section 4.5

    >>> spread_values(values=[1, 2, 3], zeros_between=1)
    (1, 0, 2, 0, 3)
    """
    out: list[float] = []
    for value in values:
        out += [value, *[0] * zeros_between]
    return tuple(out[: len(out) - zeros_between] if values else out)


def padded_values(*, values: Sequence[float], pad: Pad) -> Values:
    """Put zeros around; a negative number cuts off.

    Shapes:   (n,) -> (n + before + after,)
    Exact?    yes
    Source:   torch.nn.functional.pad, mode constant

    >>> padded_values(values=[1, 2, 3], pad=Pad(1, 2)), padded_values(values=[1, 2, 3], pad=Pad(-1, 0))
    ((0, 1, 2, 3, 0, 0), (2, 3))
    """
    kept = list(values)[max(-pad.before, 0) : len(values) - max(-pad.after, 0)]
    return (*[0] * max(pad.before, 0), *kept, *[0] * max(pad.after, 0))


def convolved(
    *, values: Sequence[float], kernel: Sequence[float], stride: int = 1, padding: int | str = 0, dilation: int = 1
) -> Values:
    """Convolve along one axis.

    Shapes:   (n,), kernel (k,) -> (floor((n + 2p - d(k - 1) - 1) / s) + 1,)
    Exact?    up to the order of additions
    Source:   torch.nn.functional.conv1d (cross-correlation)

    >>> convolved(values=[1, 2, 3, 4], kernel=[1, 0, -1], padding=1)
    (-2, -2, -2, 3)
    """
    taps = len(kernel)
    num = conv_size(size=len(values), kernel=taps, stride=stride, padding=padding, dilation=dilation)
    around = padded_values(values=values, pad=axis_padding(padding=padding, kernel=taps, dilation=dilation))
    return tuple(sum(kernel[tap] * around[out * stride + dilation * tap] for tap in range(taps)) for out in range(num))


class TransposedValues(NamedTuple):
    """The three steps of a transposed convolution, and its result."""

    spread: Values
    padded: Values
    flipped_kernel: Values
    output: Values


def transposed_values(
    *, values: Sequence[float], kernel: Sequence[float], stride: int = 1, padding: int = 0, output_padding: int = 0,
    dilation: int = 1,
) -> TransposedValues:  # fmt: skip
    """Carry a transposed convolution out in three steps.

    Shapes:   (n,), kernel (k,) -> ((n - 1)s - 2p + d(k - 1) + output_padding + 1,)
    Exact?    up to the order of additions
    Source:   Dumoulin and Visin, section 4.5 and relation 14; torch.nn.functional.conv_transpose1d

    >>> transposed_values(values=[1, 2, 3], kernel=[1, 10, 100], stride=2, padding=1).output
    (10, 102, 20, 203, 30)
    """
    steps = transposed_steps(
        size=len(values), kernel=len(kernel), stride=stride, padding=padding, output_padding=output_padding,
        dilation=dilation,
    )  # fmt: skip
    spread = spread_values(values=values, zeros_between=steps.zeros_between)
    around = padded_values(values=spread, pad=steps.pad)
    flipped = tuple(reversed(kernel))
    return TransposedValues(spread, around, flipped, convolved(values=around, kernel=flipped, dilation=dilation))


def stamped_values(
    *, values: Sequence[float], kernel: Sequence[float], stride: int = 1, padding: int = 0, output_padding: int = 0,
    dilation: int = 1,
) -> Values:  # fmt: skip
    """Carry a transposed convolution out as PyTorch does: every input stamps the kernel onto the output.

    Shapes:   as `transposed_values`
    Exact?    up to the order of additions
    Source:   the gradient of a convolution by its input; torch.nn.ConvTranspose1d

    >>> stamped_values(values=[1, 2, 3], kernel=[1, 10, 100], stride=2, padding=1)
    (10, 102, 20, 203, 30)
    """
    steps = transposed_steps(
        size=len(values), kernel=len(kernel), stride=stride, padding=padding, output_padding=output_padding,
        dilation=dilation,
    )  # fmt: skip
    out = [0.0 if any(isinstance(v, float) for v in (*values, *kernel)) else 0] * steps.output
    for at, value in enumerate(values):
        for tap, weight in enumerate(kernel):
            to = at * stride + tap * dilation - padding
            if 0 <= to < steps.output:
                out[to] += value * weight
    return tuple(out)
