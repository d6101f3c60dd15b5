"""Several ranks: what may be asked for, which ones are run, and what becomes of them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import trainworthy as tw
from report.cluster_tapes import ddp, fsdp, pipeline
from trainworthy._api import rehearse_ranks
from trainworthy._api.rehearse_ranks import Plan, RankRunner, make_plan
from trainworthy.errors import UsageError
from trainworthy.tape.record import Tape
from trainworthy.virtual.script_job import Job, Outcome
from trainworthy.virtual.script_parent import Log

# --- what may be asked for ----------------------------------------------------------------------------------------


def plan(world_size: int, **more: Any) -> Plan:
    asked = {"gpus_per_node": None, "rank": None, "ranks": None, **more}
    found = make_plan(world_size, asked["gpus_per_node"], asked["rank"], asked["ranks"])
    assert found is not None
    return found


def test_defaults() -> None:
    assert make_plan(None, None, None, None) is None
    assert plan(64) == Plan(world_size=64, gpus_per_node=8, ranks="distinct")
    assert plan(3).gpus_per_node == 3
    assert plan(4, gpus_per_node=8).gpus_per_node == 8  # a node that is not full
    assert plan(64, rank=5).ranks == (5,)


@pytest.mark.parametrize(("asked", "ranks"), [
    ("distinct", "distinct"), ("all", (0, 1, 2, 3)), ("0,3", (0, 3)), ("3, 0-1,1", (3, 0, 1)), ([2, 2, 1], (2, 1)),
])  # fmt: skip
def test_ranks(asked: Any, ranks: Any) -> None:
    assert plan(4, ranks=asked).ranks == ranks


@pytest.mark.parametrize(("asked", "said", "where"), [
    ((0, None, None, None), "world of 0 ranks", "--world-size"),
    ((-1, None, None, None), "world of -1 ranks", "--world-size"),
    ((8, 0, None, None), "node of 0 GPUs", "--gpus-per-node"),
    ((12, None, None, None), "12 ranks do not fill nodes of 8 GPUs (the default)", "--gpus-per-node"),
    ((64, 7, None, None), "64 ranks do not fill nodes of 7 GPUs", "--gpus-per-node"),
    ((8, None, 8, None), "no rank 8 in a world of 8", "--rank"),
    ((8, None, -1, None), "no rank -1", "--rank"),
    ((8, None, 0, "all"), "Both --rank and --ranks", "--rank"),
    ((8, None, None, "0,8"), "no rank 8", "--ranks"),
    ((8, None, None, "some"), "'some' is not a rank", "--ranks"),
    ((8, None, None, "3-"), "'3-' is not a rank", "--ranks"),
    ((8, None, None, "5-3"), "No rank is named", "--ranks"),
    ((8, None, None, []), "No rank is named", "--ranks"),
    ((None, None, 0, None), "of how many ranks is not said", "--rank"),
    ((None, None, None, "all"), "of how many ranks is not said", "--ranks"),
    ((None, 8, None, None), "of how many ranks is not said", "--gpus-per-node"),
])  # fmt: skip
def test_what_makes_no_sense(asked: tuple[Any, ...], said: str, where: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_plan(*asked)
    assert said in raised.value.message
    assert raised.value.where == where
    assert raised.value.fix


def test_the_fix_names_nodes_that_fit() -> None:
    with pytest.raises(UsageError) as raised:
        make_plan(12, None, None, None)
    assert "1, 2, 3, 4, 6, 12" in (raised.value.fix or "")


def test_a_function_object_has_no_cluster() -> None:
    with pytest.raises(UsageError, match="runs here, without a cluster"):
        tw.rehearse(lambda: None, world_size=2)


# --- which ones are run -------------------------------------------------------------------------------------------


class Children:
    """Stands in for the processes: gives each rank its tape, and keeps what was asked for."""

    def __init__(self, tapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tape_of = tapes
        self.jobs: list[Job] = []
        self.now = self.most = 0
        self._lock = threading.Lock()
        monkeypatch.setattr(rehearse_ranks, "run_job", self._run)

    def _run(self, job: Job, on_progress: Any) -> tuple[Outcome, Log]:
        with self._lock:
            self.jobs.append(job)
            self.now += 1
            self.most = max(self.most, self.now)
        on_progress({"state": "running", "ops": 1, "steps": 0})
        time.sleep(0.01)
        with self._lock:
            self.now -= 1
        return Outcome(), Log()

    def rehearse(self, plan: Plan, **more: Any) -> rehearse_ranks.RankTapes:
        job = Job(target="train.py", kind="script", scratch="", memory_limit_bytes=1000)
        options: dict[str, Any] = {"on_progress": None, "on_log": None, **more}
        return RankRunner(job, plan, lambda job, outcome: self.tape_of(job.rank), **options).run()


def test_those_that_can_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(fsdp, monkeypatch)
    found = children.rehearse(plan(64))
    assert sorted(found.tapes) == [0, 1, 8, 63]
    assert found.note is None
    assert children.most == 2
    assert {job.memory_limit_bytes for job in children.jobs} == {500}  # shared by two
    assert {(job.world_size, job.gpus_per_node) for job in children.jobs} == {(64, 8)}
    assert len({job.scratch for job in children.jobs}) == 4
    assert not any(Path(job.scratch).exists() for job in children.jobs)


def test_stages_are_followed_from_one_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(lambda rank: pipeline(rank, stages=8), monkeypatch)
    assert sorted(children.rehearse(plan(8)).tapes) == list(range(8))


def test_there_is_an_end_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse_ranks, "MOST_RANKS", 5)
    found = Children(lambda rank: pipeline(rank, stages=16), monkeypatch).rehearse(plan(16))
    assert len(found.tapes) == 5
    assert "5 ranks were rehearsed" in (found.note or "")


def test_a_failure_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def tape(rank: int) -> Tape:
        return ddp(rank, world_size=64, error={"kind": "exception", "message": "no", "path": None, "line": None})

    found = Children(tape, monkeypatch).rehearse(plan(64))
    assert len(found.tapes) < 4
    assert "failed" in (found.note or "")
    assert len(Children(tape, monkeypatch).rehearse(plan(64, ranks="0-3")).tapes) == 4  # asked for by number: all


def test_progress_and_logs_name_their_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    logs: list[Log] = []
    Children(ddp, monkeypatch).rehearse(plan(8, ranks="2,5"), on_progress=seen.append, on_log=logs.append)
    assert {(p["rank"], p["state"]) for p in seen} == {(r, s) for r in (2, 5) for s in ("starting", "running", "done")}
    assert {log.rank for log in logs} == {2, 5}


def test_an_error_ends_the_other_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    def tape(rank: int) -> Tape:
        raise UsageError("no such thing")

    with pytest.raises(UsageError, match="no such thing"):
        Children(tape, monkeypatch).rehearse(plan(64, ranks="all"))


# --- for real -----------------------------------------------------------------------------------------------------

_BRANCH = """\
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
model = DistributedDataParallel(torch.nn.Linear(64, 8).cuda())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(4, 64, device="cuda")).sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if rank == 0:
        dist.all_reduce(loss.detach())
    torch.cuda.synchronize()
"""


@pytest.mark.slow
def test_a_planted_deadlock_is_found_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_BRANCH)
    result = tw.rehearse(tmp_path / "train.py", gpu="h100-sxm-80gb", world_size=4)
    assert result.verdict == "failed"
    assert result.error is not None
    assert result.error["kind"] == "deadlock"
    finding = next(f for f in result.findings if f["code"] == "TW401")
    assert [(place["rank"], place["line"]) for place in finding["ranks"]] == [(0, 17), (1, 12)]
    assert result.cluster is not None
    assert result.cluster.rehearsed == (0, 1, 3)
