"""``trainworthy.estimate`` from Python."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import trainworthy
from estimate.hand_made import chain
from trainworthy.errors import UnknownGpuError, UsageError
from trainworthy.estimate.result import Estimate


def make_step() -> Callable[[], None]:
    model = nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 10)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        x, y = torch.randn(64, 256, device="cuda"), torch.randint(10, (64,), device="cuda")
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def test_a_function() -> None:
    found = trainworthy.estimate(make_step, gpu="a100-sxm-80gb")
    assert isinstance(found, Estimate)
    assert found.gpu == "a100-sxm-80gb"
    assert found.step_time_s is not None
    assert found.samples_per_step == 64
    assert found.fits == "yes"
    assert "<svg" in found._repr_html_()


def test_a_rehearsal_on_another_machine() -> None:
    result = trainworthy.rehearse(make_step, gpu="h100-sxm-80gb")
    one, other = trainworthy.estimate(result), trainworthy.estimate(result, gpu="t4-pcie-16gb")
    assert (one.gpu, other.gpu) == ("h100-sxm-80gb", "t4-pcie-16gb")


def test_a_tape_in_both_modes() -> None:
    tape = chain(elements=1 << 26)  # a small one would take longer compiled: calling its graphs costs the host more
    eager = trainworthy.estimate(tape, mode="eager")
    fused = trainworthy.estimate(tape, mode="compiled", what_ifs=False)
    assert eager.step_time_s is not None
    assert fused.step_time_s is not None
    assert fused.step_time_s.expected < eager.step_time_s.expected
    assert fused.what_ifs == ()
    assert eager.source == "tape"
    gains = [round(w.speedup, 2) for w in eager.what_ifs]
    assert gains == sorted(gains, reverse=True)


def test_what_makes_no_sense() -> None:
    with pytest.raises(UnknownGpuError):
        trainworthy.estimate(chain(), gpu="h1000")
    with pytest.raises(UsageError, match="price"):
        trainworthy.estimate(chain(), price_per_hour=-1)


def test_the_name_stays_the_function_when_the_package_is_imported() -> None:
    import trainworthy.estimate.result

    assert callable(trainworthy.estimate)
