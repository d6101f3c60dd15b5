"""Where torch's losses take ``size_average``: what TW233 knows, against torch's own signatures and results."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainworthy.check.rules.reduction_as_size_average import FUNCTIONS, MODULES


@pytest.mark.parametrize(("name", "place"), MODULES.items())
def test_modules_take_it_there(name: str, place: int) -> None:
    assert list(inspect.signature(getattr(nn, name)).parameters)[place] == "size_average"


@pytest.mark.parametrize(("name", "place"), FUNCTIONS.items())
def test_functions_take_it_there(name: str, place: int) -> None:
    assert list(inspect.signature(getattr(F, name)).parameters)[place] == "size_average"


@pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated")
@pytest.mark.parametrize("asked", ["sum", "none", "mean", "batchmean"])
def test_any_text_means_the_mean(asked: Any) -> None:
    x, y = torch.rand(4, 3), torch.rand(4, 3)
    for given in (nn.MSELoss(asked)(x, y), F.mse_loss(x, y, asked)):
        assert torch.equal(given, F.mse_loss(x, y, reduction="mean"))
