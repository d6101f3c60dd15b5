"""Runs are killed and their checkpoints spoilt; they go on from the newest that is whole, and end bit-equal.

The short version of ``benchmarks/engine_kills.py`` and ``benchmarks/engine_elastic.py``.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import engine_elastic, engine_kills, engine_runs


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> list[engine_kills.Trial]:
    one, workers, two, *_ = engine_runs.VARIANTS
    kinds = {"SIGTERM": 1, "disk full": 1, "truncated": 1, "flipped bit": 2, "half written": 1}
    trials = engine_kills.plan({"kill -9": 3, **kinds}, [one])
    trials += engine_kills.plan({"kill -9": 1, "SIGTERM": 1}, [two]) + engine_kills.plan({"kill -9": 1}, [workers])
    engine_kills.run(trials, tmp_path_factory.mktemp("kills"), say=lambda text: None)
    return trials


def test_every_run_goes_on_from_the_newest_whole_checkpoint_and_ends_bit_equal(
    result: list[engine_kills.Trial],
) -> None:
    assert [trial.problems for trial in result] == [[]] * len(result)
    assert all(trial.equal and trial.resumed == trial.newest for trial in result)


def test_the_runs_were_hit_and_mostly_had_something_to_go_on_from(result: list[engine_kills.Trial]) -> None:
    assert all(trial.done for trial in result)
    assert all(trial.resumed is not None for trial in result if trial.kind not in {"kill -9"})


def test_workers_and_background_saves_change_no_bit(tmp_path: Path) -> None:
    one, workers, *_ = engine_runs.VARIANTS.values()
    digests = {engine_kills.reference(each, tmp_path / each.name).digest for each in (one, workers)}
    assert len(digests) == 1


@pytest.mark.slow
def test_killing_one_of_three_ranks_is_survived_without_help(tmp_path: Path) -> None:
    three = engine_runs.Variant("three processes", engine_elastic.RANKS, engine_elastic.OPTIONS)
    whole = engine_kills.reference(three, tmp_path / "whole")
    ended = engine_elastic.disturbed(tmp_path / "killed", random.Random(5))
    assert ended["code"] == 0, (tmp_path / "killed" / "log").read_text()
    assert ended["restarts"] == 1
    assert ended["resumed"] is not None
    assert ended["digest"] == whole.digest
    assert engine_runs.metrics(tmp_path / "killed") == whole.metrics
