"""Runs of several real processes against the same run in one: replicas, shards, shared layers, stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distributed import gloo
from train import programs
from train.test_engine import gan_recipe
from trainworthy.errors import TrainError, UsageError
from trainworthy.train.engine import train
from trainworthy.train.layout import Layout
from trainworthy.train.recipe import Recipe
from trainworthy.train.spread import _check_divisible

Case = Callable[..., Recipe]
uneven = partial(
    programs.words_recipe, epochs=2, batch_size=7, micro_batch_size=2, optimizer=programs.adamw, clip_norm=0.3
)
CASES: dict[int, dict[str, Case]] = {
    2: {
        "replicas": partial(uneven, ema_decay=0.9),
        "small batches": partial(programs.words_recipe, size=5, batch_size=3, clip_norm=0.3),
        "gan": partial(gan_recipe, steps=3, checkpoint_every=1),
        "fsdp": partial(uneven, distributed="fsdp", ema_decay=0.9),
        "fsdp bf16": partial(uneven, distributed="fsdp", precision="bf16"),
        "fsdp checkpointed": partial(uneven, distributed="fsdp", activation_checkpointing="full"),
        "tensor": partial(uneven, tensor_parallel=2),
        "stages": partial(uneven, pipeline_parallel=2, ema_decay=0.9),
    },
    3: {"replicas": uneven, "fsdp": partial(uneven, distributed="fsdp")},
    4: {
        "tensor and fsdp": partial(uneven, tensor_parallel=2),
        "stages and replicas": partial(uneven, pipeline_parallel=2),
    },
}


def alone(case: Case) -> Recipe:
    recipe = case()
    return replace(recipe, options=replace(recipe.options, tensor_parallel=1, pipeline_parallel=1))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """Return what each rank has in the end, by number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    return {
        ranks: gloo.run_ranks(
            partial(programs.on_ranks, cases, folder / str(ranks)), ranks, folder / f"log{ranks}", limit_s=120
        )
        for ranks, cases in CASES.items()
    }


@pytest.mark.parametrize(
    ("ranks", "name"), [(ranks, name) for ranks, cases in CASES.items() for name in cases if name != "gan"]
)
def test_equal_to_one_process(results: dict[int, list[dict[str, Any]]], ranks: int, name: str, tmp_path: Path) -> None:
    weights, outcome = programs.trained(alone(CASES[ranks][name]), tmp_path)
    covered = set()
    limit = 2e-2 if "bf16" in name else 1e-6
    for on_rank in results[ranks]:
        own, metrics, step = on_rank[name]
        covered |= own.keys()
        for key, value in own.items():
            assert (value - weights[key]).norm() <= limit * weights[key].norm(), key
        assert metrics == pytest.approx(dict(outcome.metrics), rel=limit)
        assert step == outcome.step
    assert covered == weights.keys()


def test_two_optimizers_keep_replicas_alike(results: dict[int, list[dict[str, Any]]]) -> None:
    one, other = (on_rank["gan"][0] for on_rank in results[2])
    assert all(torch.equal(one[name], other[name]) for name in one)


RESUMED = ("replicas", "fsdp", "tensor", "stages")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with runs of which two ranks did the first of two epochs."""
    folder = tmp_path_factory.mktemp("begun")
    cases = {name: partial(CASES[2][name], epochs=1) for name in RESUMED}
    gloo.run_ranks(partial(programs.on_ranks, cases, folder), 2, folder / "log", limit_s=120)
    return folder


@pytest.mark.parametrize("name", RESUMED)
def test_what_several_ranks_saved_one_process_goes_on_from(name: str, begun: Path, tmp_path: Path) -> None:
    weights, outcome = programs.trained(alone(CASES[2][name]), begun / name)
    whole, _ = programs.trained(alone(CASES[2][name]), tmp_path / "whole")
    assert outcome.resumed_from is not None
    for key, value in weights.items():
        assert (value - whole[key]).norm() <= 1e-6 * whole[key].norm(), key


class Own(nn.Linear):
    """A layer that every process makes another."""

    def reset_parameters(self) -> None:
        import os

        nn.init.constant_(self.weight, float(os.environ.get("RANK", "0")))
        nn.init.zeros_(self.bias)


def _own_model(folder: Path) -> str:
    recipe = replace(programs.words_recipe(), model=lambda: nn.Sequential(nn.Linear(8, 5), Own(5, 5)), blocks=None)
    return _error_of(recipe, folder)


def _nan_on_one(folder: Path, options: dict[str, Any]) -> str:
    import os

    def loss(model: nn.Module, batch: Any) -> Any:
        found = programs.token_loss(model, batch)
        return replace(found, total=found.total * float("nan")) if os.environ["RANK"] == "1" else found

    recipe = programs.words_recipe(**options)
    return _error_of(replace(recipe, phases=(replace(recipe.phases[0], loss=loss),)), folder)


def _error_of(recipe: Recipe, folder: Path) -> str:
    try:
        train(recipe, folder=folder, quiet=True)
    except TrainError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("distributed", ["ddp", "fsdp"])
def test_every_rank_tells_whose_loss_was_not_finite(tmp_path: Path, distributed: str) -> None:
    run = partial(_nan_on_one, tmp_path / "run", {"distributed": distributed})
    for text in gloo.run_ranks(run, 2, tmp_path / "log", limit_s=120):
        assert "step 0, phase 'train', rank 1, samples" in text
        assert "First not finite is the loss function" in text


def test_weights_that_differ_between_ranks_are_refused(tmp_path: Path) -> None:
    for text in gloo.run_ranks(partial(_own_model, tmp_path / "run"), 2, tmp_path / "log"):
        assert text.startswith("The initial weights of rank 1 differ from those of rank 0, first in 1.weight.")


def test_layers_that_cannot_be_shared() -> None:
    class ColwiseParallel:
        pass

    plan = {"0": ColwiseParallel()}
    with pytest.raises(UsageError, match="0 has out_features 7, which 2 ranks cannot share evenly"):
        _check_divisible(nn.Sequential(nn.Linear(8, 7)), plan, 2)
    _check_divisible(nn.Sequential(nn.Linear(8, 6)), plan, 2)
    _check_divisible(nn.Sequential(nn.Linear(8, 7)), {"layers.*": ColwiseParallel()}, 2)


def test_alone_there_is_nothing_to_say() -> None:
    layout = Layout()
    assert layout.gather([1.0]) == [[1.0]]
    assert layout.gather_objects("word") == ["word"]
    assert torch.equal(layout.sum(torch.ones(2)), torch.ones(2))
    assert (layout.data_rank, layout.first) == (0, True)
