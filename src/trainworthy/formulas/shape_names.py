"""Names for dimensions, as jaxtyping writes them: ``"batch time 64"``, and whether a shape fits them.

Source of the notation: https://docs.kidger.site/jaxtyping/api/array/ (``*`` several, ``#`` may be 1, ``_`` any).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z]\w*")
_PRODUCT = re.compile(r"[\w*+\- ]+")


class Misfit(NamedTuple):
    """Why a shape does not fit: what was written, the size that it means, and the size found.

    ``dimension`` counts from 0; None if the number of dimensions is wrong.
    """

    text: str
    expected: int
    found: int
    dimension: int | None


def misfit(names: str, shape: Sequence[int], bound: dict[str, int]) -> Misfit | None:
    """Return why ``shape`` does not fit ``names``, or None; sizes of new names are added to ``bound``.

    What cannot be told (text in braces, names in a sum that are not bound, a second ``*name``) fits anything.

    Args:
        names: Such as ``"batch time 64"``, ``"*lead d"``, ``"b #t _ ..."``.
        shape: Sizes.
        bound: The names that have a size already, in this call.

    >>> sizes = {}
    >>> misfit("batch time 64", (8, 16, 64), sizes), sizes
    (None, {'batch': 8, 'time': 16})
    >>> misfit("batch 10", (7, 10), sizes)
    Misfit(text='batch', expected=8, found=7, dimension=0)
    """
    tokens = [token.rpartition("=")[2] for token in names.split()]  # "name=4" is 4, with a name for the reader
    several = [i for i, token in enumerate(tokens) if _is_several(token)]
    if len(several) > 1:
        return None
    if not several:
        if len(tokens) != len(shape):
            return Misfit(names, len(tokens), len(shape), None)
        pairs = list(enumerate(tokens))
    else:
        at, spare = several[0], len(shape) - (len(tokens) - 1)
        if spare < 0:
            return Misfit(names, len(tokens) - 1, len(shape), None)
        after = [(at + spare + i, token) for i, token in enumerate(tokens[at + 1 :])]
        pairs = [*enumerate(tokens[:at]), *after]
    for dimension, token in pairs:
        wrong = _one(token, shape[dimension], bound)
        if wrong is not None:
            return Misfit(token, wrong, shape[dimension], dimension)
    return None


def _is_several(token: str) -> bool:
    return token == "..." or token.startswith(("*", "#*", "_*"))


def _one(token: str, size: int, bound: dict[str, int]) -> int | None:
    """Return the size that a token stands for, if it is another one than ``size``."""
    broadcasts = token.startswith("#")
    token = token.lstrip("#?")
    if not token or token.startswith("_") or "{" in token or (broadcasts and size == 1):
        return None
    if token.isdecimal():
        return int(token) if int(token) != size else None
    if _NAME.fullmatch(token):
        if broadcasts and bound.get(token) == 1:
            bound[token] = size
        known = bound.setdefault(token, size)
        return known if known != size else None
    wanted = _computed(token, bound)
    return wanted if wanted is not None and wanted != size else None


def _computed(token: str, bound: dict[str, int]) -> int | None:
    """Work out sums, differences and products such as ``2*d+1`` of bound names; None if something is unknown."""
    if not _PRODUCT.fullmatch(token):
        return None
    total = 0
    for sign, term in re.findall(r"([+-]?)([^+-]+)", token):
        product = 1
        for factor in term.split("*"):
            size = int(factor) if factor.isdecimal() else bound.get(factor)
            if size is None:
                return None
            product *= size
        total += -product if sign == "-" else product
    return total
