"""Peak memory of runs: goldens by hand, published measurements, laws and bad input."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimate.memory_cases import GPT3, LLAMA3_8B, memory_run
from trainworthy.errors import TrainworthyError, UsageError
from trainworthy.estimate.analytic_memory import estimate_memory, estimate_run_memory
from trainworthy.estimate.run_config import run_config_from_row

GIB = 2**30
# Rows as their sources print them, with the sources' own words; peak_memory_gb is what was measured.
TORCHTITAN = {
    "model": "Llama-3.1-8B", "layers": "32", "hidden": "4096", "ffn_hidden": "14336", "heads": "32", "kv_heads": "8",
    "vocab": "128256", "seq_len": "8192", "global_batch": "256", "micro_batch": "2", "gpu": "H100 SXM",
    "num_gpus": "128", "gpus_per_node": "8", "dp": "128", "zero_stage": "FSDP2 full", "tp": "1", "pp": "1", "cp": "1",
    "activation_checkpointing": "selective", "precision": "bf16", "compile_flash": "eager; SDPA",
    "source_url": "https://github.com/pytorch/torchtitan/blob/main/benchmarks/llama3_h100_202412_torchtitan.md",
}  # fmt: skip
TORCHTITAN_RESERVED_GIB = 67.0


def test_torchtitan_as_it_was_measured() -> None:
    """31 GiB of activations, 27 of the loss and 4 of weights, states and gathered units make 67 reserved."""
    found = estimate_run_memory(run_config_from_row(TORCHTITAN))
    assert found.reserved.expected / GIB == pytest.approx(TORCHTITAN_RESERVED_GIB, rel=0.05)
    assert found.moment == "loss"
    assert found.part_bytes("activations") / GIB == pytest.approx(31.0, rel=0.02)
    assert found.fits == "yes"


def test_measured_columns_are_not_read() -> None:
    plain = estimate_run_memory(run_config_from_row(TORCHTITAN))
    measured = {**TORCHTITAN, "peak_memory_gb": "12", "status": "oom", "step_time_s": "7", "mfu": "0.9"}
    assert estimate_run_memory(run_config_from_row(measured)) == plain


def test_gpt3_with_megatron_by_hand() -> None:
    """TP 8, PP 16, 1F1B, full checkpointing, on the first stage: 18 bytes a parameter and 16 x 6 layer inputs."""
    run = memory_run(
        GPT3, seq_len=2048, tp=8, pp=16, num_gpus=128, micro_batches=1536, checkpointing="full", attention="fused"
    )
    found = estimate_memory(run)
    layer = 12 * 12288**2 / 8 + 4 * 12288 + 2 * 12288 + (3 * 12288 + 4 * 12288) / 8
    parameters = 6 * layer + 51200 * 12288 / 8 + 2048 * 12288
    assert found.stage == 0
    assert found.parameters_per_gpu == pytest.approx(parameters)
    assert sum(map(found.part_bytes, ("weights", "main gradients", "optimizer"))) == pytest.approx(18 * parameters)
    assert found.part_bytes("activations") == 16 * 6 * 2 * 2048 * 12288
    assert found.fits == "yes"


@st.composite
def runs(draw: st.DrawFn) -> Any:
    degrees = st.sampled_from([1, 2, 4, 8])
    tp, pp, dp = draw(degrees), draw(degrees), draw(degrees)
    return memory_run(
        draw(st.sampled_from([LLAMA3_8B, GPT3])), stack=draw(st.sampled_from(["megatron", "torchtitan", "nanotron"])),
        seq_len=draw(st.sampled_from([512, 8192])), micro_batch=draw(st.integers(1, 8)), tp=tp, pp=pp,
        num_gpus=tp * pp * dp, shard_ranks=dp, zero_stage=draw(st.integers(0, 3)) if dp > 1 else 0,
        micro_batches=draw(st.sampled_from([1, 8, 64])), sequence_parallel=tp > 1 and draw(st.booleans()),
        checkpointing=draw(st.sampled_from(["none", "full", "op", "layer", "attention"])),
    )  # fmt: skip


@given(run=runs())
def test_laws(run: Any) -> None:
    found = estimate_memory(run)
    for quantity in (found.allocated, found.reserved, found.device):
        assert 0 < quantity.low <= quantity.expected <= quantity.high
    assert found.allocated.expected <= found.reserved.expected < found.device.expected
    assert sum(part.bytes.expected for part in found.parts) == pytest.approx(found.allocated.expected)
    assert all(part.source for part in found.parts)
    assert estimate_memory(replace(run, micro_batch=run.micro_batch + 1)).device.expected >= found.device.expected
    if run.zero_stage == 1:
        assert estimate_memory(replace(run, zero_stage=0)).allocated.expected >= found.allocated.expected


@given(run=runs())
def test_recomputing_everything_keeps_least(run: Any) -> None:
    full = estimate_memory(replace(run, checkpointing="full"))
    none = estimate_memory(replace(run, checkpointing="none"))
    assert full.part_bytes("activations") <= none.part_bytes("activations") + 1 or full.moment != none.moment


def test_a_verdict_needs_distance() -> None:
    run = memory_run(stack="torchtitan", micro_batch=1, zero_stage=3, shard_ranks=64, num_gpus=64)
    verdicts = [estimate_memory(replace(run, seq_len=1024 * n)).fits for n in range(1, 40)]
    assert verdicts[0] == "yes"
    assert verdicts[-1] == "no"
    assert sorted(verdicts, key=["yes", "unsure", "no"].index) == verdicts


def test_what_a_table_does_not_say_leaves_the_answer_open() -> None:
    """Without a word on checkpointing, a run that fits with it is not called impossible."""
    row = {**TORCHTITAN, "source_url": "https://github.com/NVIDIA/dgxc-benchmarking", "activation_checkpointing": "",
           "micro_batch": "4", "global_batch": "512", "zero_stage": "1"}  # fmt: skip
    silent = estimate_run_memory(run_config_from_row(row))
    stated = estimate_run_memory(run_config_from_row({**row, "activation_checkpointing": "none"}))
    assert silent.could_be_less
    assert (silent.fits, stated.fits) == ("unsure", "no")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seq_len", -1), ("micro_batch", 0), ("tp", 10**30), ("shard_ranks", 1.5), ("zero_stage", 4), ("pp", 64)],
)
def test_sizes_that_cannot_be(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        memory_run(**{name: value})


def test_widths_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="vocabulary of the model is"):
        memory_run(replace(LLAMA3_8B, vocabulary=10**30))


BAD_CELLS = ("", "-1", "0", "1e30", "nan", "inf", "2.5", "8k", "99999999999999999999", "true", "H100;B200")


@given(changes=st.dictionaries(st.sampled_from([*TORCHTITAN, "gpu_memory_gb", "ep"]), st.sampled_from(BAD_CELLS)))
def test_bad_tables_are_refused_or_answered_with_numbers(changes: dict[str, str]) -> None:
    with suppress(TrainworthyError):
        found = estimate_run_memory(run_config_from_row({**TORCHTITAN, **changes}))
        for quantity in (found.allocated, found.reserved, found.device):
            assert 0 < quantity.low <= quantity.expected <= quantity.high < float("inf")
        assert found.fits in {"yes", "no", "unsure"}
