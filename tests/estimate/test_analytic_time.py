from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.analytic_time import estimate_run_time, run_parts
from trainworthy.estimate.layer_work import product_share
from trainworthy.estimate.run_config import RunConfig, run_config_from_row

ROW = {
    "model": "Llama-3-8B", "layers": "32", "hidden": "4096", "ffn_hidden": "14336", "heads": "32", "kv_heads": "8",
    "vocab": "128256", "seq_len": "8192", "global_batch": "128", "micro_batch": "1", "gpu": "H100 SXM",
    "num_gpus": "64", "tp": "1", "pp": "1", "precision": "bf16", "activation_checkpointing": "none", "stack": "nemo",
}  # fmt: skip


def config(**changes: str) -> RunConfig:
    return run_config_from_row({**ROW, **changes})


def seconds(run: RunConfig) -> float:
    return run_parts(run).total_s


def test_parts_and_shares_add_up() -> None:
    time = estimate_run_time(config())
    assert time.step_s.low < time.step_s.expected < time.step_s.high
    assert time.step_s.expected == pytest.approx(sum(time.parts))
    assert sum(time.bound_by.values()) == pytest.approx(1)
    assert time.tokens_per_s_per_gpu.expected == pytest.approx(128 * 8192 / 64 / time.step_s.expected)


def test_an_8b_model_on_h100_reaches_what_such_runs_reach() -> None:
    tokens_per_s = estimate_run_time(config()).tokens_per_s_per_gpu
    assert 8_000 < tokens_per_s.expected < 12_500  # 40 to 62 % of 989 TFLOP/s


def test_a_step_is_never_faster_than_its_flops_at_the_peak() -> None:
    run = config()
    flops = 6 * run.model.active_matmul_parameters * run.step_tokens / run.num_gpus
    assert seconds(run) > flops / 989.4e12


@given(factor=st.sampled_from([2, 4, 8]))
def test_twice_the_micro_batches_take_less_than_twice_the_time(factor: int) -> None:
    one, more = seconds(config()), seconds(config(global_batch=str(128 * factor)))
    assert one < more <= factor * one


def test_recomputation_costs_a_third_of_the_layers_and_selective_less() -> None:
    none, some, full = (
        seconds(config(activation_checkpointing=kind)) for kind in ("none", "selective (attention)", "full")
    )
    assert none < some < full < 1.40 * none


def test_fp8_is_faster_but_not_twice() -> None:
    assert 1.2 < seconds(config()) / seconds(config(precision="fp8")) < 1.8  # FACTS of dgxc-benchmarking: 1.32 for 8B


def test_bubbles_shrink_with_micro_batches_and_interleaving() -> None:
    few = run_parts(config(pp="8", global_batch="64", vp_interleave="1"))
    many = run_parts(config(pp="8", global_batch="512", vp_interleave="1"))
    chunks = run_parts(config(pp="8", global_batch="64", vp_interleave="4"))
    assert few.bubble_s / few.total_s > many.bubble_s / many.total_s
    assert chunks.bubble_s == pytest.approx(few.bubble_s / 4)


def test_a_slower_network_costs_sharded_runs() -> None:
    fast = config(zero_stage="FSDP", interconnect="400 Gb/s per GPU")
    slow = config(zero_stage="FSDP", interconnect="100 Gb/s per node")
    assert run_parts(slow).network_s > 2 * run_parts(fast).network_s


def test_a_small_model_waits_for_the_host() -> None:
    small = {"layers": "24", "hidden": "512", "ffn_hidden": "2048", "heads": "8", "kv_heads": "8", "seq_len": "256"}
    parts = run_parts(config(**small))
    assert parts.host_s > 0.5 * parts.total_s


def test_an_unknown_stack_has_a_wider_range() -> None:
    known, unknown = estimate_run_time(config()), estimate_run_time(config(stack="mine"))
    assert unknown.error_p90 > known.error_p90
    assert any("no measured runs of generic on hopper" in line for line in unknown.assumptions)


def test_frozen_weights_save_their_gradients() -> None:
    assert 0.6 < seconds(config(task="lora")) / seconds(config(task="sft")) < 0.8


def test_a_gpu_limited_in_power_is_slower() -> None:
    assert seconds(config(gpu="H100 SXM 96GB HBM2e (500 W, 2.4 TB/s)")) > 1.1 * seconds(config())


@given(m=st.integers(1, 20_000), n=st.integers(1, 20_000), k=st.integers(1, 20_000))
def test_shares_are_shares(m: int, n: int, k: int) -> None:
    assert 0 < product_share(m, n, k, 108) < 1


def test_unaligned_sizes_cost() -> None:
    assert product_share(8192, 1800, 8192, 108) < 0.8 * product_share(8192, 1792, 8192, 108)
    assert product_share(8192, 50257, 8192, 108) < product_share(8192, 50304, 8192, 108)


def test_experts_cost_what_is_active() -> None:
    dense = config()
    moe = replace(dense, model=replace(dense.model, experts=None))
    assert seconds(moe) == seconds(dense)


def test_packed_samples_attend_to_less() -> None:
    packed, whole = config(task="sft"), config(task="sft", stack="torchtitan")
    assert (packed.attention_span, whole.attention_span) == (512, 8192)
    assert seconds(packed) < seconds(config())
    assert any("packed" in line for line in packed.assumptions)
