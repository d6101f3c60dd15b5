"""Values from the command line: shapes, sizes, counts. What is wrong with one is said in one line."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable

from trainworthy.errors import TrainworthyError
from trainworthy.formulas.checks import LARGEST_SIZE, Shape
from trainworthy.formulas.index import elements, nested_shape

_SHAPE = re.compile(r"\(([^\[\]()]*)\)|\[([^\[\]()]*)\]|([^\[\]()]*)")
_COUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)?([kmbtg]?)", re.IGNORECASE)
_SCALE = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
MAX_DIMS = 64  # as in PyTorch and in NumPy
MAX_NESTED_TEXT = 2000


def accept_negatives(parser: argparse.ArgumentParser) -> None:
    """Let words such as -1,6 and -1e-3 be values; argparse knows plain negative numbers only.

    >>> parser = argparse.ArgumentParser()
    >>> accept_negatives(parser)
    >>> _ = parser.add_argument("to", type=integers)
    >>> parser.parse_args(["-1,6"]).to
    (-1, 6)
    """
    parser._negative_number_matcher = re.compile(r"-[\d.][\d.,ex+-]*")


def shape(text: str) -> Shape:
    """Read "(8,1,6,1)", "8,1,6,1", "8x1x6x1", "[8, 1]" or "()", the shape of a scalar.

    >>> shape("(8, 1, 6, 1)"), shape("64,"), shape("3x4"), shape("()")
    ((8, 1, 6, 1), (64,), (3, 4), ())

    Raises:
        argparse.ArgumentTypeError: If it is no shape.
    """
    return _sizes(text, minimum=0)


def shape_with_unknown(text: str) -> Shape:
    """Read a shape in which sizes may be -1.

    >>> shape_with_unknown("(-1, 4)")
    (-1, 4)
    """
    return _sizes(text, minimum=-1)


def integers(text: str) -> Shape:
    """Read a list of whole numbers, negative ones too, such as the order of dimensions.

    >>> integers("0,-1,1")
    (0, -1, 1)
    """
    return _sizes(text, minimum=-LARGEST_SIZE)


def per_axis(*, minimum: int) -> Callable[[str], int | Shape]:
    """Make a reader of one number for all axes, or one for each: "3" or "3,5".

    >>> per_axis(minimum=1)("3"), per_axis(minimum=1)("(3, 5)")
    (3, (3, 5))
    """

    def read(text: str) -> int | Shape:
        sizes = _sizes(text, minimum=minimum)
        if not sizes:
            raise argparse.ArgumentTypeError(f"{text!r} has no number; write 3, or 3,5 for each axis")
        return sizes if len(sizes) > 1 else sizes[0]

    return read


def at_least(minimum: int) -> Callable[[str], int]:
    """Make a reader of whole numbers of at least ``minimum``.

    >>> at_least(1)("7")
    7
    """

    def read(text: str) -> int:
        return _whole(text, minimum=minimum)

    return read


def count(text: str) -> int:
    """Read a number of things: 7e9, 7b, 124M, 8192.

    >>> count("7e9"), count("124.4M"), count("8192")
    (7000000000, 124400000, 8192)

    Raises:
        argparse.ArgumentTypeError: If it is no positive whole number of at most 2**63 - 1.
    """
    match = _COUNT.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count; write 7e9, 7b, 124M or 8192")
    # Decimal digits, not floats: 124.4M is 124,400,000 to the last one.
    whole_part, _, fraction = match[1].partition(".")
    power = int((match[2] or "e0")[1:]) + _SCALE[match[3].lower()] - len(fraction)
    if power > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is more than a 64-bit size can hold (2**63 - 1)")
    digits = int((whole_part or "0") + fraction)
    number, rest = (digits * 10**power, 0) if power >= 0 else divmod(digits, 10 ** min(-power, 400))
    if rest or not 1 <= number <= LARGEST_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 2**63 - 1")
    return int(number)


def number(text: str) -> float:
    """Read a finite number.

    >>> number("0.1"), number("-3")
    (0.1, -3.0)

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def nested(text: str) -> object:
    """Read nested lists of whole numbers, such as "[[0,1],[2,0]]"; one number is one.

    >>> nested("[[0, 1], [2, 0]]")
    [[0, 1], [2, 0]]

    Raises:
        argparse.ArgumentTypeError: If it is something else, rows differ in length, or there is too much of it.
    """
    if len(text) > MAX_NESTED_TEXT:
        raise argparse.ArgumentTypeError(f"{len(text):,} characters; an example that can be read has fewer")
    try:
        values = json.loads(text)
        nested_shape(values=values)
        wrong = [value for value in elements(values=values) if type(value) is not int or abs(value) > LARGEST_SIZE]
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list; write [[0,1],[2,0]]") from error
    except TrainworthyError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} in {text!r} is not a whole number of 64 bits")
    return values


def _sizes(text: str, *, minimum: int) -> Shape:
    match = _SHAPE.fullmatch(text.strip())
    if match is None or not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; write (8,1,6,1), or () for a scalar")
    words = re.split(r"[,x×]", match[match.lastindex or 0].strip())  # noqa: RUF001  people paste the multiplication sign
    if words and not words[-1].strip():
        words.pop()  # the comma of a one-element tuple
    if len(words) > MAX_DIMS:
        raise argparse.ArgumentTypeError(f"{len(words)} dimensions; PyTorch and NumPy have at most {MAX_DIMS}")
    return tuple(_whole(word, minimum=minimum) for word in words)


def _whole(text: str, *, minimum: int) -> int:
    if not re.fullmatch(r"\s*[+-]?\d{1,400}\s*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text.strip()[:60]!r} is not a whole number")
    number = int(text)
    if number < minimum:
        raise argparse.ArgumentTypeError(f"{number} is too small, at least {minimum} is needed")
    if number > LARGEST_SIZE:
        raise argparse.ArgumentTypeError(f"{text.strip()[:60]} is more than a 64-bit size can hold (2**63 - 1)")
    return number
