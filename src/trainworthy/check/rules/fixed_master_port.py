"""The port of the rendezvous is written in the source.

What it finds:
    `os.environ["MASTER_PORT"] = "12355"`, also by `os.environ.update` and `os.putenv`, or with an option of the program
    whose default is a port; and `init_method="tcp://localhost:12355"`.

Why:
    A second job on the machine fails, or joins the wrong group.

How sure:
    Not on by default: fine on a machine of one's own. Select it with `--extend-select TW419`. A port that only fills in
    where none was given, as with `setdefault`, is left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, keyword
from trainworthy.check.static.facts import Call
from trainworthy.check.static.options import destination
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Const, Ref

BAD = """\
import os

os.environ["MASTER_PORT"] = "12355"  # <- TW419
import torch
"""

GOOD = """\
import os

os.environ.setdefault("MASTER_PORT", "12355")
import torch
"""


@rule(code="TW419", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is written to the environment, and at addresses with a port."""
    for store in analysis.stores:
        owner, target = store.owner, store.target
        if not isinstance(owner, Ref) or owner.name != "os.environ" or not isinstance(target, ast.Subscript):
            continue
        key = target.slice
        fixed = isinstance(store.value, Const) or _is_option_with_a_port(getattr(store.node, "value", None), analysis)
        if isinstance(key, ast.Constant) and key.value == "MASTER_PORT" and fixed:
            yield _hit(analysis.place(store.node, store.context))
    for call in once_per_place(analysis.calls("os.environ.update", "os.putenv")):
        given = _port_given(call)
        if given is not None and (_is_written(given) or _is_option_with_a_port(given, analysis)):
            yield _hit(analysis.place(given, call.context))
    for call in once_per_place(analysis.calls("torch.distributed.init_process_group")):
        address = call.constant(1, "init_method")
        if isinstance(address, str) and _ADDRESS.search(address):
            node = call.argument_node(1, "init_method")
            yield _hit(_where_written(address, analysis) or analysis.place(node or call.node, call.context))


_ADDRESS = re.compile(r"^tcp://.*:[1-9]\d*$")


def _hit(place: Place) -> Hit:
    return Hit(
        place=place,
        message="a second job on this machine would use the same port",
        fix="Use `os.environ.setdefault`, or start with torchrun.",
    )


def _port_given(call: Call) -> ast.expr | None:
    """Return what a call puts in the environment as the port."""
    if call.method == "putenv":
        return call.node.args[1] if call.constant(0, "name") == "MASTER_PORT" and len(call.node.args) > 1 else None
    first = call.node.args[0] if call.node.args else None
    if isinstance(first, ast.Dict):
        for key, value in zip(first.keys, first.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "MASTER_PORT":
                return value
    if isinstance(first, ast.Call) and called(first) == "dict":
        return keyword(first, "MASTER_PORT")
    return keyword(call.node, "MASTER_PORT")


def _is_written(node: ast.expr) -> bool:
    """Say whether a port stands there: "29500" or str(29500)."""
    inner = node.args[0] if isinstance(node, ast.Call) and called(node) == "str" and node.args else node
    return isinstance(inner, ast.Constant)


def _is_option_with_a_port(node: ast.expr | None, analysis: Analysis) -> bool:
    """Say whether a value is that of an option of the program with a port as default: what a launcher gave is lost."""
    if isinstance(node, ast.Call) and called(node) == "str" and node.args:
        node = node.args[0]
    name = node.attr if isinstance(node, ast.Attribute) else ""
    for call in analysis.method_calls("add_argument") if "port" in name else ():
        default = call.constant(None, "default")
        if destination(call) == name and str(default).isdecimal() and str(default) != "0":
            return True
    return False


def _where_written(address: str, analysis: Analysis) -> Place | None:
    """Return where the only such text of the file stands."""
    found = [one for one in analysis.nodes.get(ast.Constant, ()) if getattr(one, "value", None) == address]
    return analysis.place(found[0]) if len(found) == 1 else None
