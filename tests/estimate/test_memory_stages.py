"""Parameters of pipeline stages and micro batches under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimate.memory_cases import GPT3, LLAMA3_8B, memory_run
from trainworthy.estimate.memory_stages import stages
from trainworthy.estimate.model_dims import Experts, ModelDims

MIXTRAL = ModelDims(
    name="mixtral", layers=32, hidden=4096, ffn_hidden=14336, heads=32, kv_heads=8, head_dim=128, vocabulary=32000,
    mlp="gated", norm="rms_norm", experts=Experts(count=8, per_token=2, ffn_hidden=14336),
)  # fmt: skip


@pytest.mark.parametrize("model", [GPT3, LLAMA3_8B, MIXTRAL])
def test_one_stage_holds_the_model(model: ModelDims) -> None:
    (stage,) = stages(memory_run(model))
    assert stage.parameters == model.parameters


@given(pp=st.sampled_from([2, 3, 4, 8]), tp=st.sampled_from([1, 2, 4]))
def test_stages_together_hold_the_model(pp: int, tp: int) -> None:
    found = stages(memory_run(pp=pp, tp=tp, num_gpus=pp * tp, micro_batches=64))
    matrices = tp * sum(stage.parameters for stage in found)
    norms = (tp - 1) * (2 * LLAMA3_8B.layers + 1) * LLAMA3_8B.hidden  # every rank has them
    assert matrices - norms == pytest.approx(LLAMA3_8B.parameters)
    assert sum(stage.layers for stage in found) == LLAMA3_8B.layers


def test_a_pipeline_of_tied_embeddings_holds_the_matrix_at_both_ends() -> None:
    first, *_, last = stages(memory_run(GPT3, pp=4, num_gpus=4, micro_batches=64))
    assert first.embedding_parameters == (51200 + 2048) * 12288
    assert last.head_parameters == 51200 * 12288 + 2 * 12288


def test_modules_are_divided_where_the_stack_does_so() -> None:
    """Aleph Alpha's stack divides embedding, 32 layers, norm and head: 35 modules by 4."""
    counts = [stage.layers for stage in stages(memory_run(stack="aleph-scaling", pp=4, num_gpus=4, micro_batches=8))]
    assert counts == [8, 9, 9, 6]


def test_one_f_one_b_holds_a_micro_batch_for_each_stage_that_follows() -> None:
    found = stages(memory_run(pp=4, num_gpus=4, micro_batches=64))
    assert [stage.layers_under_way / stage.layers for stage in found] == [4, 3, 2, 1]


def test_few_micro_batches_cannot_fill_a_pipeline() -> None:
    first, *_ = stages(memory_run(pp=8, num_gpus=8, micro_batches=2))
    assert first.layers_under_way == 2 * first.layers


@pytest.mark.parametrize("chunks", [2, 4])
def test_interleaving_adds_what_korthikanti_says(chunks: int) -> None:
    first, *_ = stages(memory_run(GPT3, pp=4, num_gpus=4, micro_batches=64, interleave=chunks))
    assert first.layers_under_way == pytest.approx(GPT3.layers * (1 + 3 / (4 * chunks)))


def test_experts_are_divided_by_expert_parallelism() -> None:
    (stage,) = stages(memory_run(MIXTRAL, ep=8, num_gpus=8))
    assert stage.expert_parameters == MIXTRAL.expert_parameters / 8
