"""A checkpoint that a run resumes from lacks the state of the gradient scaler.

What it finds:
    A program that saves and loads the optimizer's state, trains with a `GradScaler` (or timm's `NativeScaler`), and
    neither saves nor loads the scaler's state.

Why:
    The scale begins anew at 65,536. The first steps after a resume overflow and are skipped, until it has come down to
    where it was; schedules that count steps are ahead of the weights by then.

How sure:
    The scaler, the saving and the loading are all in one file, in which no state of a scaler is mentioned.
    A hint, and a warning where gradients are clipped without `unscale_`: the scale changes the steps there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()  # <- TW653
saved = torch.load("last.pt")
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
for epoch in range(saved["epoch"], 90):
    with torch.autocast("cuda"):
        loss = model(torch.rand(8, 4).cuda()).mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, "last.pt")
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
saved = torch.load("last.pt")
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
scaler.load_state_dict(saved["scaler"])
for epoch in range(saved["epoch"], 90):
    with torch.autocast("cuda"):
        loss = model(torch.rand(8, 4).cuda()).mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save({**state, "scaler": scaler.state_dict()}, "last.pt")
"""

_MAKES = re.compile(r"(^|\.)(GradScaler|NativeScaler\w*|NativeScalerWithGradNormCount)$")
_SAVED = re.compile(
    r"scaler\w*(?:\[[^\]]*\])?\.\s*(?:load_)?state_dict|['\"]\w*scaler\w*['\"]\s*[:\]]|amp\.state_dict|loss_scaler=|scaler=loss_scaler|save_state\("
)

_CLIPS = frozenset({"clip_grad_norm_", "clip_grad_value_", "clip_grad_norm"})


@rule(code="TW653", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at programs that resume with a scaler."""
    words = analysis.source.words
    if not {"state_dict", "load_state_dict", "save"} <= words or not any("Scaler" in one for one in words):
        return
    if _SAVED.search(analysis.source.code):
        return
    loads = [one for one in analysis.nodes.get(ast.Call, []) if _is_of_an_optimizer(one, "load_state_dict")]
    saves = [one for one in analysis.nodes.get(ast.Call, []) if _is_of_an_optimizer(one, "state_dict")]
    if not loads or not saves or not _is_written(analysis):
        return
    for one in analysis.nodes.get(ast.Assign, []):
        calls = nodes_of(one, ast.Call)
        made = next((call for call in calls if _MAKES.search(unparsed(call.func))), None)
        if made is not None:
            yield Hit(
                place=analysis.place(made),
                message="a resumed run starts its gradient scale anew: the checkpoint does not hold the scaler",
                evidence=(Evidence("the optimizer's state is restored here", analysis.place(loads[0])),),
                severity="warning" if words & _CLIPS and "unscale_" not in words else None,
                fix="Save `scaler.state_dict()` beside the optimizer's, and load it.",
            )
            return


def _is_of_an_optimizer(node: ast.AST, method: str) -> bool:
    func = node.func if isinstance(node, ast.Call) else None
    named = isinstance(func, ast.Attribute) and func.attr == method
    return named and isinstance(func, ast.Attribute) and "opt" in unparsed(func.value).lower().rpartition(".")[2]


def _is_written(analysis: Analysis) -> bool:
    """Say whether this file writes checkpoints."""
    called = {getattr(one.func, "attr", getattr(one.func, "id", "")) for one in analysis.nodes.get(ast.Call, [])
              if isinstance(one, ast.Call)}  # fmt: skip
    return any(one.startswith("save") for one in called)
