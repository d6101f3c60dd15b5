from __future__ import annotations

import math

import pytest

from trainworthy.errors import TrainError
from trainworthy.train.outcome import Best, quality_met
from trainworthy.train.recipe import Quality


@pytest.mark.parametrize(
    ("highest", "values", "best", "since"),
    [
        (False, [3.0, 2.0, 2.5, 2.0], 2.0, 2),
        (True, [0.1, 0.3, 0.2], 0.3, 1),
        (False, [math.nan, 1.0, math.nan], 1.0, 1),
        (True, [math.nan], None, 1),
    ],
)
def test_keeps_the_best(highest: bool, values: list[float], best: float | None, since: int) -> None:
    own = Best("m", highest)
    for step, value in enumerate(values):
        own.take({"m": value, "other": 0.0}, step)
    assert (own.value, own.since) == (best, since)
    other = Best("m", highest)
    other.load_state_dict(own.state_dict())
    assert other == own


def test_names_the_metrics_that_there_are() -> None:
    with pytest.raises(TrainError, match=r"no metric 'acc'. It has: accuracy, loss"):
        Best("acc", True).take({"loss": 1.0, "accuracy": 0.5}, 1)


def test_quality() -> None:
    assert quality_met(None, {}) is None
    assert quality_met(Quality(metric="m", at_least=0.5), {"m": 0.5}) is True
    assert quality_met(Quality(metric="m", at_most=0.5), {"m": 0.6}) is False
    assert quality_met(Quality(metric="m", at_most=0.5), {"m": math.nan}) is False
    with pytest.raises(TrainError, match=r"about 'm'. There is: nothing"):
        quality_met(Quality(metric="m"), {})
