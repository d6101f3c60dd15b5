"""Every rule that a rehearsal decides finds its BAD on exactly the marked lines, and nothing in any GOOD."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from check.live.run import marked_lines
from check.live.test_rules import program_of
from trainworthy import rehearse
from trainworthy._api.check_dry import check_rehearsed
from trainworthy.check.dry import dry_findings
from trainworthy.check.rule import Rule, all_rules
from trainworthy.check.rules.view_instead_of_transpose import swapped

BY_NOTES = [all_rules()[code] for code in ("TW121", "TW122", "TW304", "TW315", "TW320", "TW351", "TW353", "TW363")]
AGAIN = [all_rules()["TW120"]]


def source_of(rule: Rule, which: str) -> str:
    module = sys.modules[rule.module]
    return getattr(module, f"DRY_{which}", "") or program_of(rule, which) or str(getattr(module, which))


def found_in(source: str, path: Path, steps: int = 3) -> list[tuple[str, int]]:
    """Rehearse a program here: a function ``make``, or the whole of it."""
    path.write_text(source, encoding="utf-8")
    code, names = compile(source, str(path), "exec"), {"__name__": "__main__"}
    function: Any = lambda: exec(code, names)  # noqa: E731
    if "def make(" in source:
        exec(code, names)
        function = names["make"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = rehearse(function, steps=steps)
    assert result.error is None
    return [(f.code, f.place.line) for f in dry_findings(result.tape)]


@pytest.mark.parametrize("rule", BY_NOTES, ids=lambda rule: rule.code)
def test_bad_is_found_on_the_marked_lines(rule: Rule, tmp_path: Path) -> None:
    source = source_of(rule, "BAD")
    found = [line for code, line in found_in(source, tmp_path / "bad.py") if code == rule.code]
    assert found == marked_lines(source, rule.code)
    assert found


@pytest.mark.parametrize("rule", BY_NOTES, ids=lambda rule: rule.code)
def test_good_is_clean_under_all_rules(rule: Rule, tmp_path: Path) -> None:
    assert found_in(source_of(rule, "GOOD"), tmp_path / "good.py") == []


@pytest.mark.usefixtures("warm_rehearsals")
@pytest.mark.parametrize("rule", AGAIN, ids=lambda rule: rule.code)
@pytest.mark.parametrize("which", ["bad", "good"])
def test_rehearsals_with_other_sizes(rule: Rule, which: str, tmp_path: Path) -> None:
    source, path = getattr(rule, which), tmp_path / "train.py"
    path.write_text(source, encoding="utf-8")
    found, result = check_rehearsed(path, steps=2)
    assert result.error is None
    assert [(f.code, f.place.line) for f in found] == [(rule.code, n) for n in marked_lines(source, rule.code)]
    assert bool(found) == (which == "bad")


ONE_LEFT = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

loader = DataLoader(TensorDataset(torch.rand(65, 4), torch.rand(65, 1)), batch_size=8)
model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = nn.functional.mse_loss(model(x.cuda()), y.cuda())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.usefixtures("warm_rehearsals")
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_last_batch_of_one_sample_is_tried(drop_last: bool, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(ONE_LEFT.replace("batch_size=8", f"batch_size=8, drop_last={drop_last}"), encoding="utf-8")
    found, result = check_rehearsed(path, steps=2)
    assert result.error is None
    on = [(f.code, f.place.line, f.severity) for f in found if all_rules()[f.code].default]
    assert on == ([] if drop_last else [("TW520", 9, "error")])


VIEWS = [
    ((3, 7, 24), (3, 4, 7, 6), True),
    ((7, 24), (4, 7, 6), True),
    ((3, 7, 24), (3, 7, 4, 6), False),
    ((3, 4, 24), (3, 4, 4, 6), False),  # either may be meant
    ((3, 6, 24), (3, 4, 6, 6), False),
    ((3, 7, 24), (3, 1, 7, 24), False),
    ((2, 5, 8), (5, 16), True),  # both directions of a recurrent layer's last state
    ((5, 2, 8), (5, 16), False),
    ((1, 5, 8), (5, 8), False),
    ((3, 4, 7, 6), (3, 7, 24), True),
    ((3, 4, 7, 6), (3, 4, 42), False),
    ((5, 7, 3), (7, 5, 3), True),
    ((5, 5, 3), (5, 5, 3), False),
    ((5, 7), (7, 5), False),
    ((5, 3, 3), (3, 5, 3), False),
    ((2, 12, 4, 4), (2, 3, 4, 4, 4), False),  # groups of channels
]


@pytest.mark.parametrize(("before", "after", "is_wrong"), VIEWS)
def test_views_that_pretend_to_move_a_dimension(
    before: tuple[int, ...], after: tuple[int, ...], is_wrong: bool
) -> None:
    assert (swapped(before, after) is not None) is is_wrong


SCHEDULE = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
def make():
    loader = DataLoader(TensorDataset(torch.rand(96, 4)), batch_size=4)
    model = nn.Linear(4, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.{made}
    def train():
        for epoch in range(10):
            for (x,) in loader:
                loss = model(x.cuda()).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                {inner}
            {outer}
    return train
"""
SCHEDULES = {
    "gone": ("StepLR(optimizer, 5, 0.1)", "schedule.step()", "pass", True),
    "slow": ("StepLR(optimizer, 50, 0.5)", "schedule.step()", "pass", False),
    "once an epoch": ("CosineAnnealingLR(optimizer, 10)", "pass", "schedule.step()", False),
    "steps, moved by epochs": ("OneCycleLR(optimizer, 0.1, 240)", "pass", "schedule.step()", True),
    "too far": ("OneCycleLR(optimizer, 0.1, 100)", "schedule.step()", "pass", True),
    "negative": ("LambdaLR(optimizer, lambda n: 1 - n / 200)", "schedule.step()", "pass", True),
    "to zero": ("LambdaLR(optimizer, lambda n: 1 - n / 240)", "schedule.step()", "pass", False),
    "may stop": ("StepLR(optimizer, 5, 0.1)", "schedule.step()\n                if loss > 9: break", "pass", False),
    "in two parts": (
        "SequentialLR(optimizer, [torch.optim.lr_scheduler.LinearLR(optimizer), "
        "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 220)], [20])", "schedule.step()", "pass", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str, tmp_path: Path) -> None:
    made, inner, outer, is_wrong = SCHEDULES[name]
    found = found_in(SCHEDULE.format(made=made, inner=inner, outer=outer), tmp_path / "train.py")
    assert found == ([("TW320", 8)] if is_wrong else [])


def test_a_schedule_is_left_as_it_was() -> None:
    import torch

    from trainworthy.virtual.notes_schedules import play

    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 50)
    before = str((schedule.state_dict(), optimizer.state_dict()))
    rates, error = play(schedule, 60)
    assert len(rates) == 50
    assert error is not None
    assert error.startswith("ValueError: Tried to step")
    assert str((schedule.state_dict(), optimizer.state_dict())) == before


def test_an_optimizer_of_another_model_is_known_by_identity(tmp_path: Path) -> None:
    source = """\
import torch
from torch import nn
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model = nn.Linear(4, 1)
for step in range(4):
    optimizer.zero_grad()
    model(torch.rand(3, 4)).mean().backward()
    optimizer.step()
"""
    assert found_in(source, tmp_path / "train.py") == [("TW351", 4)]
    right = source.replace("model = nn.Linear(4, 1)\nfor", "wrapped = nn.Sequential(model)\nfor").replace(
        "    model(", "    wrapped("
    )
    assert found_in(right, tmp_path / "right.py") == []


@pytest.mark.usefixtures("warm_rehearsals")
def test_ranks_that_disagree_are_findings_of_a_check() -> None:
    script = Path(__file__).parents[2] / "scripts/distributed/no_set_epoch.py"
    found, _ = check_rehearsed(script, steps=2, world_size=2)
    assert [(f.code, f.name, f.severity, f.place.line) for f in found] == [
        ("TW402", "missing-set-epoch", "warning", 16)
    ]
