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
