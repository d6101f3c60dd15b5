"""A list of names is appended to a list of names.

What it finds:
    `names.append(["pos_embed"])` beside `names.append("cls_token")` or `names.extend(["bias"])`: the first puts a list
    into the list of texts.

Why:
    Whoever looks a name up in that list does not find it: the parameter is decayed, frozen or left out after all.

How sure:
    The list that is appended holds texts only, and the same function puts single texts into the same list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_around
from trainworthy.check.static.tree import own, unparsed

BAD = """\
import torch


def without_decay(separate):
    names = []
    if separate:
        names.extend(["pos_embed_space", "pos_embed_time"])
    else:
        names.append(["pos_embed"])  # <- TW855
    return names
"""

GOOD = """\
import torch


def without_decay(separate):
    names = []
    if separate:
        names.extend(["pos_embed_space", "pos_embed_time"])
    else:
        names.append("pos_embed")
    return names
"""


@rule(code="TW855", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at lists of texts that are appended."""
    found = [one for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call) and _appends_texts(one)]
    for node in functions_around(analysis.nodes, [one.lineno for one in found]) if found else ():
        calls = [one for one in own(node) if isinstance(one, ast.Call)]
        for one in found:
            beside = next((other for other in calls if _puts_text(other) and _holder(other) == _holder(one)), None)
            if beside is not None and one in calls:
                yield Hit(
                    place=analysis.source.place(one),
                    message=f"a list is put into `{_holder(one)}`, which holds texts",
                    evidence=(Evidence("a text", analysis.source.place(beside)),),
                    fix="Append the text, or use `extend`.",
                )


def _holder(call: ast.Call) -> str:
    return unparsed(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _appends_texts(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "append" and _is_list(call)


def _is_list(call: ast.Call) -> bool:
    given = call.args[0] if len(call.args) == 1 else None
    return isinstance(given, ast.List) and bool(given.elts) and all(_is_text(one) for one in given.elts)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _puts_text(call: ast.Call) -> bool:
    """Say whether a call puts single texts into a list."""
    if not isinstance(call.func, ast.Attribute) or len(call.args) != 1:
        return False
    return _is_list(call) if call.func.attr == "extend" else call.func.attr == "append" and _is_text(call.args[0])
