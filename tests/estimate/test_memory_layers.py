"""Activations of a layer: Korthikanti's table, Llama tensor by tensor, and laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimate.memory_cases import GPT3, LLAMA3_8B, memory_run
from trainworthy.estimate.memory_layers import layer_bytes
from trainworthy.formulas.activations import layer_activation_bytes

SEQUENCE = 2048


@pytest.mark.parametrize("tensor_parallel", [1, 8])
@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize("kind", ["none", "attention", "full"])
def test_gpt_with_dropout_is_the_table_of_korthikanti(tensor_parallel: int, sequence_parallel: bool, kind: str) -> None:
    run = memory_run(
        GPT3, seq_len=SEQUENCE, micro_batch=2, tp=tensor_parallel, num_gpus=tensor_parallel, attention="fused",
        sequence_parallel=sequence_parallel, checkpointing=kind,
    )  # fmt: skip
    words = {"none": "none", "attention": "selective", "full": "full"}
    expected = layer_activation_bytes(
        sequence=SEQUENCE, batch=2, hidden=12288, heads=96, checkpointing=words[kind],  # type: ignore[arg-type]
        tensor_parallel=tensor_parallel,
        regions="tensor+sequence" if sequence_parallel else "tensor",
    )  # fmt: skip
    statistics = 0 if kind == "full" else 4 * 96 // tensor_parallel * run.tokens  # log-sum-exp: not in the table
    assert layer_bytes(run).kept == pytest.approx(expected + statistics)


def test_llama_keeps_these_tensors() -> None:
    """Two norms in and two out (8 h), q and o (4 h), k and v, 4 f of the MLP; one log-sum-exp a head."""
    run = memory_run(stack="torchtitan", seq_len=1)
    h, kv, f = 4096, 1024, 14336
    assert layer_bytes(run).kept == 8 * h + 4 * h + 4 * kv + 8 * f + 4 * 32


def test_selective_checkpointing_by_operator_keeps_every_second_product() -> None:
    """Input, q, v, w1 and w2 of the seven products, and the result of attention: 7.75 h for Llama 3 8B."""
    run = memory_run(stack="torchtitan", seq_len=1, checkpointing="op")
    assert layer_bytes(run).kept == 2 * 7.75 * 4096 + 4 * 32


def test_what_is_kept_and_recomputed_is_everything() -> None:
    everything = layer_bytes(memory_run()).kept
    for kind in ("full", "op", "attention"):
        found = layer_bytes(memory_run(checkpointing=kind))
        assert found.kept + found.recomputed == pytest.approx(everything)


@given(
    batch=st.integers(1, 64), sequence=st.sampled_from([128, 1000, 8192]), degree=st.sampled_from([1, 2, 4, 8]),
    stack=st.sampled_from(["megatron", "torchtitan", "aleph-scaling", "generic"]),
)  # fmt: skip
def test_laws(batch: int, sequence: int, degree: int, stack: str) -> None:
    run = memory_run(stack=stack, seq_len=sequence, micro_batch=batch, tp=degree, num_gpus=degree)
    kept = layer_bytes(run).kept
    assert kept == pytest.approx(batch * layer_bytes(replace(run, micro_batch=1)).kept)
    assert layer_bytes(replace(run, sequence_parallel=True)).kept <= kept
    assert layer_bytes(replace(run, checkpointing="full")).kept < layer_bytes(replace(run, checkpointing="op")).kept
    assert layer_bytes(replace(run, attention="unfused")).kept > kept
    assert layer_bytes(replace(run, tp=1, num_gpus=1)).kept >= kept


def test_a_frozen_base_keeps_less() -> None:
    full = layer_bytes(memory_run(LLAMA3_8B, stack="litgpt", norms="upcast")).kept
    prefix = layer_bytes(memory_run(stack="litgpt", norms="upcast", adapters="prefix")).kept
    lora = layer_bytes(memory_run(stack="litgpt", norms="upcast", adapters="lora")).kept
    quantized = layer_bytes(memory_run(stack="litgpt", norms="upcast", adapters="lora", quantized_bytes=0.5625)).kept
    assert prefix < lora < quantized
    assert lora < full
