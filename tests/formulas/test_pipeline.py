from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.activations import layer_activation_bytes
from trainworthy.formulas.pipeline import (
    SCHEDULES,
    Schedule,
    bubble_overhead,
    bubble_share,
    microbatches_in_flight,
    pipeline_bubble,
    pipeline_transfer_bytes,
)


@given(st.integers(1, 64), st.integers(1, 512))
def test_the_textbook_forms(stages: int, microbatches: int) -> None:
    schedule: Schedule
    for schedule in ("gpipe", "1f1b"):
        overhead = bubble_overhead(schedule=schedule, stages=stages, microbatches=microbatches)
        assert overhead == pytest.approx((stages - 1) / microbatches)
        share = bubble_share(schedule=schedule, stages=stages, microbatches=microbatches)
        assert share == pytest.approx((stages - 1) / (microbatches + stages - 1))


@given(st.integers(1, 32), st.integers(1, 16), st.integers(1, 8))
def test_interleaving_divides_the_bubble_and_costs_memory(stages: int, rounds: int, chunks: int) -> None:
    size: dict[str, Any] = {"stages": stages, "microbatches": stages * rounds}
    plain = bubble_overhead(schedule="1f1b", **size)
    assert bubble_overhead(schedule="interleaved", **size, chunks=chunks) == pytest.approx(plain / chunks)
    held = microbatches_in_flight(schedule="interleaved", **size, chunks=chunks)
    if rounds > 1:
        # Korthikanti et al. 2022: 1 + (p - 1)/(p v) times what 1F1B holds.
        assert held == pytest.approx(stages * (1 + (stages - 1) / (stages * chunks)))


def test_zero_bubble_orders_the_schedules() -> None:
    times: dict[str, Any] = {"forward": 1.0, "input_backward": 1.2, "weight_backward": 0.8}
    bubbles = [pipeline_bubble(schedule=name, stages=8, **times) for name in SCHEDULES]
    assert bubbles == pytest.approx([7 * 3.0, 7 * 3.0, 7 * 3.0, 7 * 1.4, 0])


def test_golden_of_korthikanti_s_530b() -> None:
    # p = 35, v = 3, 105 layers, t = 8, micro-batch 1: 1 + 34/105 times 105 layers of 34 s b h / t.
    layer = layer_activation_bytes(
        sequence=2048, batch=1, hidden=20480, heads=128, tensor_parallel=8, checkpointing="selective",
        regions="tensor+sequence",
    )  # fmt: skip
    held = microbatches_in_flight(schedule="interleaved", stages=35, microbatches=280, chunks=3)
    first_stage = held * 105 / 35 * layer
    assert first_stage / (105 * layer) == pytest.approx(1 + 34 / 105)
    assert first_stage / 2**30 == pytest.approx(23.07, abs=0.01)


def test_transfers_by_hand() -> None:
    assert pipeline_transfer_bytes(sequence=2048, microbatch=2, hidden=100, microbatches=3, chunks=2) == 12 * 409600 * 2


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"stages": 0}, "stages"), ({"microbatches": 0}, "microbatches"), ({"chunks": 2}, "chunks"),
        ({"schedule": "2f2b"}, "schedule"),
        ({"schedule": "interleaved", "chunks": 2, "microbatches": 6}, "microbatches"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(changed: dict[str, Any], argument: str) -> None:
    call: dict[str, Any] = {"schedule": "1f1b", "stages": 4, "microbatches": 8, **changed}
    for function in (bubble_overhead, bubble_share, microbatches_in_flight):
        with pytest.raises(FormulaError) as caught:
            function(**call)
        assert caught.value.argument == argument
    with pytest.raises(FormulaError, match="stage is 4"):
        microbatches_in_flight(schedule="1f1b", stages=4, microbatches=8, stage=4)
    with pytest.raises(FormulaError, match="forward is -1"):
        pipeline_bubble(schedule="1f1b", stages=4, forward=-1)
