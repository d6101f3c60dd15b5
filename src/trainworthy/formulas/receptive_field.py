"""Receptive fields: which input positions one output sees, through a chain of convolutions and pooling.

For one spatial axis of a layer with kernel k, stride s, padding p and dilation d, counted in positions of the input:

    jump   j_out = j_in * s                    distance between neighbouring outputs
    low    a_out = a_in - p * j_in             first position that the first output sees (negative: padding)
    high   b_out = b_in + (d * (k - 1) - p) * j_in
    field  r = b - a + 1, centre of the first output = (a + b) / 2

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019
(https://distill.pub/2019/computing-receptive-fields/), equations 1 to 4, with a and b for their u and v. Where branches
meet, the field is the hull of both. Two layers of stride 1 add: 3x3 after 3x3 sees 5x5, three of them 7x7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import LARGEST_SIZE, whole
from trainworthy.formulas.conv import conv_size

_LAYER = re.compile(r"(?:(?P<name>[a-z][a-z0-9_]*):)?(?P<numbers>(?:[kspd]\d{1,9})+)(?:[x*](?P<times>\d{1,4}))?")
_NUMBER = re.compile(r"([kspd])(\d+)")
MAX_LAYERS = 10_000


class Field(NamedTuple):
    """What one output position sees along one axis; ``low`` and ``high`` are those of the first output."""

    jump: int = 1
    low: int = 0
    high: int = 0

    @property
    def size(self) -> int:
        """Width of the receptive field in positions of the input."""
        return self.high - self.low + 1

    @property
    def start(self) -> float:
        """Centre of the first output's field; 0 is the centre of the first position."""
        return (self.low + self.high) / 2

    def seen_by(self, output: int) -> tuple[int, int]:
        """Return the first and last input position that output number ``output`` sees."""
        return self.low + output * self.jump, self.high + output * self.jump


class Layer(NamedTuple):
    """Convolution or pooling along one axis; ``stride`` 1 and no padding unless given."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    name: str = ""


def grow(*, field: Field, kernel: int, stride: int, padding: int, dilation: int = 1) -> Field:
    """Pass one layer.

    Unit:     positions of the input
    Exact?    yes
    Source:   Araujo et al. 2019, equations 1 to 4

    >>> grow(field=Field(), kernel=7, stride=2, padding=3)
    Field(jump=2, low=-3, high=3)
    """
    extent = dilation * (kernel - 1)
    return Field(
        jump=field.jump * stride,
        low=field.low - padding * field.jump,
        high=field.high + (extent - padding) * field.jump,
    )


def hull(*, fields: Sequence[Field]) -> Field | None:
    """Join branches; None if they have different jumps, for then no output lies on both grids.

    Unit:     positions of the input
    Exact?    yes
    Source:   Araujo et al. 2019, "Arbitrary computation graphs"

    >>> hull(fields=[Field(2, -3, 3), Field(2, 0, 5)])
    Field(jump=2, low=-3, high=5)
    """
    if len({field.jump for field in fields}) != 1:
        return None
    return Field(fields[0].jump, min(field.low for field in fields), max(field.high for field in fields))


def chain_fields(*, layers: Sequence[Layer]) -> tuple[Field, ...]:
    """Return the field after each layer.

    Unit:     positions of the input
    Exact?    yes
    Source:   Araujo et al. 2019; agrees with which inputs have a gradient

    >>> [field.size for field in chain_fields(layers=[Layer(3), Layer(3), Layer(3)])]
    [3, 5, 7]

    Raises:
        ShapeError: If the field outgrows 64 bits.
        UsageError: If a number is no size.
    """
    field = Field()
    out: list[Field] = []
    for layer in layers:
        field = grow(
            field=field, kernel=whole("kernel", layer.kernel, minimum=1),
            stride=whole("stride", layer.stride, minimum=1), padding=whole("padding", layer.padding),
            dilation=whole("dilation", layer.dilation, minimum=1),
        )  # fmt: skip
        if max(field.jump, field.size, -field.low) > LARGEST_SIZE:
            raise ShapeError(
                f"After layer {len(out) + 1} the field or the jump is more than a 64-bit size can hold.",
                fix="Use fewer or smaller strides.",
            )
        out.append(field)
    return tuple(out)


def chain_sizes(*, size: int, layers: Sequence[Layer]) -> tuple[int, ...]:
    """Return the output size after each layer.

    Unit:     positions
    Exact?    yes
    Source:   Dumoulin and Visin, relation 15, layer by layer

    >>> chain_sizes(size=224, layers=[Layer(7, 2, 3), Layer(3, 2, 1)])
    (112, 56)

    Raises:
        ShapeError: If a kernel does not fit; the message names the layer.
    """
    out = []
    for at, layer in enumerate(layers, start=1):
        try:
            size = conv_size(
                size=size, kernel=layer.kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation
            )
        except ShapeError as error:
            raise ShapeError(error.message, where=f"layer {at} of {len(layers)}", fix=error.fix) from error
        out.append(size)
    return tuple(out)


def parse_chain(*, text: str) -> tuple[Layer, ...]:
    """Read layers such as "k7s2p3,k3s2p1,k3p1x4": kernel, stride, padding, dilation; x4 repeats a layer.

    A name may stand before a colon: "stem:k7s2p3".

    >>> [layer[:4] for layer in parse_chain(text="k3s1, k3s2p1x2")]
    [(3, 1, 0, 1), (3, 2, 1, 1), (3, 2, 1, 1)]

    Raises:
        UsageError: If a layer cannot be read, or there is none.
    """
    out: list[Layer] = []
    for at, word in enumerate(text.split(","), start=1):
        match = _LAYER.fullmatch(word.strip().lower())
        pairs = _NUMBER.findall(match["numbers"]) if match else []
        numbers = {letter: int(digits) for letter, digits in pairs}
        if match is None or "k" not in numbers or len(numbers) != len(pairs):
            raise UsageError(
                f"Layer {at}, {word.strip()!r}, cannot be read.",
                fix="Write k3s2p1d1: kernel, then stride, padding, dilation where they are not 1, 0 and 1; k3p1x4 "
                "repeats a layer 4 times; commas between layers.",
            )
        layer = Layer(
            whole("kernel", numbers["k"], minimum=1), whole("stride", numbers.get("s", 1), minimum=1),
            numbers.get("p", 0), whole("dilation", numbers.get("d", 1), minimum=1), match["name"] or "",
        )  # fmt: skip
        out += [layer] * whole("repeats", int(match["times"] or 1), minimum=1)
    if len(out) > MAX_LAYERS:
        raise UsageError(f"{len(out)} layers are more than {MAX_LAYERS:,}.")
    return tuple(out)
