"""What kinds of memory there are, and which of them stay when the batch grows.

*Static* memory is there as soon as the model is; *state* appears with training and has the size of the parameters;
*dynamic* memory comes and goes in every step and grows with the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["static", "state", "dynamic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindMeaning:
    """One kind of memory in words."""

    kind: str
    group: Group
    meaning: str


MEANINGS: tuple[KindMeaning, ...] = (
    KindMeaning(kind="parameter", group="static", meaning="weights; the same for every batch size"),
    KindMeaning(kind="buffer", group="static", meaning="running statistics, masks, tables; not trained"),
    KindMeaning(kind="gradient", group="state", meaning="one value a trained weight, from backward to zero_grad"),
    KindMeaning(kind="optimizer_state", group="state", meaning="momenta; made in the first optimizer step and kept"),
    KindMeaning(kind="activation", group="dynamic", meaning="saved by forward for backward; grows with the batch"),
    KindMeaning(kind="input", group="dynamic", meaning="the batch itself"),
    KindMeaning(kind="temporary", group="dynamic", meaning="results that no one keeps for long"),
    KindMeaning(kind="workspace", group="dynamic", meaning="private notes of a recurrent kernel, modelled"),
)

_GROUPS: dict[str, Group] = {m.kind: m.group for m in MEANINGS}


def by_group(by_kind_bytes: Mapping[str, int]) -> dict[Group, int]:
    """Sum memory by group; a kind that is not known counts as dynamic.

    >>> by_group({"parameter": 4, "gradient": 4, "optimizer_state": 8, "activation": 100})
    {'static': 4, 'state': 12, 'dynamic': 100}
    """
    groups: dict[Group, int] = {"static": 0, "state": 0, "dynamic": 0}
    for kind, num_bytes in by_kind_bytes.items():
        groups[_GROUPS.get(kind, "dynamic")] += num_bytes
    return groups
