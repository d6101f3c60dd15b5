"""A key of the configuration is misspelt, so its default always stays.

What it finds:
    `dropout = config.get("drouput", 0.1)`: a key that is one or two strokes away from the name that its value is given,
    that occurs nowhere else in the project, and whose right spelling does.

Why:
    `get` with a default never fails. What the configuration says has no effect.

How sure:
    Every program and every YAML or JSON file of the project is searched for the key. The plural, other endings and
    numbers are left alone.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import configurations, project_files, text_of
from trainworthy.check.static.slips import is_slip

BAD = """\
import torch


def make_model(config):
    width = config["model"].get("hidden_dim", 64)
    dropout = config["model"].get("drouput", 0.1)  # <- TW852
    return torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.Dropout(dropout))


print(make_model({"model": {"dropout": 0.5}}))
"""

GOOD = """\
import torch


def make_model(config):
    width = config["model"].get("hidden_dim", 64)
    dropout = config["model"].get("dropout", 0.1)
    return torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.Dropout(dropout))


print(make_model({"model": {"dropout": 0.5}}))
"""


@rule(code="TW852", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at values that are asked for with a default."""
    if "torch" not in analysis.source.words or not analysis.source.words & {"get", "pop", "getattr"}:
        return
    for call in analysis.nodes.get(ast.Call, []):
        key = _key(call)
        text = str(key.value) if key is not None else ""
        name = _given_to(analysis, call) if key is not None else ""
        if key is not None and is_slip(text, name) and _occurs_once(analysis, text) and _is_known(analysis, name):
            yield Hit(
                place=analysis.place(key),
                message=f"`{text}` occurs nowhere else; `{name}` does, and what it is set to has no effect here",
                fix=f'Write "{name}".',
            )


def _key(node: ast.AST) -> ast.Constant | None:
    """Return the text that a dict or an object is asked for, where a default takes its place."""
    if not isinstance(node, ast.Call):
        return None
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    at = 1 if name == "getattr" else 0
    if name not in ("get", "pop", "getattr") or len(node.args) + len(node.keywords) != at + 2 or len(node.args) <= at:
        return None
    key = node.args[at]
    fits = (
        isinstance(key, ast.Constant)
        and isinstance(key.value, str)
        and len(key.value) >= 5
        and key.value.isidentifier()
    )
    return key if fits and isinstance(key, ast.Constant) else None


def _given_to(analysis: Analysis, call: ast.AST) -> str:
    """Return the variable, attribute or argument that a value goes to."""
    parent = analysis.parents.get(call)
    while isinstance(parent, ast.Call) and getattr(parent.func, "id", "") in ("int", "float", "str", "bool"):
        parent = analysis.parents.get(parent)
    if isinstance(parent, ast.keyword):
        return parent.arg or ""
    target = parent.targets[0] if isinstance(parent, ast.Assign) else getattr(parent, "target", None)
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return str(getattr(target, "id", getattr(target, "attr", "")))


def _occurs_once(analysis: Analysis, key: str) -> bool:
    texts = [analysis.source.text, *map(text_of, _others(analysis))]
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(key)}(?![A-Za-z0-9])")
    return sum(len(word.findall(text)) for text in texts if key in text) == 1


def _others(analysis: Analysis) -> list[str]:
    files = [*(project_files(analysis.source.path) or ()), *configurations(analysis.source.path)]
    return [one for one in files if not _is_same(one, analysis.source.path)]


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _is_known(analysis: Analysis, name: str) -> bool:
    """Say whether the right spelling is used as a key, an option or an attribute anywhere."""
    used = re.compile(
        rf"['\"](--)?{re.escape(name)}['\"]|^\s*{re.escape(name)}:|\.{re.escape(name)}\b|--{re.escape(name)}",
        re.MULTILINE,
    )
    texts = [analysis.source.text, *map(text_of, _others(analysis))]
    return any(name in text and used.search(text) for text in texts)
