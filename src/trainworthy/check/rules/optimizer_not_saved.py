"""A checkpoint that a run resumes from lacks the optimizer's state.

What it finds:
    A program that saves the model's weights with the number of the epoch, goes on from that epoch when it loads them,
    and never saves the state of an optimizer that has one. Also a trainer whose `save` keeps it, but whose training
    step saves the weights alone.

Why:
    After a resume the moments of Adam, or the momentum, start from zero while the schedule and the epoch go on: the
    loss jumps, and the resumed run is another one.

How sure:
    The weights, the epoch, the optimizer and the resume are all in one file, in which no optimizer's `state_dict` is
    mentioned. Plain SGD has no state.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.libraries import is_called
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters())
saved = torch.load("last.pt")
model.load_state_dict(saved["model"])
start_epoch = saved["epoch"] + 1
for epoch in range(start_epoch, 90):
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    torch.save({"model": model.state_dict(), "epoch": epoch}, "last.pt")  # <- TW652
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters())
saved = torch.load("last.pt")
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
start_epoch = saved["epoch"] + 1
for epoch in range(start_epoch, 90):
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, "last.pt")
"""

_SAVED = re.compile(
    r"opt\w*(?:\[[^\]]*\])?\.\s*(?:load_)?state_dict|['\"]\w*optim\w*['\"]\s*[:\]]|save_state\(|(?<!torch\.)accelerator\.\w|save_checkpoint\(\s*model\s*,\s*opt|trainer_state"
)
_NUMBER = re.compile(r"epoch|step|iter", re.IGNORECASE)


@rule(code="TW652", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at programs that resume."""
    words = analysis.source.words
    yield from _beside_save(analysis)
    trains = "backward" in words or any(one.startswith("train") for one in words)
    if not {"torch", "state_dict", "load_state_dict", "step"} <= words or not trains:
        return
    if _SAVED.search(analysis.source.code):
        return
    made = [one for one in _calls(analysis) if _has_state(one)]
    resumed = _resumed(analysis) if made else None
    if resumed is None:
        return
    for save in _calls(analysis):
        if _saves(analysis, save) or "save" in last_name(save.func):
            key = _key_of_epoch(analysis, save)
            if key is not None and key == resumed[0]:
                yield Hit(
                    place=analysis.place(save),
                    message=f"a resumed run goes on from `{key}` with an optimizer that starts anew: its state is not "
                    "saved",
                    evidence=(
                        Evidence("the run resumes here", analysis.place(resumed[1])),
                        Evidence("the optimizer", analysis.place(made[0])),
                    ),
                    fix='Save `"optimizer": optimizer.state_dict()` beside it, and load it.',
                )


def _beside_save(analysis: Analysis) -> Iterator[Hit]:
    """Yield what a trainer saves while it trains, when its own `save` would keep more and is not used."""
    if not {"torch", "save", "load", "state_dict", "step"} <= analysis.source.words:
        return
    for cls in analysis.nodes.get(ast.ClassDef, []):
        methods = {one.name: one for one in getattr(cls, "body", []) if isinstance(one, ast.FunctionDef)}
        save, load = methods.get("save"), methods.get("load")
        if save is None or load is None or not _keeps_optimizer(analysis, save) or "self.save(" in unparsed(cls):
            continue
        for name, method in methods.items():
            for call in walk(method) if name not in ("save", "load") and "backward" in unparsed(method) else ():
                given = _given_to_save(analysis, method, call) if isinstance(call, ast.Call) else None
                if given is not None:
                    yield Hit(
                        place=analysis.place(call),
                        message="what is saved here lacks the optimizer's state; `save` would keep it, and is not used",
                        evidence=(Evidence("the method", analysis.place(save.args)),),
                        fix="Write `self.save(path)`.",
                    )


def _saves(analysis: Analysis, call: ast.Call) -> bool:
    return is_called(analysis.source, call, "torch", "save")


def _keeps_optimizer(analysis: Analysis, method: ast.FunctionDef) -> bool:
    text = unparsed(method)
    saves = any(isinstance(one, ast.Call) and _saves(analysis, one) for one in walk(method))
    return saves and bool(re.search(r"optim\w*\.state_dict\(\)", text))


def _given_to_save(analysis: Analysis, method: ast.FunctionDef, call: ast.Call) -> ast.expr | None:
    """Return the weights alone that a call saves, if that is what it does."""
    if not _saves(analysis, call) or not call.args:
        return None
    value: ast.expr = call.args[0]
    if isinstance(value, ast.Name):
        made = [one.value for one in nodes_of(method, ast.Assign) if one.lineno < call.lineno
                and unparsed(one.targets[0]) == value.id]  # fmt: skip
        value = made[-1] if made else value
    alone = isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "state_dict"
    return value if alone and "ema" not in unparsed(value) else None


def _calls(analysis: Analysis) -> list[ast.Call]:
    return [one for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call)]


def _has_state(call: ast.Call) -> bool:
    """Say whether a call makes an optimizer that remembers something."""
    name = unparsed(call.func)
    if not re.search(r"(^|optim\.)(Adam\w*|RMSprop|SGD)$", name):
        return False
    return not name.endswith("SGD") or any(one.arg == "momentum" for one in call.keywords)


def _resumed(analysis: Analysis) -> tuple[str, ast.AST] | None:
    """Return the key of a saved number that a loop of the training starts from."""
    started: set[str] = set()
    for call in _calls(analysis):
        if getattr(call.func, "id", "") in ("range", "trange") and len(call.args) >= 2:
            started |= {unparsed(one) for one in walk(call.args[0]) if isinstance(one, ast.Name | ast.Attribute)}
    for one in analysis.nodes.get(ast.Assign, []):
        if not isinstance(one, ast.Assign) or not {unparsed(target) for target in one.targets} & started:
            continue
        for part in walk(one.value):
            if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Constant):
                key = part.slice.value
                if isinstance(key, str) and _NUMBER.search(key):
                    return key, one
    return None


def _key_of_epoch(analysis: Analysis, save: ast.Call) -> str | None:
    """Return the key under which a call saves a number beside the weights."""
    state: ast.expr | None = save.args[0] if save.args else None
    if isinstance(state, ast.Name):
        made = [one.value for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign)
                and unparsed(one.targets[0]) == state.id and one.lineno < save.lineno]  # fmt: skip
        state = made[-1] if made else None
    if not isinstance(state, ast.Dict) or None in state.keys:
        return None
    keys = [one.value for one in state.keys if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if "state_dict()" not in unparsed(state) or len(keys) != len(state.keys):
        return None
    return next((one for one in keys if _NUMBER.search(one)), None)
