"""Whole runs in this process: what they write, how they stop, how they go on."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from train import programs
from trainworthy.errors import TrainError, UsageError
from trainworthy.train import schedules
from trainworthy.train.engine import train
from trainworthy.train.journal import read_rows
from trainworthy.train.recipe import Loss, Mean, Phase, Quality, Recipe, TrainOptions


def changed(recipe: Recipe, **options: Any) -> Recipe:
    return replace(recipe, options=replace(recipe.options, **options))


class Noisy(Dataset[Any]):
    """Samples that draw random numbers."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return torch.full((4,), float(index)) / 20 + 0.1 * torch.randn(4), torch.tensor(float(index % 3))


def squares(model: nn.Module, batch: Any) -> Loss:
    x, y = batch
    error = (model(x).squeeze(-1) - y).square().sum()
    return Loss(total=error, weight=len(x), metrics={"error": Mean(total=error.detach(), weight=len(x))})


def noisy_recipe(**options: Any) -> Recipe:
    """Return a recipe with everything that has a state."""
    return Recipe(
        model=lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1)),
        phases=(
            Phase(
                loss=squares,
                optimizer=programs.adamw,
                clip_norm=1.0,
                schedule=schedules.plateau(patience=1, factor=0.5),
            ),
        ),
        train_data=Noisy(),
        validation_data=Noisy(),
        options=TrainOptions(
            **{"epochs": 4, "batch_size": 8, "micro_batch_size": 2, "ema_decay": 0.9, "tensorboard": False,
               "log_every": 4, "evaluate_every": 3, **options}
        ),
    )  # fmt: skip


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    timed = ("step_s", "samples_per_s", "items_per_s")
    return [{k: v for k, v in row.items() if k not in timed} for row in read_rows(folder) if row["kind"] == kind]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Stopper:
    """Sends this process a signal in the forward pass of a step."""

    def __init__(self, model: nn.Module, at: int) -> None:
        self.left = at
        model.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, _inputs: Any) -> None:
        if module.training:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("at", [2, 8, 14, 25])
@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_goes_on_after_a_signal_as_if_nothing_had_been(tmp_path: Path, at: int, name: str) -> None:
    recipe = noisy_recipe(precision=name)
    whole, outcome = programs.trained(recipe, tmp_path / "whole")

    def stopping() -> nn.Module:
        model = recipe.model()
        Stopper(model, at)
        return model

    _, first = programs.trained(replace(recipe, model=stopping), tmp_path / "parts")
    assert (first.stopped_by, first.exit_code) == ("SIGTERM", 143)
    assert first.step < outcome.step == 12
    again, second = programs.trained(recipe, tmp_path / "parts")
    assert same(whole, again)
    assert second.metrics == outcome.metrics
    assert second.best == outcome.best
    for kind in ("train", "evaluation", "end"):
        assert rows(tmp_path / "parts", kind) == rows(tmp_path / "whole", kind)


def test_a_run_that_has_ended_is_not_trained_again(tmp_path: Path) -> None:
    recipe = noisy_recipe()
    one, first = programs.trained(recipe, tmp_path)
    other, second = programs.trained(recipe, tmp_path)
    assert same(one, other)
    assert (second.step, second.metrics) == (first.step, first.metrics)


def test_rows(tmp_path: Path) -> None:
    train(words := programs.words_recipe(epochs=2, log_every=2), folder=tmp_path, quiet=True)
    assert words.options.batch_size == 12
    train_rows = [row for row in read_rows(tmp_path) if row["kind"] == "train"]
    assert [row["step"] for row in train_rows] == [2, 4]
    assert set(train_rows[0]) == {
        "kind", "step", "epoch", "loss", "accuracy", "grad_norm", "lr", "step_s", "samples_per_s", "items_per_s"
    }  # fmt: skip
    assert [row["step"] for row in read_rows(tmp_path) if row["kind"] == "evaluation"] == [2, 4]
    assert read_rows(tmp_path)[-1]["kind"] == "end"


def test_throughput_and_mfu(tmp_path: Path) -> None:
    train(programs.words_recipe(), folder=tmp_path, quiet=True, flops_per_step=1e6, peak_flops_per_s=1e9)
    row = rows(tmp_path, "train")[0]
    assert row["mfu"] == pytest.approx(row["flops_per_s"] / 1e9)


def test_equal_to_a_loop_by_hand(tmp_path: Path) -> None:
    recipe = programs.words_recipe(epochs=3, batch_size=24, optimizer=programs.adamw, clip_norm=0.5)
    weights, _ = programs.trained(recipe, tmp_path)
    from trainworthy.train.randomness import initialising, order

    data: Any = recipe.train_data
    with initialising(0):
        model = programs.Net()
    optimizer = programs.adamw(list(model.named_parameters()))
    for epoch in range(3):
        rows_now = order(0, epoch, 24)
        x, y = data.x[rows_now], data.y[rows_now]
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=programs.PAD)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    for name, each in model.state_dict().items():
        torch.testing.assert_close(weights[name], each, rtol=1e-5, atol=1e-6)


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = nn.Linear(2, 4), nn.Linear(4, 1)


def gan_recipe(**options: Any) -> Recipe:
    def critic_loss(model: Any, batch: Any) -> Loss:
        (real,) = batch
        fake = model.generator(torch.randn(len(real), 2)).detach()
        total = nn.functional.softplus(-model.critic(real)).sum() + nn.functional.softplus(model.critic(fake)).sum()
        return Loss(total=total)

    def generator_loss(model: Any, batch: Any) -> Loss:
        fake = model.generator(torch.randn(len(batch[0]), 2))
        return Loss(total=nn.functional.softplus(-model.critic(fake)).sum())

    def part(name: str) -> Any:
        return lambda model: [(k, p) for k, p in model.named_parameters() if k.startswith(name)]

    return Recipe(
        model=Gan,
        phases=(
            Phase(name="critic", loss=critic_loss, optimizer=programs.adamw, parameters=part("critic"), clip_norm=1.0),
            Phase(name="generator", loss=generator_loss, optimizer=programs.sgd, parameters=part("generator"), every=2),
        ),
        train_data=TensorDataset(torch.randn(12, 4, generator=torch.Generator().manual_seed(0))),
        options=TrainOptions(**{"batch_size": 4, "tensorboard": False, "log_every": 2, **options}),
    )


def test_several_optimizers(tmp_path: Path) -> None:
    train(gan_recipe(steps=4), folder=tmp_path, quiet=True)
    row = rows(tmp_path, "train")[-1]
    assert {"critic/loss", "critic/grad_norm", "critic/lr", "generator/loss", "generator/lr"} <= set(row)
    weights, _ = programs.trained(gan_recipe(steps=2, epochs=1), tmp_path / "two")
    after_one, _ = programs.trained(gan_recipe(steps=1), tmp_path / "one")
    moved = {name.split(".")[0] for name in weights if not torch.equal(weights[name], after_one[name])}
    assert moved == {"critic"}  # the generator trains in every second step, beginning with the first


def test_learns_a_few_batches_by_heart(tmp_path: Path) -> None:
    recipe = programs.words_recipe(
        steps=150, overfit_batches=1, batch_size=2, checkpoint_every=0, optimizer=programs.adamw
    )
    outcome = train(replace(recipe, validation_data=None), folder=tmp_path, quiet=True)
    assert rows(tmp_path, "train")[-1]["loss"] < 0.1
    assert outcome.metrics == {}


def test_stops_early(tmp_path: Path) -> None:
    recipe = changed(programs.words_recipe(steps=50), evaluate_every=1, early_stopping_patience=2)
    worse = iter(range(100))

    def evaluate(model: nn.Module, batch: Any) -> Loss:
        return Loss(total=torch.tensor(float(next(worse))), weight=1)

    outcome = train(replace(recipe, evaluate=evaluate), folder=tmp_path, quiet=True)
    assert (outcome.stopped_by, outcome.step, outcome.best["step"]) == ("early stopping", 3, 1)
    assert outcome.exit_code == 0


def test_stops_in_time_and_goes_on(tmp_path: Path) -> None:
    recipe = programs.words_recipe(epochs=2)
    first = train(changed(recipe, max_time_s=1e-9), folder=tmp_path, quiet=True)
    assert (first.stopped_by, first.exit_code, first.step) == ("the time limit", 143, 1)
    assert train(recipe, folder=tmp_path, quiet=True).step == 4


def test_the_last_word_is_the_averages(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def finish(model: nn.Module) -> dict[str, float]:
        seen.update(training=model.training, weight=next(model.parameters()).detach().clone())
        return {"answer": 42.0}

    recipe = replace(programs.words_recipe(ema_decay=0.5), finish=finish, quality=Quality(metric="answer", at_least=40))
    weights, outcome = programs.trained(recipe, tmp_path)
    assert (outcome.results, outcome.quality_met, seen["training"]) == ({"answer": 42.0}, True, False)
    assert not torch.equal(seen["weight"], weights["first.weight"])


def test_nan_names_step_samples_and_module(tmp_path: Path) -> None:
    class Breaks(programs.Block):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / (0.0 if self.training else 1.0)

    def model() -> nn.Module:
        net = programs.Net()
        net.blocks[1] = Breaks(16)
        return net

    recipe = replace(programs.words_recipe(batch_size=3, micro_batch_size=2), model=model)
    with pytest.raises(TrainError) as caught:
        train(recipe, folder=tmp_path, quiet=True)
    text = str(caught.value)
    assert "The loss is nan" in text
    assert "step 0, phase 'train', samples " in text
    assert "micro-batch 0: module blocks.1 (Breaks): its output holds" in text
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_a_step_without_items(tmp_path: Path) -> None:
    recipe = replace(programs.words_recipe(), count=lambda batch: 0)
    with pytest.raises(TrainError, match="Step 0 has no items to count"):
        train(recipe, folder=tmp_path, quiet=True)


def test_says_what_no_phase_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = programs.words_recipe()
    phase = replace(recipe.phases[0], parameters=lambda model: list(model.named_parameters())[2:])
    train(replace(recipe, phases=(phase,)), folder=tmp_path, quiet=True)
    assert "warning: no phase trains first.weight, first.bias; give them to one" in capsys.readouterr().err


def test_deterministic_is_put_back(tmp_path: Path) -> None:
    inside = []

    def model() -> nn.Module:
        inside.append(torch.are_deterministic_algorithms_enabled())
        return programs.Net()

    train(replace(programs.words_recipe(deterministic=True), model=model), folder=tmp_path, quiet=True)
    assert inside == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_checkpointed_blocks_change_nothing(tmp_path: Path) -> None:
    one, _ = programs.trained(programs.words_recipe(), tmp_path / "a")
    for kind in ("full", "alternate"):
        other, _ = programs.trained(programs.words_recipe(activation_checkpointing=kind), tmp_path / kind)
        assert same(one, other)


def test_checkpointing_needs_blocks(tmp_path: Path) -> None:
    recipe = replace(programs.words_recipe(activation_checkpointing="full"), blocks=None)
    with pytest.raises(UsageError, match="the recipe names no blocks"):
        train(recipe, folder=tmp_path, quiet=True)


def test_profile_window(tmp_path: Path) -> None:
    train(programs.words_recipe(epochs=2, profile_steps="1:2"), folder=tmp_path, quiet=True)
    events = json.loads((tmp_path / "trace-rank0.json").read_text())["traceEvents"]
    assert any("Optimizer.step" in str(event.get("name")) for event in events)


def test_phases_need_names_of_their_own(tmp_path: Path) -> None:
    recipe = programs.words_recipe()
    with pytest.raises(UsageError, match="each its own name"):
        train(replace(recipe, phases=recipe.phases * 2), folder=tmp_path, quiet=True)


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    recipe = programs.words_recipe()
    train(recipe, folder=tmp_path, quiet=True)
    with pytest.raises(TrainError, match=r"belongs to another model\. of another shape: blocks\.0\.down\.bias, "):
        train(replace(recipe, model=lambda: programs.Net(8)), folder=tmp_path, quiet=True)


def test_watchers_are_left_with_the_error(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watch:
        def __enter__(self) -> None:
            seen.append("in")

        def __exit__(self, kind: Any, *_: object) -> None:
            seen.append(kind)

    recipe = replace(programs.words_recipe(), count=lambda batch: 0)
    with pytest.raises(TrainError):
        train(recipe, folder=tmp_path, quiet=True, watchers=(lambda model, optimizers: Watch(),))
    assert seen == ["in", TrainError]


def test_the_guard_of_check_watches_the_engine(tmp_path: Path) -> None:
    import trainworthy as tw

    guards: list[Any] = []

    def watch(model: nn.Module, optimizers: Any) -> Any:
        guards.append(tw.guard(model, *optimizers, steps=3, quiet=True))
        return guards[0]

    weights, _ = programs.trained(programs.words_recipe(epochs=2), tmp_path / "a")
    keep = programs.Keep()
    recipe = programs.words_recipe(epochs=2)
    train(recipe, folder=tmp_path / "b", watchers=(keep, watch), quiet=True)
    assert keep.weights is not None
    assert same(weights, keep.weights)
    assert guards[0].facts.num_steps == 3
    assert not [finding.code for finding in guards[0].findings if finding.severity == "error"]


def test_loss_goes_down(tmp_path: Path) -> None:
    train(
        programs.words_recipe(epochs=30, checkpoint_every=0, evaluate_every=0, optimizer=programs.adamw),
        folder=tmp_path,
        quiet=True,
    )
    losses = [row["loss"] for row in rows(tmp_path, "train")]
    assert losses[-1] < 0.9 * losses[0]
    assert all(math.isfinite(each) for each in losses)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
