"""Initialisation: fans of a weight, gains of activations, and the width of Xavier and Kaiming distributions.

Sources: Glorot and Bengio 2010 (https://proceedings.mlr.press/v9/glorot10a.html), equations 12 and 16; He et al. 2015
(https://arxiv.org/abs/1502.01852), equations 10 and 14; torch.nn.init (torch 2.13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import shape_text, whole_shape

Scheme = Literal["xavier", "kaiming", "lecun"]
Distribution = Literal["uniform", "normal"]
Mode = Literal["fan_in", "fan_out"]


class Fans(NamedTuple):
    """Inputs that reach one output, and outputs that one input reaches."""

    fan_in: int
    fan_out: int


class Spread(NamedTuple):
    """How wide the weights are drawn.

    Attributes:
        std: Standard deviation.
        bound: Half width of the uniform distribution, ``std * sqrt(3)``; None for a normal one.
    """

    std: float
    bound: float | None


def fans(*, shape: Sequence[int]) -> Fans:
    """Return fan-in and fan-out of a weight as layers keep it: (out, in, *kernel).

    Shapes:   (out, in) of Linear, (out, in / groups, *kernel) of a convolution. A transposed convolution has (in, out /
              groups, *kernel), and PyTorch swaps the two names for it
    Unit:     connections
    Exact?    yes
    Source:   torch.nn.init, _calculate_fan_in_and_fan_out (torch 2.13)

    >>> fans(shape=(64, 3, 7, 7)), fans(shape=(10, 512))
    (Fans(fan_in=147, fan_out=3136), Fans(fan_in=512, fan_out=10))

    Raises:
        ShapeError: If there are fewer than two dimensions, as in a bias.
    """
    sizes = whole_shape("the weight", shape)
    if len(sizes) < 2:
        raise ShapeError(
            f"A weight of shape {shape_text(sizes)} has no fan-in; two dimensions are needed.",
            fix="Biases and scales are set to a constant.",
        )
    field = prod(sizes[2:])
    return Fans(sizes[1] * field, sizes[0] * field)


def gain(*, activation: str, slope: float | None = None) -> float:
    """Return what the standard deviation is multiplied by for an activation.

    Unit:     1
    Exact?    yes for linear, relu and leaky_relu if weights are symmetric around 0; 5 / 3 for tanh and 3 / 4 for selu
              are conventions
    Source:   torch.nn.init.calculate_gain (torch 2.13); He et al. 2015, equation 15 for the slope

    >>> gain(activation="relu") == 2**0.5, gain(activation="tanh"), round(gain(activation="leaky_relu"), 6)
    (True, 1.6666666666666667, 1.414143)

    Raises:
        UsageError: If there is no gain for that activation.
    """
    name = activation.casefold().replace("-", "_")
    if name == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if slope is None else slope) ** 2))
    known = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    if name not in known:
        raise UsageError(
            f"There is no gain for activation {activation!r}.",
            fix=f"Known: {', '.join([*known, 'leaky_relu'])}. For GELU and SiLU, relu is the usual choice.",
        )
    return known[name]


def spread(
    *, shape: Sequence[int], scheme: Scheme, distribution: Distribution = "uniform", mode: Mode = "fan_in",
    gain: float = 1.0,
) -> Spread:  # fmt: skip
    """Return standard deviation and bound of an initialisation.

    Unit:     1
    Exact?    yes
    Source:   Glorot and Bengio 2010, equation 16: ``std = gain * sqrt(2 / (fan_in + fan_out))``; He et al. 2015,
              equation 10: ``std = gain / sqrt(fan)`` with the gain of the activation; LeCun et al. 1998 is gain 1

    >>> spread(shape=(512, 512), scheme="xavier")
    Spread(std=0.044194173824159216, bound=0.07654655446197431)
    >>> spread(shape=(64, 3, 7, 7), scheme="kaiming", distribution="normal", mode="fan_out", gain=2**0.5).bound

    Raises:
        ShapeError: If the weight has no fan-in, or a fan of 0.
        UsageError: If there is no such scheme.
    """
    fan_in, fan_out = fans(shape=shape)
    if scheme == "xavier":
        fan = (fan_in + fan_out) / 2
    elif scheme == "kaiming":
        fan = fan_in if mode == "fan_in" else fan_out
    elif scheme == "lecun":
        fan, gain = fan_in, 1.0
    else:
        raise UsageError(f"There is no scheme {scheme!r}.", fix="Known: xavier, kaiming, lecun.")
    if fan == 0:
        raise ShapeError(f"A weight of shape {shape_text(shape)} has no connections.")
    std = gain / math.sqrt(fan)
    return Spread(std, math.sqrt(3) * std if distribution == "uniform" else None)
