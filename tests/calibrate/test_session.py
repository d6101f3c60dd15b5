"""What a session says of what went wrong, and one real probe through it."""

from __future__ import annotations

import pytest
import torch

from estimate.machines import fake_machine
from trainworthy.calibrate import session as session_module
from trainworthy.calibrate.schedule import Taken
from trainworthy.calibrate.session import Session
from trainworthy.calibrate.timing import Timing
from trainworthy.errors import UsageError


def test_what_was_cut_short_is_told_with_the_budget() -> None:
    session = Session(device="cpu", progress=lambda text: None)
    notes = list(session.notes([Taken("rows, fp32", 12, False), Taken("images", 90, True)], budget_s=20))
    assert notes == ["In 20 s not all probes could be made; cut short: rows, fp32 (12)."]


def test_without_trouble_there_is_nothing_to_tell() -> None:
    session = Session(device="cpu", progress=lambda text: None)
    assert not list(session.notes([Taken("images", 90, True)], budget_s=50))


def test_a_probe_is_measured_between_two_looks_at_the_pace() -> None:
    heard: list[str] = []
    session = Session(device="cpu", progress=heard.append)
    x = torch.ones(64)
    for _ in range(2):
        session.begin_turn("elementwise")
        session.measure(lambda: torch.exp(x))
    found = session.at_usual_pace(fake_machine())
    assert heard == ["elementwise"] * 2
    assert len(session.paces) == 2
    assert len(session.faults) == 1
    assert [m.signature.name for m in found] == ["exp", "exp"]
    assert all(m.time_s > 0 for m in found)


@pytest.mark.parametrize(("disturbed", "refused"), [(3, True), (2, False)])
def test_a_busy_machine_is_refused(disturbed: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    timings = [Timing(1e-3, at < disturbed) for at in range(10)]
    monkeypatch.setattr(session_module, "time_call", lambda call, device: timings.pop())
    session, x = Session(device="cpu", progress=lambda text: None), torch.ones(4)
    for _ in range(10):
        session.measure(lambda: torch.exp(x))
    if not refused:
        session.refuse_if_busy()
        return
    with pytest.raises(UsageError, match="30% of 10 probes"):
        session.refuse_if_busy()


def test_a_session_without_a_probe_is_refused() -> None:
    with pytest.raises(UsageError, match="No probe could be made"):
        Session(device="cpu", progress=lambda text: None).refuse_if_busy()
