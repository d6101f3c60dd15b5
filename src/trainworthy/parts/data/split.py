"""Splits that depend on each sample alone: by a hash of its key, not by its place."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

from trainworthy.errors import UsageError


def split_of(key: str | bytes, *, shares: Mapping[str, float], salt: str = "") -> str:
    """Return which split a sample belongs to.

    The same key is always in the same split: data that is added, removed or reordered moves nothing else, and copies of
    a sample stay together if their key is what makes them equal (the text, the sequence, the patient; not the row).

    Args:
        key: What identifies the sample.
        shares: Share of each split; they sum to 1.
        salt: Another salt is another split.

    >>> split_of("MKV", shares={"train": 0.8, "validation": 0.2})
    'train'

    Raises:
        UsageError: If a share is negative or they do not sum to 1.
    """
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9) or any(share < 0 for share in shares.values()):
        raise UsageError(f"The shares are {dict(shares)}; each must be at least 0, and all of them sum to 1.")
    data = key.encode() if isinstance(key, str) else key
    digest = hashlib.sha256(salt.encode() + b"\0" + data).digest()
    place, reached, last = int.from_bytes(digest[:8], "big") / 2**64, 0.0, ""
    for name, share in shares.items():
        reached += share
        if share > 0:
            last = name
            if place < reached:
                return name
    return last  # a sum of 1 - 1e-16


def split_indices(keys: Iterable[str | bytes], *, shares: Mapping[str, float], salt: str = "") -> dict[str, list[int]]:
    """Return for each split the places of its samples, in order.

    >>> split_indices(["MKV", "GAV", "LLP", "MKV"], shares={"train": 0.5, "test": 0.5})
    {'train': [0, 1, 3], 'test': [2]}

    Raises:
        UsageError: As :func:`split_of`.
    """
    found: dict[str, list[int]] = {name: [] for name in shares}
    for index, key in enumerate(keys):
        found[split_of(key, shares=shares, salt=salt)].append(index)
    return found
