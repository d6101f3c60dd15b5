"""States under ZeRO and FSDP, adapters and what is gathered."""

from __future__ import annotations

import pytest

from estimate.memory_cases import LLAMA3_8B, memory_run
from trainworthy.estimate.memory_input import MemoryInput
from trainworthy.estimate.memory_stages import stages
from trainworthy.estimate.memory_states import cast_weight_bytes, fsdp_parts, state_parts, step_parts

P = LLAMA3_8B.parameters


def _parts(run: MemoryInput, *, gradients: bool = True) -> dict[str, float]:
    return {name: size for name, size, _ in state_parts(run, stages(run)[0], gradients=gradients)}


@pytest.mark.parametrize(
    ("stage", "total"),
    [(0, 18.0), (1, 6 + 12 / 8), (2, 2 + 16 / 8), (3, 18 / 8)],
)
def test_megatron_counts_18_bytes_or_what_zero_leaves_of_them(stage: int, total: float) -> None:
    run = memory_run(zero_stage=stage, shard_ranks=8, num_gpus=8)
    assert sum(_parts(run).values()) == pytest.approx(total * P)


def test_sharded_float32_weights_are_sixteen_bytes() -> None:
    run = memory_run(stack="torchtitan", zero_stage=3, shard_ranks=64, num_gpus=64)
    assert sum(_parts(run).values()) == pytest.approx(16 * P / 64)
    assert "gradients" not in _parts(run, gradients=False) or _parts(run, gradients=False)["gradients"] == 0


def test_fsdp_gathers_two_layers_and_the_root() -> None:
    run = memory_run(stack="torchtitan", zero_stage=3, shard_ranks=8, num_gpus=8)
    (stage,) = stages(run)
    ends = 2 * 128256 * 4096 + 4096
    layer = (P - ends) / 32
    parts = {name: size for name, size, _ in fsdp_parts(run, stage, "backward")}
    assert parts["gathered weights"] == pytest.approx(2 * (ends + 2 * layer))
    assert parts["whole gradients"] == pytest.approx(6 * layer + 2 * (128256 * 4096 + 4096))
    assert fsdp_parts(memory_run(zero_stage=1, shard_ranks=8, num_gpus=8), stage, "backward") == []


def test_only_adapters_have_states() -> None:
    run = memory_run(stack="litgpt", adapters="lora", trainable_parameters=1_000_000)
    parts = _parts(run)
    assert parts["weights"] == 2 * (P + 1_000_000)
    assert parts["gradients"] == 2_000_000
    assert parts["optimizer"] == 4_000_000
    assert step_parts(run, stages(run)[0]) == []


def test_four_bits_and_a_scale_for_64_of_them() -> None:
    run = memory_run(stack="litgpt", adapters="lora", quantized_bytes=0.5625)
    embedding = 128256 * 4096
    parts = _parts(run)
    assert parts["weights"] == pytest.approx(0.5625 * (P - embedding) + 2 * embedding)
    assert parts["dequantized"] == pytest.approx(2 * 2 * (embedding + 4096))


def test_autocast_copies_matrices_to_16_bits() -> None:
    run = memory_run(stack="generic")
    assert cast_weight_bytes(run, stages(run)[0]) == 2 * (P - 128256 * 4096)
    assert cast_weight_bytes(memory_run(stack="megatron"), stages(run)[0]) == 0
