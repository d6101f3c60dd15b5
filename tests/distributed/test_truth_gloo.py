"""What a virtual rank records of collectives is what a real gloo process issues, op by op, for every rank."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest

from distributed.gloo import record_function
from distributed.programs import PROGRAMS
from distributed.sequence import Call, collective_sequence, disagreement, first_difference, unmatched
from distributed.virtual import rehearse_rank

CASES = [(name, size) for name, (_, _, sizes) in PROGRAMS.items() for size in sizes]
Real = Callable[[str, int], list[list[Call]]]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Return the sequences of a real run by rank; each program runs once."""

    @cache
    def run(name: str, world_size: int) -> list[list[Call]]:
        function, options, _ = PROGRAMS[name]
        folder = tmp_path_factory.mktemp(f"{name}_{world_size}")
        return [collective_sequence(t) for t in record_function(partial(function, **options), world_size, folder)]

    return run


@pytest.mark.parametrize(("name", "world_size"), CASES)
def test_real_ranks_agree_with_each_other(name: str, world_size: int, real: Real) -> None:
    sequences = real(name, world_size)
    assert any(sequences)
    assert disagreement(sequences) is None
    assert unmatched(sequences) is None


@pytest.mark.parametrize(("name", "world_size"), CASES)
def test_virtual_rank_issues_what_the_real_one_does(name: str, world_size: int, real: Real) -> None:
    function, options, _ = PROGRAMS[name]
    for rank, calls in enumerate(real(name, world_size)):
        virtual = collective_sequence(rehearse_rank(partial(function, **options), world_size, rank))
        assert first_difference(calls, virtual) is None, f"rank {rank}: {first_difference(calls, virtual)}"
