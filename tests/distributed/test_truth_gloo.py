"""What a virtual rank records of collectives is what a real gloo process issues, op by op, for every rank."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from distributed.gloo import record_function
from distributed.programs import PROGRAMS
from distributed.sequence import collective_sequence, disagreement, first_difference, unmatched
from distributed.virtual import rehearse_ranks

pytestmark = pytest.mark.slow

CASES = [(name, size) for name, (_, _, sizes) in PROGRAMS.items() for size in sizes]


@pytest.mark.parametrize(("name", "world_size"), CASES)
def test_virtual_ranks_issue_what_real_ones_do(name: str, world_size: int, tmp_path: Path) -> None:
    function, options, _ = PROGRAMS[name]
    program = partial(function, **options)
    real = [collective_sequence(tape) for tape in record_function(program, world_size, tmp_path / "real")]
    assert all(real)
    assert disagreement(real) is None
    assert unmatched(real) is None

    virtual = [collective_sequence(tape) for tape in rehearse_ranks(program, world_size, tmp_path / "virtual")]
    for rank, calls in enumerate(real):
        difference = first_difference(calls, virtual[rank])
        assert difference is None, f"rank {rank}, {difference}"
