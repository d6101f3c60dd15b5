"""The harness itself: results by rank, tapes, and failures that say which rank failed first and where."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from distributed.gloo import GlooError, record_function, record_script, run_ranks

LIMIT_S = 30.0


def sum_of_ranks() -> tuple[str, float]:
    dist.init_process_group("gloo")
    x = torch.full((3,), float(dist.get_rank()))
    dist.all_reduce(x)
    return os.environ["RANK"], x[0].item()


def fail_on(rank: int) -> None:
    dist.init_process_group("gloo")
    if dist.get_rank() == rank:
        raise ValueError("the fault that counts")
    dist.barrier()


def hang_on(rank: int) -> None:
    dist.init_process_group("gloo")
    if dist.get_rank() == rank:
        time.sleep(3600)
    dist.barrier()


def die_on(rank: int) -> None:
    if int(os.environ["RANK"]) == rank:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)


def test_results_come_by_rank(tmp_path: Path) -> None:
    assert run_ranks(sum_of_ranks, 3, tmp_path, limit_s=LIMIT_S) == [("0", 3.0), ("1", 3.0), ("2", 3.0)]


def test_each_rank_has_a_tape(tmp_path: Path) -> None:
    tapes = record_function(sum_of_ranks, 2, tmp_path, limit_s=LIMIT_S)
    assert [tape.device for tape in tapes] == ["cpu", "cpu"]
    assert all("full" in {op.name for op in tape.ops} for tape in tapes)


def test_script_has_its_arguments_and_torchruns_variables(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys, torch, neighbour\n"
        "assert sys.argv[1:] == ['--lr', '0.1'] and __name__ == '__main__'\n"
        "rank, size = (int(os.environ[name]) for name in ('RANK', 'WORLD_SIZE'))\n"
        "print(neighbour.name, torch.ones(1 + rank).sum().item())\n"
        "sys.exit(0)\n"
    )
    (tmp_path / "neighbour.py").write_text("name = 'beside'\n")
    tapes = record_script(script, 2, tmp_path / "out", args=("--lr", "0.1"), limit_s=LIMIT_S)
    assert [next(op.outputs[0].shape for op in t.ops if op.name == "ones") for t in tapes] == [(1,), (2,)]
    assert (tmp_path / "out" / "rank1.log").read_text() == "beside 2.0\n"


def test_first_failure_is_told_last(tmp_path: Path) -> None:
    with pytest.raises(GlooError) as caught:
        run_ranks(partial(fail_on, 1), 2, tmp_path, limit_s=LIMIT_S)
    story = str(caught.value)
    assert story.endswith("ValueError: the fault that counts")
    assert "rank 0" in story
    assert story.index("rank 0") < story.index("rank 1 failed")


def test_a_hang_is_ended_and_says_where_everyone_stood(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(GlooError, match=r"(?s)rank 0 had not ended after 2 s.*barrier.*") as caught:
        run_ranks(partial(hang_on, 1), 2, tmp_path, limit_s=2.0)
    assert time.monotonic() - began < 20
    assert "in hang_on" in str(caught.value)


def test_a_death_without_traceback_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(GlooError, match=r"(?s)rank 1 died with exit code -6.*last words"):
        run_ranks(partial(die_on, 1), 2, tmp_path, limit_s=LIMIT_S)
