from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.activations import (
    checkpoint_every_bytes,
    general_layer_activation_bytes,
    layer_activation_bytes,
    logits_bytes,
)

GIB = 2**30
shapes = st.fixed_dictionaries({
    "sequence": st.integers(1, 64).map(lambda n: 8 * n), "batch": st.integers(1, 4),
    "heads": st.integers(1, 8).map(lambda n: 8 * n), "head_dim": st.sampled_from([16, 64, 128]),
})  # fmt: skip


def sized(shape: dict[str, Any]) -> dict[str, Any]:
    return {**{k: shape[k] for k in ("sequence", "batch", "heads")}, "hidden": shape["heads"] * shape["head_dim"]}


@given(shapes, st.sampled_from([1, 2, 4, 8]))
def test_the_six_cells_of_korthikanti_s_table(shape: dict[str, Any], t: int) -> None:
    size = sized(shape)
    s, b, h, a = size["sequence"], size["batch"], size["hidden"], size["heads"]

    def cell(checkpointing: Any, regions: Any) -> int:
        return layer_activation_bytes(**size, tensor_parallel=t, checkpointing=checkpointing, regions=regions)

    sbh = s * b * h
    assert cell("none", "tensor") == pytest.approx(sbh * (10 + 24 / t + 5 * a * s / (h * t)))
    assert cell("none", "tensor+sequence") == pytest.approx(sbh / t * (34 + 5 * a * s / h))
    assert cell("selective", "tensor") == pytest.approx(sbh * (10 + 24 / t))
    assert cell("selective", "tensor+sequence") == pytest.approx(34 * sbh / t)
    assert cell("full", "tensor") == 2 * sbh
    assert cell("full", "tensor+sequence") == 2 * sbh // t


@given(shapes)
def test_the_general_layer_gives_the_same_for_gpt(shape: dict[str, Any]) -> None:
    size = sized(shape)
    gpt: dict[str, Any] = {**size, "ffn": 4 * size["hidden"], "mlp": "plain", "dropout": "on"}
    assert general_layer_activation_bytes(**gpt, attention="unfused") == layer_activation_bytes(**size)
    fused = general_layer_activation_bytes(**gpt, attention="fused")
    statistics = 4 * size["sequence"] * size["batch"] * size["heads"]
    assert fused == layer_activation_bytes(**size, checkpointing="selective") + statistics


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(2, 12), st.integers(1, 3), st.integers(1, 2), st.integers(4, 40))
def test_a_real_layer_saves_what_is_counted(batch: int, sequence: int, kv_heads: int, ratio: int, ffn: int) -> None:
    heads, head_dim = kv_heads * ratio, 8
    hidden = heads * head_dim
    linear = torch.nn.Linear
    norms = [torch.nn.LayerNorm(hidden) for _ in range(2)]
    q, k, v = (linear(hidden, n * head_dim, bias=False) for n in (heads, kv_heads, kv_heads))
    out, gate, up = linear(hidden, hidden, bias=False), linear(hidden, ffn, bias=False), linear(hidden, ffn, bias=False)
    down = linear(ffn, hidden, bias=False)
    parameters = {p.data_ptr() for m in (*norms, q, k, v, out, gate, up, down) for p in m.parameters()}
    saved: dict[int, int] = {}
    keep_alive = []  # an address that is used again would hide a tensor

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            keep_alive.append(tensor)
        return tensor

    def split(x: torch.Tensor, n: int) -> torch.Tensor:
        return x.view(batch, sequence, n, head_dim)

    def attend(x: torch.Tensor) -> torch.Tensor:
        weights = torch.einsum("bqhd,bkhd->bhqk", split(q(x), heads), split(k(x), kv_heads).repeat_interleave(ratio, 2))
        probabilities = torch.softmax(weights, -1)
        values = split(v(x), kv_heads).repeat_interleave(ratio, 2)
        return torch.einsum("bhqk,bkhd->bqhd", probabilities, values).reshape(batch, sequence, hidden)

    x = torch.randn(batch, sequence, hidden, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        mixed = x + out(attend(norms[0](x)))
        normed = norms[1](mixed)
        down(torch.nn.functional.silu(gate(normed)) * up(normed))
    expected = general_layer_activation_bytes(
        sequence=sequence, batch=batch, hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        mlp="gated", bytes_per_element=4, attention="unfused",
    )  # fmt: skip
    tokens = batch * sequence
    statistics = 2 * 2 * tokens * 4  # mean and reciprocal deviation of two norms
    repeated = 2 * tokens * (heads - kv_heads) * head_dim * 4  # einsum saves keys and values repeated, not as they were
    assert sum(saved.values()) == expected + statistics + repeated


def test_goldens_of_the_paper() -> None:
    # Korthikanti et al. 2022, section 4.1: 5as/h is 80 for GPT-3 and 64 for MT-NLG.
    for heads, hidden, scores in ((96, 12288, 80), (128, 20480, 64)):
        size: dict[str, Any] = {"sequence": 2048, "batch": 1, "hidden": hidden, "heads": heads}
        whole = layer_activation_bytes(**size)
        selective = layer_activation_bytes(**size, checkpointing="selective")
        assert whole == 2048 * hidden * (34 + scores)
        # "70 % and 65 % of the activation memory".
        assert 1 - selective / whole == pytest.approx({80: 0.70, 64: 0.65}[scores], abs=0.005)
    # All layers of the 22 B model (48 layers, micro-batch 4, t = 8) with both techniques, by hand.
    both = 48 * layer_activation_bytes(
        sequence=2048, batch=4, hidden=6144, heads=64, tensor_parallel=8, checkpointing="selective",
        regions="tensor+sequence",
    )  # fmt: skip
    assert both / GIB == pytest.approx(48 * 34 * 2048 * 4 * 6144 / 8 / GIB)
    assert round(both / GIB, 2) == 9.56


@given(st.integers(1, 60), st.integers(1, 1000), st.integers(0, 100))
def test_checkpoints_of_segments_have_a_best_size_near_the_square_root(layers: int, layer: int, kept: int) -> None:
    costs = [
        checkpoint_every_bytes(layers=layers, layer_bytes=layer, input_bytes=kept, segment=n)
        for n in range(1, layers + 1)
    ]
    assert costs[-1] == kept + layers * layer
    # With real n and l, l i / n + n b is least at n = sqrt(l i / b).
    assert min(costs) >= 2 * (layers * kept * layer) ** 0.5 - 1e-6


def test_logits_of_a_large_vocabulary() -> None:
    assert logits_bytes(tokens=8192, vocabulary=128256, copies=1) == 8192 * 128256 * 4


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"sequence": 0}, "sequence"), ({"heads": 7}, "heads"), ({"tensor_parallel": 3}, "heads"),
        ({"checkpointing": "some"}, "checkpointing"), ({"regions": "sequence"}, "regions"), ({"batch": -1}, "batch"),
        ({"sequence": 9, "tensor_parallel": 2, "regions": "tensor+sequence"}, "sequence"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(changed: dict[str, Any], argument: str) -> None:
    call: dict[str, Any] = {"sequence": 8, "batch": 1, "hidden": 64, "heads": 8, **changed}
    if changed == {"heads": 7}:
        call |= {"ffn": 8}
        with pytest.raises(FormulaError, match="hidden is 64"):
            general_layer_activation_bytes(**call)
        return
    with pytest.raises(FormulaError) as caught:
        layer_activation_bytes(**call)
    assert caught.value.argument == argument
