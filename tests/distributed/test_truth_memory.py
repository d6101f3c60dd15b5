"""Peak memory of a rank: what PyTorch's profiler saw of a real gloo process, the live recorder, and a virtual rank."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distributed.gloo import record_function, run_ranks
from distributed.programs import ddp, fully_sharded, tensor_parallel
from distributed.virtual import rehearse_ranks
from truth.profiled import profiled_peak

pytestmark = pytest.mark.slow

TOLERANCE = 0.02
LARGE: dict[str, Any] = {"width": 256, "depth": 6, "length": 64}
PROGRAMS: dict[str, tuple[Callable[[], object], int]] = {
    "fsdp2": (partial(fully_sharded, reshard=True, **LARGE), 2),
    "fsdp2_4_ranks": (partial(fully_sharded, reshard=True, **LARGE), 4),
    "fsdp2_kept": (partial(fully_sharded, reshard=False, **LARGE), 2),
    "fsdp2_mixed": (partial(fully_sharded, mixed=True, **LARGE), 2),
    "fsdp2_accumulated": (partial(fully_sharded, accumulate=2, **LARGE), 2),
    "hsdp": (partial(fully_sharded, replicate=2, **LARGE), 4),
    "ddp": (ddp, 2),
    "ddp_bucket_view": (partial(ddp, gradient_as_bucket_view=True), 2),
    "tensor_parallel": (partial(tensor_parallel, **LARGE), 2),
    "sequence_parallel": (partial(tensor_parallel, sequence=True, **LARGE), 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_peak_of_a_rank_is_what_the_profiler_saw(name: str, tmp_path: Path) -> None:
    program, world_size = PROGRAMS[name]
    # gloo's thread lets go of tensors some time after the call, which only adds; ranks are alike: the least counts.
    runs = [run_ranks(partial(profiled_peak, program), world_size, tmp_path / f"profiled{i}") for i in range(2)]
    truth = min(seen.peak_bytes for run in runs for seen in run)
    live = record_function(program, world_size, tmp_path / "live")
    virtual = rehearse_ranks(program, world_size, tmp_path / "virtual")
    for rank in range(world_size):
        assert live[rank].memory("cpu").peak_bytes == pytest.approx(truth, rel=TOLERANCE), f"live, rank {rank}"
        assert virtual[rank].memory().peak_bytes == pytest.approx(truth, rel=TOLERANCE), f"virtual, rank {rank}"
