"""The recipe of the documentation runs, and every option is described."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from trainworthy.train import Loss, TrainOptions, train

ROOT = Path(__file__).resolve().parents[2]


def test_the_first_recipe_of_the_docs_learns(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "train.md").read_text(), re.DOTALL)[0]
    assert len(code.splitlines()) < 40
    names: dict[str, Any] = {}
    exec(compile(code, "my_recipe.py", "exec"), names)
    made = names["recipe"]()
    options = dataclasses.replace(made.options, epochs=4, tensorboard=False)
    outcome = train(dataclasses.replace(made, options=options), folder=tmp_path, quiet=True)
    assert outcome.best["accuracy"] > 0.8


def test_every_option_is_described() -> None:
    described = re.findall(r"^    +(\w+): ", TrainOptions.__doc__ or "", re.MULTILINE)
    assert described == [field.name for field in dataclasses.fields(TrainOptions)]


def test_a_mean_becomes_a_sum() -> None:
    loss = Loss.of_mean(torch.tensor(0.5), weight=8)
    assert (loss.total, loss.weight, loss.metrics) == (torch.tensor(4.0), 8, {})
