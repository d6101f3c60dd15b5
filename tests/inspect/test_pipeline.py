"""The pipeline schedule is read off the tapes of its stages."""

from __future__ import annotations

from typing import Literal

import pytest

from report.cluster_tapes import RankBuilder, ddp, pipeline
from report.tape_builder import MIB
from trainworthy.inspect.collectives import calls_of
from trainworthy.inspect.pipeline import PipelineSchedule, pipeline_schedule
from trainworthy.tape.record import Tape


def schedule(tapes: dict[int, Tape]) -> PipelineSchedule | None:
    return pipeline_schedule(tapes, {rank: calls_of(tape) for rank, tape in tapes.items()}, step=2)


def drawn(found: PipelineSchedule) -> list[str]:
    rows = []
    for stage in found.stages:
        cells = ["."] * found.slots
        for block in stage.blocks:
            cells[block.slot] = block.direction.lower() if block.number % 2 else block.direction
        rows.append("".join(cells))
    return rows


@pytest.mark.parametrize("order", ["gpipe", "1f1b"])
@pytest.mark.parametrize(("stages", "micro"), [(2, 2), (4, 4), (4, 8), (8, 3)])
def test_the_bubble_is_that_of_the_closed_form(order: Literal["gpipe", "1f1b"], stages: int, micro: int) -> None:
    found = schedule({r: pipeline(r, stages=stages, micro_batches=micro, order=order) for r in range(stages)})
    assert found is not None
    assert found.bubble == pytest.approx((stages - 1) / (micro + stages - 1))  # Narayanan et al. 2021, (p-1)/(m+p-1)
    assert found.slots == 2 * (micro + stages - 1)


def test_the_order_of_blocks_is_as_recorded() -> None:
    found = schedule({r: pipeline(r, stages=2, micro_batches=3, order="1f1b") for r in range(2)})
    assert found is not None
    #               upper and lower case alternate with the micro-batch
    assert drawn(found) == ["fF.bfB.b", ".fbFBfb."]


def test_a_stage_that_was_not_rehearsed_is_taken_to_be_in_time() -> None:
    found = schedule({r: pipeline(r, stages=4, micro_batches=2) for r in (0, 1)})
    assert found is not None
    assert [stage.rank for stage in found.stages] == [0, 1]


def test_no_messages_no_pipeline() -> None:
    assert schedule({r: ddp(r) for r in (0, 1)}) is None
    assert schedule({0: pipeline(0)}) is None


def test_a_ring_inside_attention_is_no_pipeline() -> None:
    tapes = {}
    for rank in range(2):
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        for step in (1, 2):
            for _ in range(2):
                tape.op("mm", step=step, module="attention", flops=10)
                tape.call("send", MIB, peer=1 - rank, step=step, module="attention", is_async=True, phase="forward")
                tape.call("recv", MIB, peer=1 - rank, step=step, module="attention", is_async=True, phase="forward")
        tapes[rank] = tape.tape()
    assert schedule(tapes) is None


def test_stages_that_wait_for_each_other_have_no_schedule() -> None:
    tapes = {}
    for rank in range(2):
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        for step in (1, 2):
            tape.call("recv", MIB, peer=1 - rank, step=step, phase="forward")
            tape.op("mm", step=step, module="stage", flops=10)
            tape.call("send", MIB, peer=1 - rank, step=step, phase="forward")
        tapes[rank] = tape.tape()
    assert schedule(tapes) is None
