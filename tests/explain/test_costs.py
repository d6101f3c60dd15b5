"""Goldens of the subjects about costs, worked by hand or published, and what they refuse."""

from __future__ import annotations

import re

import pytest

from trainworthy.cli.main import main
from trainworthy.errors import TrainworthyError
from trainworthy.explain import answer
from trainworthy.explain.bars import Bar, bar_lines, bars_svg
from trainworthy.explain.roof import Roof, roof_lines, roof_svg


def test_matmul_of_the_guide_is_memory_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "matmul", "8192", "128", "8192", "--dtype", "fp16", "--gpu", "v100-sxm2-16gb"]) == 0
    out = capsys.readouterr().out
    assert "124.1 FLOP/B against 138.9" in out
    assert "memory bound" in out
    it = answer("matmul", 8192, 128, 8192, dtype="fp16", gpu="v100-sxm2-16gb")
    assert it.values["bound_by"] == "memory"
    assert it.values["flops"] == 2 * 8192 * 128 * 8192
    assert it.values["moved_bytes"] == 2 * (2 * 8192 * 128 + 8192**2)


def test_matmul_says_what_to_pad() -> None:
    notes = " ".join(answer("matmul", 8192, 768, 50257, dtype="bf16", gpu="a100-sxm-80gb").notes)
    assert "n = 50257 (next: 50304)" in notes
    assert "next" not in " ".join(answer("matmul", 8192, 768, 50304, dtype="bf16", gpu="a100-sxm-80gb").notes)


def test_roofline_of_a_given_operation() -> None:
    it = answer("roofline", flops=2e12, bytes=1e9, gpu="a100-sxm-80gb")
    assert "bound by arithmetic" in it.result
    assert it.values["ops_to_byte_flop_per_byte"] == pytest.approx(312e12 / 2039e9)


@pytest.mark.parametrize(
    ("options", "bytes_per_parameter"),
    # ZeRO section 3.1: 16 with Adam in mixed precision; Megatron-LM: 18; SGD with momentum in float32: 12.
    [({}, 16), ({"precision": "mixed-fp32-grad"}, 18), ({"precision": "fp32", "optimizer": "sgd-momentum"}, 12),
     ({"optimizer": "adam-8bit"}, 10.03125), ({"precision": "bf16"}, 8)],
)  # fmt: skip
def test_bytes_a_parameter(options: dict[str, object], bytes_per_parameter: float) -> None:
    it = answer("adam-memory", "7e9", **options)
    assert it.values["bytes_per_parameter"] == bytes_per_parameter
    assert it.values["total_bytes"] == 7e9 * bytes_per_parameter


def test_zero_divides() -> None:
    # ZeRO figure 1, 7.5 B parameters over 64 ranks.
    totals = [answer("adam-memory", "7500M", zero=stage, ranks=64).values["total_bytes"] for stage in (0, 1, 2, 3)]
    assert [round(float(str(total)) / 1e9, 1) for total in totals] == [120.0, 31.4, 16.6, 1.9]


def test_collectives_by_hand() -> None:
    reduced = answer("all-reduce", "1GB", ranks=8, link="nvlink4").values
    assert (reduced["sent_bytes_per_rank"], reduced["steps"]) == (1_750_000_000, 14)
    # 56 us of latency and 1.75 GB at NCCL's 370.8 GB/s.
    assert reduced["time_s"] == pytest.approx(8.4e-6 + 14 * 3.4e-6 + 1.75 / 370.8)
    parts = [answer(name, "1GB", ranks=8, link="nvlink4").values["sent_bytes_per_rank"] for name in
             ("all-gather", "reduce-scatter")]  # fmt: skip
    assert parts == [875_000_000, 875_000_000]
    padded = answer("all-gather", "10", ranks=4, link="nvlink4").values
    assert padded["payload_bytes"] == 12


def test_the_ring_is_drawn() -> None:
    it = answer("all-reduce", "1MB", ranks=4, link="pcie4")
    assert "r0 ─▶ r1 ─▶ r2 ─▶ r3 ─▶ r0" in it.diagram
    rows = [line.split() for line in it.diagram.split("\n") if line.startswith("step ")]
    assert len(rows) == 6
    assert rows[0][2:] == ["c3+", "c0+", "c1+", "c2+"]
    assert rows[3][2:] == ["c0", "c1", "c2", "c3"]
    assert it.svg.count("<polygon") == 4  # an arrow from each rank to the next


def test_the_pipeline_is_drawn() -> None:
    it = answer("pipeline", stages=4, microbatches=6)
    assert "bubble 33.3%" in it.result
    lines = it.diagram.split("\n")
    assert re.findall(r"[FB]\d|·", lines[3]) == [
        "·", "·", "·", "F1", "B1", "B1", "F2", "B2", "B2", "F3", "B3", "B3", "F4", "B4", "B4", "F5", "B5", "B5",
        "F6", "B6", "B6", "·", "·", "·", "·", "·", "·",
    ]  # fmt: skip
    assert it.values["held_microbatches"] == [4, 3, 2, 1]
    few = answer("pipeline", stages=4, microbatches=2, schedule="zb-h1")
    assert few.values["idle_units"] == pytest.approx(float(str(few.values["step_units"])) - 6)


def test_checkpointing_of_gpt_3() -> None:
    # Korthikanti et al. 2022: selective recomputation saves 70 % of GPT-3's activations.
    it = answer("checkpointing", layers=96, hidden=12288, heads=96, tp=8)
    assert "It saves 70%" in " ".join(it.steps)
    assert it.values["layer_bytes"] == {"none": 358612992, "selective": 106954752, "full": 6291456}


def test_ddp_and_fsdp_by_hand() -> None:
    it = answer("ddp", parameters="25M", tensors=10, ranks=4)
    assert it.values["gradient_bytes"] == 100_000_000
    assert it.values["sent_bytes_per_rank"] == 150_000_000
    sizes = it.values["bucket_bytes"]
    assert isinstance(sizes, list | tuple)
    assert sum(sizes) == 100_000_000
    assert sizes[0] == 10_000_000  # the first bucket is closed at 1 MiB, here by its first tensor
    shards = answer("fsdp", "8e9", ranks=8).values
    assert shards["bytes_by_zero_stage"] == [128e9, 72e9, 44e9, 16e9]
    assert shards["sent_bytes_per_rank"] == shards["ddp_sent_bytes_per_rank"] == 56e9


def test_flops_of_llama_3_8b() -> None:
    it = answer("flops", kv_heads=8, tokens="15e12").values
    assert it["parameters"] == 8_030_261_248
    assert it["flops_per_token"] == pytest.approx(57.914e9, rel=1e-3)


def test_batch_size_and_neighbours() -> None:
    it = answer("batch-size", micro=32, ranks=256, accumulate=1, reference=256, lr=0.1).values
    assert it["batch_samples"] == 8192
    assert it["linear_learning_rate"] == pytest.approx(3.2)  # Goyal et al. 2017
    assert answer("nearest-neighbours", "1e6", dim=3).values["tree_pays"] is True
    assert answer("nearest-neighbours", "1e6", dim=128).values["tree_pays"] is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["matmul", "1", "2"], "three sizes"),
        (["matmul", "8", "8", "8", "--dtype", "bf16", "--gpu", "v100-sxm2-16gb"], "no unit for bf16"),
        (["matmul", "--gpu", "h100"], "Did you mean h100"), (["roofline", "--flops", "1e9"], "go together"),
        (["roofline", "--flops", "1e9", "--bytes", "0"], "moved_bytes is 0"),
        (["all-reduce", "1GB", "--link", "nvlink9"], "No data for link 'nvlink9'"),
        (["all-reduce", "many"], "not a size"), (["all-reduce", "--ranks", "0"], "at least 1"),
        (["pipeline", "--schedule", "interleaved", "--microbatches", "6"], "Take 8"),
        (["pipeline", "--chunks", "2"], "Only interleaved"),
        (["pipeline", "--microbatches", "1000000"], "200,000 tasks"),
        (["checkpointing", "--heads", "7"], "does not divide"), (["checkpointing", "--tp", "5"], "does not divide"),
        (["flops", "--kv-heads", "5"], "does not divide"), (["flops", "--mfu", "1.5"], "at most 1"),
        (["adam-memory", "1e30"], "1e30"), (["batch-size", "--lr", "-1"], "learning_rate is -1"),
        (["mixed-precision", "--gpu", "t4-pcie-16gb"], "no unit for bf16"),
        (["nearest-neighbours", "--dim", "0"], "at least 1"),
        (["adam-memory", "--optimizer", "\x1b[31m"], r"\x1b"), (["ddp", "\x1b[31m"], r"\x1b"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(line: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["explain", *line])
    except SystemExit as left:
        code = int(left.code or 0)
    error = capsys.readouterr().err
    assert code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in error
    assert "\x1b" not in error


def test_from_python_errors_are_raised() -> None:
    with pytest.raises(TrainworthyError, match="no unit for fp8"):
        answer("matmul", 8, 8, 8, dtype="fp8", gpu="a100-sxm-80gb")


def test_bars_show_what_is_small_and_nothing_for_nothing() -> None:
    lines = bar_lines([Bar("a", 1000, "1000"), Bar("b", 1e-6, "tiny"), Bar("c", 0, "none")], cells=10)
    assert lines[0].count("█") == 10
    assert "▏" in lines[1]
    assert not re.search("[█▏▎▍▌▋▊▉]", lines[2])
    assert bar_lines([]) == []
    assert bars_svg("t", [Bar("a", 0, "0")]).count("<rect") == 0
    assert bars_svg("t", [Bar("a", 2, "2"), Bar("b", 1, "1")]).count("<rect") == 2


def test_the_roof_is_flat_right_of_the_ridge() -> None:
    roof = Roof(100.0, 1000.0, (("low", 1.0), ("high", 1e4)))
    assert roof.ridge == 100
    assert [roof.tflops(x) for x in (1.0, 100.0, 1e4)] == [1.0, 100.0, 100.0]
    lines = roof_lines(roof)
    assert "2" in lines[0]
    assert "1" not in lines[0].split("│")[1]
    assert roof_svg("t", roof).count("<rect") == 2
