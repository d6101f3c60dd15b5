"""What a pipeline asks of a recipe; pipelines of real processes are in test_spread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from train import programs
from trainworthy.errors import UsageError
from trainworthy.train.layout import Layout
from trainworthy.train.pipeline import cut
from trainworthy.train.precision import precision


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"pipeline_split": None}, {}, "does not say where to cut"),
        ({"pipeline_split": lambda model, stages: ["a", "b"]}, {}, "2 stages need 1 names of blocks"),
        ({}, {"distributed": "fsdp"}, "goes together with replicas of data only"),
    ],
)
def test_what_a_recipe_has_to_say(change: Any, options: Any, message: str) -> None:
    recipe = replace(programs.words_recipe(**options), **change)
    layout = Layout(world=2, pipeline=2)
    with pytest.raises(UsageError, match=message):
        cut(programs.Net(), recipe, layout, precision("fp32", torch.device("cpu")), None)
