"""What several ranks say about the data that they were fed; silent where a note is missing."""

from __future__ import annotations

from typing import Any

from report.cluster_tapes import ddp, fsdp
from trainworthy.inspect.rank_data import batch_findings, data_parallel_ranks
from trainworthy.inspect.result import Finding
from trainworthy.tape.record import Tape

DDP = [{"module": "net", "buckets": [1]}]


def rank(number: int, *, digest: str | None = None, samples: int | None = None, **notes: Any) -> Tape:
    batches = [{"loader": 0, "path": "train.py", "line": 10, "digest": digest, "samples": samples, "step": 1}]
    return ddp(number, **{"ddp": DDP, "batches": batches, **notes})


def found(*tapes: Tape) -> list[Finding]:
    return list(batch_findings({tape.notes["cluster"]["rank"]: tape for tape in tapes}))


def sampler(**more: Any) -> list[dict[str, Any]]:
    return [{"class": "DistributedSampler", "rank": None, "num_replicas": 8, "shuffle": True, "set_epoch_calls": 0,
             "epochs_begun": 1, "path": "train.py", "line": 9, **more}]  # fmt: skip


def test_the_same_samples_on_every_rank() -> None:
    (finding,) = found(rank(0, digest="a"), rank(1, digest="a"), rank(7, digest="a"))
    assert (finding["code"], finding["line"]) == ("TW409", 10)
    assert [place["rank"] for place in finding["ranks"]] == [0, 1]
    assert found(rank(0, digest="a"), rank(1, digest="b")) == []
    assert found(rank(0), rank(1)) == []  # constant or unknown data has no digest
    assert found(rank(0, digest="a", samplers=sampler()), rank(1, digest="a", samplers=sampler())) == []


def test_ranks_that_take_their_part_of_a_batch_by_hand() -> None:
    def cut(number: int) -> Tape:
        batches = [{"loader": 0, "line": 10, "digest": "a", "samples": 64, "step": 1},
                   {"loader": "forward", "line": 12, "digest": None, "samples": 8, "step": 1}]  # fmt: skip
        return ddp(number, ddp=DDP, batches=batches)

    assert found(cut(0), cut(1)) == []


def test_a_sampler_that_takes_every_rank_for_rank_0_divides_nothing() -> None:
    wrong = sampler(rank=0)
    assert [f["code"] for f in found(*(rank(r, digest="a", samplers=wrong) for r in (1, 2)))] == ["TW409"]


def test_ranks_that_are_not_surely_data_parallel_are_not_compared() -> None:
    tapes = [fsdp(r) for r in (0, 1)]
    assert data_parallel_ranks({0: tapes[0], 1: tapes[1]}) == []
    noted = {r: ddp(r, data_parallel=[[0, 1], [2, 3]]) for r in (0, 1, 2)}
    assert data_parallel_ranks(noted) == [0, 1]
    assert data_parallel_ranks({r: rank(r) for r in (0, 5)}) == [0, 5]


def test_batches_of_different_sizes() -> None:
    (finding,) = found(rank(0, samples=32, digest="a"), rank(7, samples=24, digest="b"))
    assert finding["code"] == "TW408"
    assert "32 samples on rank 0, 24 on rank 7" in finding["message"]


def test_the_same_order_every_epoch() -> None:
    (finding,) = found(rank(0, samplers=sampler(epochs_begun=2)))
    assert (finding["code"], finding["line"]) == ("TW402", 9)
    assert found(rank(0, samplers=sampler(epochs_begun=1))) == []  # one epoch needs no set_epoch
    assert found(rank(0, samplers=sampler(epochs_begun=2, set_epoch_calls=2))) == []
    assert found(rank(0, samplers=sampler(epochs_begun=2, shuffle=False))) == []


def test_samples_that_do_not_divide() -> None:
    (padded,) = found(rank(0, samplers=sampler(dataset_size=1001)))
    assert (padded["code"], padded["severity"]) == ("TW408", "note")
    assert "7 are repeated" in padded["message"]
    (dropped,) = found(rank(0, samplers=sampler(dataset_size=1001, drop_last=True)))
    assert "the last 1 are dropped" in dropped["message"]
    assert found(rank(0, samplers=sampler(dataset_size=1000))) == []
