"""``trainworthy.guard`` and the callbacks for trainers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import trainworthy as tw
from trainworthy.check.live.guard import GuardError
from trainworthy.errors import TrainworthyError


def train(steps: int, *, clear: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def test_findings_are_printed_once_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    with tw.guard(steps=5) as guard:
        train(8, clear=False)
    assert [f.code for f in guard.findings] == ["TW301"]
    said = capsys.readouterr().err
    assert said.count("TW301") == 1
    assert said.endswith("trainworthy guard: 1 error in 5 steps; it has removed itself.\n")


def test_a_clean_run_says_so_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with tw.guard(steps=20):
        train(3, clear=True)
    assert capsys.readouterr().err == "trainworthy guard: nothing found in 3 steps; it has removed itself.\n"


def test_it_raises_if_it_was_asked_to() -> None:
    with pytest.raises(GuardError, match="TW301") as caught, tw.guard(steps=5, raises="error", quiet=True):
        train(8, clear=False)
    assert caught.value.findings[0].place.line == 24


@pytest.mark.parametrize("first", [0, 12])
def test_a_loss_that_changes_later_is_looked_at_again(first: int) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with tw.guard(steps=20, quiet=True) as guard:
        for step in range(20):
            optimizer.zero_grad()
            scores = model(torch.randn(8, 4))
            if step >= first:
                scores = scores.softmax(1)
            nn.functional.cross_entropy(scores, torch.randint(3, (8,))).backward()
            optimizer.step()
    assert "TW201" in [f.code for f in guard.findings]


def test_memory_that_nobody_wrote_is_no_birthplace(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's own switch: what `empty` returns is then full of NaN, as unwritten memory may be.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    try:
        with tw.guard(steps=5, quiet=True) as guard:
            scratch = torch.empty(8, 4)
            model = nn.Linear(4, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for _ in range(3):
                loss = torch.log(model(torch.randn(8, 4)) - 50).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    finally:
        torch.use_deterministic_algorithms(False)
    assert scratch.isnan().all()
    found = [f for f in guard.findings if f.code == "TW256"]
    assert ["finite up to log" in f.message for f in found] == [True]


def test_there_is_one_guard_at_a_time() -> None:
    with tw.guard(quiet=True), pytest.raises(TrainworthyError, match="one at a time"), tw.guard(quiet=True):
        pass
    with tw.guard(quiet=True):
        train(1, clear=True)


@pytest.mark.filterwarnings("ignore")
def test_the_lightning_callback(tmp_path: Any) -> None:
    lightning = pytest.importorskip("lightning")

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            return (self.layer(batch[0]) - batch[1]).pow(2).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randn(64))
    callback = tw.lightning_guard(steps=6, quiet=True)
    trainer = lightning.Trainer(
        max_steps=10, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Model(), torch.utils.data.DataLoader(data, batch_size=8))
    assert [f.code for f in callback.guard.findings if f.severity == "error"] == ["TW101"]


def test_a_view_shares_the_record_of_what_it_shows() -> None:
    """The logarithm made the NaN, not one of the views and copies after it."""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with tw.guard(steps=2, quiet=True) as guard:
        for _ in range(2):
            optimizer.zero_grad()
            bad = torch.log(model(torch.randn(8, 4)) - 100)
            first, second = bad.view(8, 2, 2).transpose(1, 2).chunk(2, dim=1)
            (first.relu() + second.relu()).mean().backward()
            optimizer.step()
    (found,) = [one for one in guard.facts.nonfinite if one.what == "loss"]
    assert (found.op, found.op_inputs_finite) == ("log", True)


class _Library(nn.Module):
    """Layers that torch calls, several calls below the user's line."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.inner(x)
        second: torch.Tensor = self.inner(first)
        return second + torch.log(first - 100)


def test_lines_are_told_apart_within_one_call_of_a_model() -> None:
    model = _Library()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with tw.guard(steps=2, quiet=True) as guard:
        model(torch.randn(8, 4)).mean().backward()
        lines = {guard._watch.place_of(record.source).line for record in guard._operators.records}
        optimizer.step()
    first = _Library.forward.__code__.co_firstlineno
    here = test_lines_are_told_apart_within_one_call_of_a_model.__code__.co_firstlineno
    assert lines == {first + 1, first + 2, first + 3, here + 4}


def test_running_statistics_are_read_only_where_they_are_used() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    with tw.guard(steps=2, quiet=True) as guard:
        model(torch.randn(8, 4)).mean().backward()
        training = [record.op for record in guard._operators.records]
        guard._operators.forget()
        model.eval()(torch.randn(8, 4)).mean().backward()
        evaluation = [record.op for record in guard._operators.records]
    assert training == ["randn", "linear", "batch_norm", "mean"]
    assert evaluation == ["randn", "linear", "", "", "batch_norm", "mean"]


@pytest.mark.parametrize("overwritten", [False, True])
def test_targets_are_looked_at_when_the_step_ends(overwritten: bool) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with tw.guard(steps=2, quiet=True) as guard:
        targets = torch.randint(3, (8,))
        nn.functional.cross_entropy(model(torch.randn(8, 4)), targets).backward()
        assert guard.facts.targets == []
        if overwritten:
            targets.zero_()
        optimizer.step()
    assert [one.num_counted for one in guard.facts.targets] == ([] if overwritten else [8])


def test_equal_rows_are_found_among_weights_that_begin_alike() -> None:
    """The third weight has equal corners and different rows."""
    second, third = nn.Linear(4, 4), nn.Linear(4, 2)
    model = nn.Sequential(nn.Linear(4, 4), second, third)
    nn.init.constant_(second.weight, 0.5)
    nn.init.constant_(third.weight, 0.5)
    with torch.no_grad():
        third.weight[0, 1:] = 1.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with tw.guard(model, optimizer, steps=2, quiet=True) as guard:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(8, 4))[:, 0].mean().backward()
            optimizer.step()
    assert [step.alike_rows for step in guard.facts.steps] == [(), ()]  # the gradients of their rows differ


def test_rows_that_stay_equal_are_told() -> None:
    first, last = nn.Linear(4, 4), nn.Linear(4, 1, bias=False)
    model = nn.Sequential(first, nn.ReLU(), last)
    nn.init.constant_(first.weight, 0.5)
    nn.init.constant_(last.weight, 0.5)
    nn.init.zeros_(first.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with tw.guard(model, optimizer, steps=2, quiet=True) as guard:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.rand(8, 4)).mean().backward()
            optimizer.step()
    assert [step.alike_rows for step in guard.facts.steps] == [("0.weight",), ("0.weight",)]


def test_an_optimizer_of_another_model_is_no_sign_of_a_window_that_never_fills() -> None:
    """The weights are updated by hand; an optimizer is alive beside them, and its parameters have gradients."""
    other = nn.Linear(4, 3)
    beside = torch.optim.SGD(other.parameters(), lr=0.1)
    other(torch.randn(2, 4)).sum().backward()
    model = nn.Linear(4, 3)
    data = torch.utils.data.TensorDataset(torch.randn(12, 4), torch.randint(3, (12,)))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    with tw.guard(steps=5, quiet=True) as guard:
        for _ in range(4):
            for x, y in loader:
                nn.functional.cross_entropy(model(x), y).backward()
                with torch.no_grad():
                    for parameter in model.parameters():
                        assert parameter.grad is not None
                        parameter.sub_(0.1 * parameter.grad)
                        parameter.grad.zero_()
    assert beside.param_groups
    assert "TW375" not in [one.code for one in guard.findings]
