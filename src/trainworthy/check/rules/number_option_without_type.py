"""A command-line option for a number has no `type`, or one that cannot read its default.

What it finds:
    `add_argument("--seed", default=1)` without `type=`, whose value is then used as a number, likewise with a default
    of True or False; and `type=int` beside a default with a fraction, such as 0.01.

Why:
    The default is a number, what is given on the command line is text: `--seed 2` is "2". Comparisons and sums fail, or
    `"10" * 2` is "1010". With `type=int`, `--lr 0.01` is refused, and `--lr 1` is all that can be asked for.

How sure:
    Certain that the value is text; silent if every use in the file only writes it into a text, or converts it.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.options import destination
from trainworthy.check.static.queries import once_per_place

BAD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--seed", default=777, help="of all generators")  # <- TW828
parser.add_argument("--lr", type=int, default=1e-2)  # <- TW828
args = parser.parse_args()
torch.manual_seed(args.seed)
print(args.lr)
"""

GOOD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=777, help="of all generators")
parser.add_argument("--lr", type=float, default=1e-2)
args = parser.parse_args()
torch.manual_seed(args.seed)
print(args.lr)
"""

_CONVERTS = frozenset({"int", "float", "str", "print", "repr"})


@rule(code="TW828", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the options of a program."""
    if "add_argument" not in analysis.source.words or not analysis.source.words & {"torch", "numpy"}:
        return
    uses: dict[str, list[ast.Attribute]] | None = None
    parents: dict[ast.AST, ast.AST] = {}
    for call in once_per_place(analysis.method_calls("add_argument")):
        default = _number(call)
        if default is None or call.starred or call.context.source is not analysis.source:
            continue
        given = {one.arg: one.value for one in call.node.keywords}
        kind = given.get("type")
        is_text = isinstance(default, bool) and isinstance(kind, ast.Name) and kind.id == "str"
        if is_text:
            del given["type"]
        if "type" in given:
            kind = given["type"]
            if isinstance(kind, ast.Name) and kind.id == "int" and default != int(default):
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"`type=int` cannot read a value like the default {default}",
                    fix="Write `type=float`.",
                )
            continue
        if given.keys() & {"action", "choices", "nargs", "const"}:
            continue
        if uses is None:
            uses = _attributes(analysis)
            parents = analysis.parents
        name = destination(call)
        if is_text and default is False and any(_is_text(one, parents) for one in uses.get(name or "", [])):
            continue  # a path, or none
        if name is not None and any(not _is_converted(one, parents) for one in uses.get(name, [])):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"a value given for `{name}` is text" + ", and every text is true" * isinstance(default, bool),
                fix=f"Write `{_cure(default)}`.",
            )


def _cure(default: int | float) -> str:
    if isinstance(default, bool):
        return "action=argparse.BooleanOptionalAction"
    return f"type={type(default).__name__}"


def _number(call: Call) -> int | float | None:
    """Return an option's default if it is a number."""
    node = next((one.value for one in call.node.keywords if one.arg == "default"), None)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _attributes(analysis: Analysis) -> dict[str, list[ast.Attribute]]:
    found: dict[str, list[ast.Attribute]] = {}
    for node in analysis.nodes.get(ast.Attribute, []):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if isinstance(node.value, ast.Name) and node.value.id != "self":
            found.setdefault(node.attr, []).append(node)
    return found


def _is_text(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a value is handed to something before all else, or written into a text: a path is."""
    parent = parents.get(node)
    return isinstance(parent, ast.FormattedValue) or (isinstance(parent, ast.Call) and parent.args[:1] == [node])


def _is_converted(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a value is only written into a text, or made a number."""
    parent = parents.get(node)
    if isinstance(parent, ast.FormattedValue):
        return True
    if isinstance(parent, ast.Call) and node in parent.args:
        func = parent.func
        name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
        return name in _CONVERTS or name in ("format", "join", "info")
    if isinstance(parent, ast.Tuple):
        return _is_converted(parent, parents)
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mod) and parent.right is node:
        return not isinstance(parent.left, ast.Name | ast.Attribute)
    return isinstance(parent, ast.Compare) and any(
        isinstance(one, ast.Constant) and (one.value is None or isinstance(one.value, str))
        for one in parent.comparators
    )
