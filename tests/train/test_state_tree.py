"""Whatever state goes in comes out the same, bit for bit, and what is no plain data is refused by name."""

from __future__ import annotations

import enum
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.train.state_tree import pack, unpack

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
states = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["$tensor", "$map", "$tuple"]), inner, max_size=3)
        | st.dictionaries(st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, float):
        return struct.pack("d", first) == struct.pack("d", second) or (math.isnan(first) and math.isnan(second))
    if isinstance(first, dict):
        return list(map(repr, first)) == list(map(repr, second)) and all(
            same(*pair) for pair in zip(first.values(), second.values(), strict=True)
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(*pair) for pair in zip(first, second, strict=True))
    return bool(first == second)


@given(states)
@settings(max_examples=60)
def test_plain_data_survives_json(state: Any) -> None:
    tensors, tree = pack(state)
    assert not tensors
    assert same(unpack(json.loads(json.dumps(tree)), tensors.__getitem__), state)


def test_tensors_are_named_by_their_place_and_come_back() -> None:
    weight = torch.randn(2, 2)
    state = {"model": {"layer.0.weight": weight}, "list": [torch.tensor(1), (torch.tensor(2.5),)], "by": {3: weight[0]}}
    tensors, tree = pack(state)
    assert list(tensors) == ["model/layer.0.weight", "list/0", "list/1/0", "by/3"]
    again = unpack(json.loads(json.dumps(tree)), tensors.__getitem__)
    assert torch.equal(again["model"]["layer.0.weight"], weight)
    assert torch.equal(again["by"][3], weight[0])
    assert again["list"][1][0].item() == 2.5


def test_a_tied_weight_is_kept_once() -> None:
    weight = torch.nn.Parameter(torch.randn(3))
    tensors, tree = pack({"a": weight, "b": weight.detach(), "c": weight[:2], "d": torch.zeros(0), "e": torch.zeros(0)})
    assert list(tensors) == ["a", "c", "d", "e"]
    assert unpack(tree, tensors.__getitem__)["b"] is tensors["a"]
    assert not tensors["a"].requires_grad


def test_numbers_of_numpy_and_enums_become_plain() -> None:
    class Colour(str, enum.Enum):
        RED = "red"

    _, tree = pack({"x": np.float64(0.1), "c": Colour.RED})
    assert tree == {"x": 0.1, "c": "red"}


def test_anything_else_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"cannot hold a builtins\.set") as caught:
        pack({"optimizer": [{"seen": {1, 2}}]})
    assert caught.value.where == "optimizer/0/seen"
    with pytest.raises(UsageError, match=r"builtins\.function"):
        pack([lambda: 0])
