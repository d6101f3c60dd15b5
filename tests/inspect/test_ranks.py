"""Several tapes become one result: which rank it is of, which ranks are alike, what is assumed."""

from __future__ import annotations

import pytest

from report.cluster_tapes import RankBuilder, ddp, fsdp, pipeline
from report.tape_builder import MIB, small_training
from trainworthy.errors import UsageError
from trainworthy.inspect import RehearsalResult, summarize, summarize_ranks
from trainworthy.inspect.advice import advise
from trainworthy.inspect.cluster import ClusterResult


def cluster_of(result: RehearsalResult) -> ClusterResult:
    assert result.cluster is not None
    return result.cluster


def rows(result: RehearsalResult) -> list[tuple[int, list[int]]]:
    return [(row.rank, list(row.stands_for)) for row in cluster_of(result).ranks]


def test_equal_ranks_are_one_row_and_stand_for_the_others() -> None:
    result = summarize_ranks([fsdp(r) for r in (63, 0, 8, 1)], assume_others=True)
    assert rows(result) == [(0, list(range(64)))]
    assert cluster_of(result).rehearsed == (0, 1, 8, 63)
    assert "fullest of 64 test-gpu (rank 0; ranks 1-63 alike)" in advise(result).verdict


def test_nothing_is_assumed_unless_asked() -> None:
    result = summarize_ranks([fsdp(r) for r in (0, 1)])
    assert rows(result) == [(0, [0, 1])]
    assert "fullest of 2 rehearsed of 64 test-gpu (rank 0; rank 1 alike)" in advise(result).verdict
    single = summarize_ranks([fsdp(3)], assume_others=True)
    assert rows(single) == [(3, [3])]
    assert "on rank 3 of 64 test-gpu" in advise(single).verdict


def test_the_fullest_rank_is_shown() -> None:
    result = summarize_ranks([ddp(0), ddp(1, activation_bytes=100 * MIB), ddp(7)], assume_others=True)
    assert cluster_of(result).rank == 1
    assert result.tape.notes["cluster"]["rank"] == 1
    # All ranks share one group: those that were not rehearsed are taken to be like its lowest.
    assert rows(result) == [(0, [0, 2, 3, 4, 5, 6, 7]), (1, [1])]
    assert any(line.startswith("Memory is uneven") for line in advise(result).why)


def test_stages_of_a_pipeline_stand_for_their_replicas() -> None:
    def rank(number: int) -> RankBuilder:
        """Two stages (ranks 0-3 and 4-7) of four replicas."""
        tape = RankBuilder(rank=number, world_size=8, gpus_per_node=8)
        stage = number // 4
        replicas = tape.group("dp", tuple(range(4 * stage, 4 * stage + 4)))
        pair = tape.group("pp", (number % 4, number % 4 + 4))
        for step in (1, 2):
            if stage == 0:
                tape.call("send", MIB, group=pair, peer=number + 4, step=step, is_async=True)
            else:
                tape.call("recv", MIB, group=pair, peer=number - 4, step=step)
            tape.call("all_reduce", MIB * (stage + 1), group=replicas, step=step)
        return tape

    result = summarize_ranks([rank(r).tape() for r in (0, 1, 4, 7)], assume_others=True)
    assert rows(result) == [(0, [0, 1, 2, 3]), (4, [4, 5, 6, 7])]


def test_roots_are_ranks_like_others() -> None:
    result = summarize_ranks([ddp(r) for r in (0, 1)])  # rank 0 is the root of the first broadcast
    assert len(cluster_of(result).ranks) == 1


def test_the_first_that_failed_is_shown() -> None:
    error = {"kind": "exception", "message": "RuntimeError: no", "path": "train.py", "line": 9}
    result = summarize_ranks([ddp(0), ddp(1), ddp(5, error=error), ddp(7, error=error)])
    assert cluster_of(result).rank == 5
    assert result.verdict == "failed"
    assert advise(result).verdict.startswith("FAILED on rank 5 of 8")
    assert [row.verdict for row in cluster_of(result).ranks] == ["fits", "failed"]


def test_ranks_that_would_hang_have_failed() -> None:
    def branch(tape: RankBuilder, step: int) -> None:
        tape.call("barrier", 0, step=step, line=50)

    result = summarize_ranks([ddp(0, before_step=branch), ddp(1)])
    assert (result.verdict, result.error and result.error["kind"]) == ("failed", "deadlock")
    advice = advise(result)
    assert advice.verdict == "WOULD HANG on 8 GPUs at train.py:50"
    assert any("Peak" in line for line in advice.why)  # the ranks came through: their figures hold
    assert [row.verdict for row in cluster_of(result).ranks] == ["fits", "fits"]


def test_findings_of_other_ranks_are_named() -> None:
    finding = {"code": "TW302", "severity": "warning", "message": "odd", "path": None, "line": None, "fix": None}
    result = summarize_ranks([ddp(0), ddp(1, findings=[finding]), ddp(7, findings=[finding])])
    assert [f["message"] for f in result.findings] == ["Rank 1: odd"]  # once is enough


def test_a_tape_of_no_cluster_is_summarised_as_it_is() -> None:
    tape = small_training()
    assert summarize_ranks([tape]).to_dict() == summarize(tape).to_dict()
    assert summarize(tape).to_dict()["cluster"] is None


@pytest.mark.parametrize("tapes", [
    [ddp(0), ddp(0)], [ddp(0), ddp(1, world_size=16)], [ddp(0), small_training()],
    [small_training(), small_training()],
])  # fmt: skip
def test_tapes_of_different_runs_are_refused(tapes: list[object]) -> None:
    with pytest.raises(UsageError, match="not those of different ranks of one cluster"):
        summarize_ranks(tapes)  # type: ignore[arg-type]


def test_the_json_object_holds_the_cluster() -> None:
    found = summarize_ranks([pipeline(r) for r in range(4)]).to_dict()["cluster"]
    assert [row["rank"] for row in found["ranks"]] == [0, 1, 2, 3]
    assert found["ranks"][0]["collective_bytes_per_step"] == 8 * MIB
    assert found["ranks"][0]["wire_bytes_per_step"] == 4 * MIB
    assert found["pipeline"]["bubble"] == pytest.approx(3 / 7)


def test_work_of_512_ranks_is_compared_in_a_moment() -> None:
    result = summarize_ranks([fsdp(r, world_size=512, layers=126) for r in (0, 1, 8, 511)], assume_others=True)
    assert rows(result) == [(0, list(range(512)))]
