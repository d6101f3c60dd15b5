"""A look that fails by itself is said, and harms nobody: the training goes on to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from check.live.programs import PROGRAMS
from check.live.run import guarded, plainly, same
from check.live.test_no_harm import SEAMS
from trainworthy.check.live import backward, clipping, guard, loaders, modules, operators, optimizers, probes, signals
from trainworthy.check.live.command import check_live
from trainworthy.check.live.facts_setup import LeftOut
from trainworthy.check.rule import Rule
from trainworthy.cli import main
from trainworthy.report.guard_text import render_guard

PROGRAM = PROGRAMS["plain"]


def planted(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("planted\nwith a second line")


@pytest.mark.parametrize(("owner", "name", "look"), [(probes, "_run", "probes"), (signals, "_look", "signals")])
def test_a_look_that_fails_is_left_out_and_listed(
    owner: Any, name: str, look: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plainly(PROGRAM, tmp_path / "plain.py")["result"]
    monkeypatch.setattr(owner, name, planted)
    seen, names = guarded(PROGRAM, tmp_path / "guarded.py", steps=10)
    assert all(same(a, b) for a, b in zip(expected, names["result"], strict=True))
    assert seen.left_out == (LeftOut(look=look, error="ValueError: planted"),)
    assert not seen.failed
    said = render_guard(seen.findings, steps=seen.facts.num_steps, left_out=seen.left_out)
    assert said.splitlines()[0] == f"left out: {look} (ValueError: planted)"


CORE: list[tuple[Any, str, str, str]] = [
    (operators.OperatorWatch, "_see", "operations", "plain"),
    (modules.ModuleWatch, "_root", "calls of models", "plain"),
    (backward.BackwardWatch, "_before", "backward passes", "plain"),
    (backward.BackwardWatch, "_after", "backward passes", "plain"),
    (optimizers.OptimizerWatch, "_look_before", "optimizer steps", "plain"),
    (optimizers.OptimizerWatch, "_look_after", "optimizer steps", "plain"),
    (loaders.LoaderWatch, "_gives", "loaders", "loader with workers"),
    (clipping.ClipWatch, "_note", "clipping", "scaler"),
    (guard.Guard, "_finish", "the end of the look", "plain"),
]  # fmt: skip


@pytest.mark.parametrize("core", CORE, ids=lambda core: core[1])
@pytest.mark.parametrize("times_well", [0, 2])
def test_when_a_look_fails_that_others_build_on_nothing_is_concluded(
    core: tuple[Any, str, str, str], times_well: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, look, program = core
    before = {seam: read() for seam, read in SEAMS.items()}
    expected = plainly(PROGRAMS[program], tmp_path / "plain.py")["result"]
    well = 0 if name == "_finish" else times_well
    monkeypatch.setattr(owner, name, failing_after(getattr(owner, name), well))
    seen, names = guarded(PROGRAMS[program], tmp_path / "guarded.py", steps=10)
    assert all(same(a, b) for a, b in zip(expected, names["result"], strict=True))
    assert {seam: read() for seam, read in SEAMS.items()} == before
    assert (seen.failed, seen.findings) == (True, ())
    assert [one.look for one in seen.left_out] == [look]
    said = render_guard((), steps=seen.facts.num_steps, left_out=seen.left_out, failed=True)
    assert said.splitlines()[-1].endswith("and concludes nothing; it has removed itself.")


def failing_after(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    calls = 0

    def replaced(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return planted() if calls > times else function(*args, **kwargs)

    return replaced


def test_a_rule_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Rule.findings
    monkeypatch.setattr(
        Rule, "findings", lambda rule, *args: (planted if rule.code == "TW301" else findings)(rule, *args)
    )
    seen, _ = guarded(PROGRAM, tmp_path / "program.py", steps=5)
    assert seen.left_out == (LeftOut(look="TW301 missing-zero-grad", error="ValueError: planted"),)


NOT_COPIED = """\
import torch

class Model(torch.nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("one of a kind")

model = Model(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(6):
    loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_the_command_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(NOT_COPIED, encoding="utf-8")
    left_out = {"look": "probes", "error": "RuntimeError: one of a kind"}
    assert check_live(str(script), steps=4).left_out == (left_out,)
    assert main.main(["check", "--isolated", "--format", "json", "--live", "4", str(script)]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["left_out"] == [left_out]
    assert "left out: probes (RuntimeError: one of a kind)" in told.err
