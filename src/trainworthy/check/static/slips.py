"""Whether one word is another with a slip of the fingers in it."""

from __future__ import annotations

import re
from collections import Counter


def is_slip(key: str, name: str) -> bool:
    """Say whether one word is another with letters of one place swapped, doubled, left out or mistaken.

    >>> is_slip("drouput", "dropout"), is_slip("layers", "layer"), is_slip("num_heads1", "num_heads2")
    (True, False, False)
    """
    if key == name or not key or not name or abs(len(key) - len(name)) > 1:
        return False
    if key[0] != name[0] or key[-1] != name[-1] or len(key) < 6:
        return False
    if re.sub(r"[\W_]", "", key.lower()) == re.sub(r"[\W_]", "", name.lower()):
        return False
    start = next(at for at, (a, b) in enumerate(zip(key, name, strict=False)) if a != b)
    end = next(at for at, (a, b) in enumerate(zip(key[::-1], name[::-1], strict=False)) if a != b)
    end = min(end, min(len(key), len(name)) - start)
    ours, theirs = key[start : len(key) - end], name[start : len(name) - end]
    around = key[start - 1 : start] + key[len(key) - end : len(key) - end + 1]
    if len(around) < 2 or not around.isalpha():  # the beginning or end of a word makes it another one
        return False
    if any(not one.isalpha() for one in ours + theirs) or {ours, theirs} in ({"s", "z"}, {"", "u"}):
        return False
    swapped = 2 <= len(ours) == len(theirs) <= 4 and sum((Counter(ours) - Counter(theirs)).values()) <= 1
    one_more = len(key) != len(name) and min(len(ours), len(theirs)) == 0
    return swapped or one_more or (len(ours) == len(theirs) == 1 and _is_inside_of_a_word(key, start))


def _is_inside_of_a_word(key: str, at: int) -> bool:
    """Say whether a letter stands within one of the longer words that a name is made of."""
    before, after = re.split(r"[\W_\d]", key[:at])[-1], re.split(r"[\W_\d]", key[at + 1 :])[0]
    return bool(before and after) and len(before) + 1 + len(after) >= 6
