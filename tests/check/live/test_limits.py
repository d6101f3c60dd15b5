"""A look within its limit of time; other alarms go on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from check.live.run import guarded, plainly, same
from trainworthy.check.live import limits
from trainworthy.check.live.limits import LookTooLongError, in_time, limit_s

SLOW_IN_EVALUATION = """\
import time
import torch
from torch import nn

torch.manual_seed(0)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        x = self.layer(x)
        if not self.training:
            try:
                while True:
                    time.sleep(0.01)
            except Exception:
                pass
        return x


model = Detector()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randint(4, (64,)))
for inputs, targets in torch.utils.data.DataLoader(data, batch_size=8):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
result = [p.detach() for p in model.parameters()]
"""


@pytest.fixture(autouse=True)
def without_alarm() -> Iterator[None]:
    """Take away the alarm of a test's own time limit, and see that none is left."""
    alarm, handler = signal.setitimer(signal.ITIMER_REAL, 0), signal.getsignal(signal.SIGALRM)
    try:
        yield
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *alarm)


def endless() -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:  # an alarm is none of the function's errors
            break


def test_a_function_that_ends_gives_its_result() -> None:
    assert in_time(5.0, divmod, 7, 2) == (3, 1)


def test_a_function_that_fails_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        in_time(5.0, divmod, 7, 0)


def test_a_function_that_does_not_end_is_stopped() -> None:
    with pytest.raises(LookTooLongError, match=r"longer than 0\.05 s"):
        in_time(0.05, endless)


def test_another_alarm_goes_on_afterwards() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(LookTooLongError):
            in_time(0.05, endless)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 0.3
        assert not rung
        while not rung:
            time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_that_is_due_earlier_rings_within_the_look() -> None:
    class DueError(Exception):
        pass

    def ring(number: int, frame: object) -> None:
        raise DueError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(DueError):
            in_time(5.0, time.sleep, 3.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_in_another_thread_there_is_no_limit() -> None:
    found: list[str] = []

    def whole() -> str:
        time.sleep(0.05)
        return "whole"

    thread = threading.Thread(target=lambda: found.append(in_time(0.01, whole)))
    thread.start()
    thread.join()
    assert found == ["whole"]


def test_the_limit_is_a_few_steps_long() -> None:
    assert limit_s(time.perf_counter()) == limits.LEAST_LIMIT_S
    assert limit_s(time.perf_counter() - 100.0) == pytest.approx(300.0, rel=0.01)


def test_a_model_that_takes_for_ever_to_evaluate_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEAST_LIMIT_S", 0.2)
    expected = plainly(SLOW_IN_EVALUATION, tmp_path / "plain.py")["result"]
    seen, names = guarded(SLOW_IN_EVALUATION, tmp_path / "guarded.py", steps=3)
    assert all(same(a, b) for a, b in zip(expected, names["result"], strict=True))
    assert [(one.look, one.error.partition(":")[0]) for one in seen.left_out] == [("probes", "LookTooLongError")]
    assert not seen.failed
