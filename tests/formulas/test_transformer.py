from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from trainworthy.errors import FormulaError
from trainworthy.formulas import transformer as t


@st.composite
def decoders(draw: st.DrawFn) -> dict[str, Any]:
    kv_heads = draw(st.integers(1, 8))
    heads = kv_heads * draw(st.integers(1, 8))
    hidden = heads * draw(st.sampled_from([32, 64, 128]))
    return {
        "layers": draw(st.integers(1, 100)), "sequence": draw(st.integers(1, 10**5)), "hidden": hidden,
        "ffn": draw(st.integers(1, 10**5)), "heads": heads, "kv_heads": kv_heads,
        "vocabulary": draw(st.integers(1, 10**6)), "mlp": draw(st.sampled_from(["plain", "gated"])),
    }  # fmt: skip


@given(decoders())
def test_nvidia_s_three_terms_are_the_sum_over_the_shapes(decoder: dict[str, Any]) -> None:
    assert t.decoder_flops_per_token(**decoder) == pytest.approx(t.nvidia_flops_per_token(**decoder), rel=1e-12)


@given(decoders())
def test_palm_s_form_is_the_sum_over_the_shapes(decoder: dict[str, Any]) -> None:
    layer = t.layer_matmul_parameters(**{name: decoder[name] for name in ("hidden", "ffn", "heads", "kv_heads", "mlp")})
    matmul_parameters = decoder["layers"] * layer + decoder["vocabulary"] * decoder["hidden"]
    palm = t.palm_flops_per_token(
        matmul_parameters=matmul_parameters, layers=decoder["layers"], hidden=decoder["hidden"],
        sequence=decoder["sequence"],
    )  # fmt: skip
    assert palm == t.decoder_flops_per_token(**decoder)


@given(decoders(), st.integers(1, 4096), st.sampled_from(["none", "full"]))
def test_megatron_s_form_is_the_sum_over_the_shapes(decoder: dict[str, Any], batch: int, recompute: Any) -> None:
    decoder |= {"ffn": 4 * decoder["hidden"], "kv_heads": decoder["heads"], "mlp": "plain"}
    sizes = {name: decoder[name] for name in ("sequence", "layers", "hidden", "vocabulary")}
    per_token = t.decoder_flops_per_token(**decoder, recompute=recompute)
    total = t.megatron_flops(batch=batch, **sizes, recompute=recompute)
    assert total == pytest.approx(batch * decoder["sequence"] * per_token, rel=1e-12)
    # As the paper prints it.
    b, s, layers, h, v = (float(n) for n in (batch, *sizes.values()))
    leading, vocabulary = (96, 16) if recompute == "full" else (72, 12)
    printed = leading * b * s * layers * h**2 * (1 + s / (6 * h) + v / (vocabulary * layers * h))
    assert total == pytest.approx(printed, rel=1e-12)


def test_goldens_of_published_models() -> None:
    # Parameters as printed by their authors' code.
    gpt2: dict[str, Any] = {
        "heads": 12,
        "vocabulary": 50257,
        "positions": 1024,
        "output": "tied",
        "norm": "layer_norm",
        "biases": "all",
    }
    assert t.decoder_parameters(layers=12, hidden=768, ffn=3072, **gpt2) == 124_439_808
    assert t.decoder_parameters(layers=48, hidden=1600, ffn=6400, **{**gpt2, "heads": 25}) == 1_557_611_200
    llama: dict[str, Any] = {"vocabulary": 128256, "kv_heads": 8, "mlp": "gated"}
    assert t.decoder_parameters(layers=32, hidden=4096, ffn=14336, heads=32, **llama) == 8_030_261_248
    assert t.decoder_parameters(layers=80, hidden=8192, ffn=28672, heads=64, **llama) == 70_553_706_496
    llama2 = t.decoder_parameters(layers=32, hidden=4096, ffn=11008, heads=32, vocabulary=32000, mlp="gated")
    assert llama2 == 6_738_415_616
    # Narayanan et al. 2021, table 1: 174.6 B parameters, batch 1536, 1024 A100s, 140 TFLOP/s each: 31.5 s a step.
    total = t.megatron_flops(batch=1536, sequence=2048, layers=96, hidden=12288, vocabulary=51200)
    assert total / (1024 * 140e12) == pytest.approx(31.46, abs=0.02)
    assert t.training_flops(parameters=175 * 10**9, tokens=300 * 10**9) == pytest.approx(3.15e23)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 16), st.integers(1, 4))
def test_a_layer_of_torch_counts_the_same(head_dim: int, heads: int, sequence: int, ratio: int) -> None:
    hidden = 2 * head_dim * heads
    layer = torch.nn.TransformerEncoderLayer(hidden, heads, ratio * hidden, batch_first=True, device="meta")
    x = torch.empty(2, sequence, hidden, device="meta")
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        layer(x)
    expected = t.layer_flops_per_token(sequence=sequence, hidden=hidden, ffn=ratio * hidden, heads=heads)
    assert counter.get_total_flops() == 2 * sequence * expected


@given(decoders())
def test_causal_conventions_are_ordered(decoder: dict[str, Any]) -> None:
    full, half, exact = (t.decoder_flops_per_token(**decoder, causal=c) for c in ("full", "half", "exact"))
    assert half < exact <= full


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"heads": 5}, "hidden"), ({"kv_heads": 3}, "heads"), ({"layers": 0}, "layers"), ({"mlp": "relu"}, "mlp"),
        ({"sequence": -1}, "sequence"), ({"recompute": "some"}, "recompute"), ({"causal": "quarter"}, "causal"),
        ({"head_dim": 0}, "head_dim"), ({"vocabulary": 1e30}, "vocabulary"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(changed: dict[str, Any], argument: str) -> None:
    call: dict[str, Any] = {
        "layers": 2, "sequence": 8, "hidden": 64, "ffn": 256, "heads": 4, "vocabulary": 100, **changed
    }  # fmt: skip
    with pytest.raises(FormulaError) as caught:
        t.decoder_flops_per_token(**call)
    assert caught.value.argument == argument
