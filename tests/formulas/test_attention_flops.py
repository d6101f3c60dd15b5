from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.attention_flops import (
    attention_backward_flops,
    attention_bytes,
    attention_flops,
    attention_pairs,
)
from trainworthy.tape.flops import op_cost

aten = torch.ops.aten
sizes = st.fixed_dictionaries({
    "batch": st.integers(1, 3), "heads": st.integers(1, 4), "queries": st.integers(1, 9), "keys": st.integers(1, 9),
    "head_dim": st.integers(1, 8), "value_dim": st.integers(1, 8),
})  # fmt: skip


def tensors(size: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    def make(tokens: int, width: int) -> torch.Tensor:
        return torch.empty(size["batch"], size["heads"], tokens, width, device="meta")

    return (
        make(size["queries"], size["head_dim"]), make(size["keys"], size["head_dim"]),
        make(size["keys"], size["value_dim"]),
    )  # fmt: skip


@given(sizes)
def test_fused_counts_are_those_of_the_tape(size: dict[str, Any]) -> None:
    q, k, v = tensors(size)
    name = "_scaled_dot_product_flash_attention_for_cpu"
    forward = op_cost(aten._scaled_dot_product_flash_attention_for_cpu.default, name, (q, k, v), {}, (q,))
    assert forward.flops == attention_flops(**size)
    operation = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    backward = op_cost(operation, f"{name}_backward", (v, q, k, v), {}, (q, k, v))
    assert backward.flops == attention_backward_flops(**size)
    assert backward.flops - backward.recompute_flops == attention_backward_flops(**size, kernel="unfused")


@given(sizes)
def test_unfused_is_two_matrix_products_and_four_backward(size: dict[str, Any]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    q, k, v = (t.requires_grad_() for t in tensors(size))
    with FlopCounterMode(display=False) as counter:
        out = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        forward = counter.get_total_flops()
        out.sum().backward()
    assert forward == attention_flops(**size)
    assert counter.get_total_flops() - forward == attention_backward_flops(**size, kernel="unfused")


@given(st.integers(0, 40), st.integers(0, 40))
def test_pairs_are_those_that_the_mask_lets_through(queries: int, more: int) -> None:
    keys = queries + more
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=keys - queries)
    assert attention_pairs(queries=queries, keys=keys, causal="exact") == int(mask.sum())
    assert attention_pairs(queries=queries, keys=keys, causal="full") == mask.numel()
    half = attention_pairs(queries=keys, keys=keys, causal="half")
    assert attention_pairs(queries=keys, keys=keys, causal="exact") == half + keys / 2


@given(sizes)
def test_fused_moves_fewer_bytes_where_scores_are_larger_than_heads(size: dict[str, Any]) -> None:
    fused = attention_bytes(**size, bytes_per_element=2)
    unfused = attention_bytes(**size, bytes_per_element=2, kernel="unfused")
    scores = size["batch"] * size["heads"] * size["queries"] * size["keys"] * 2
    statistics = size["batch"] * size["heads"] * size["queries"] * 4
    assert unfused - fused == 4 * scores - statistics


def test_goldens() -> None:
    # GPT-2 small, 1024 tokens: 12 heads x 2 products x 2 x 1024^2 x 64.
    assert attention_flops(batch=1, heads=12, queries=1024, keys=1024, head_dim=64) == 12 * 2 * 2 * 1024**2 * 64
    # Shared heads of keys and values change the bytes, not the FLOPs.
    shape: dict[str, Any] = {"batch": 1, "heads": 32, "queries": 1, "keys": 8192, "head_dim": 128}
    many, few = (attention_bytes(**shape, bytes_per_element=2, kv_heads=n) for n in (32, 8))
    assert many - few == 24 * 8192 * 256 * 2


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"heads": 0}, "heads"), ({"batch": -1}, "batch"), ({"queries": -1}, "queries"), ({"causal": "no"}, "causal"),
        ({"queries": 5, "keys": 4, "causal": "exact"}, "keys"), ({"head_dim": 0}, "head_dim"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(changed: dict[str, Any], argument: str) -> None:
    call: dict[str, Any] = {"batch": 1, "heads": 1, "queries": 4, "keys": 4, "head_dim": 8, **changed}
    for function in (attention_flops, attention_backward_flops):
        with pytest.raises(FormulaError) as caught:
            function(**call)
        assert caught.value.argument == argument
    with pytest.raises(FormulaError, match="kernel is 'flash'"):
        attention_backward_flops(batch=1, heads=1, queries=1, keys=1, head_dim=1, kernel="flash")  # type: ignore[arg-type]
