"""Loops that add one and the same layer to a module or a list of layers in each turn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import function_around, loops_around
from trainworthy.check.static.facts import Call
from trainworthy.check.static.layer_lists import has_parameters
from trainworthy.check.static.queries import body_of, is_a_module
from trainworthy.check.static.tree import nodes_of, unparsed, variables, walk
from trainworthy.check.static.values import UNKNOWN, Instance

_SHARING = re.compile(r"shar(?:e|ed|ing)(?!d?_memory)|\btie[ds]?\b|_tied?_|weight.?tying|recurren|universal", re.I)
_NO_PARAMETERS = re.compile(r"act|drop|relu|gelu|pool|nonlin|identity|sigmoid|tanh|flatten", re.IGNORECASE)


def speaks_of_sharing(analysis: Analysis, *nodes: ast.AST) -> bool:
    """Say whether the functions around some nodes of this file, or the nodes, say that something is shared."""
    for node in (one for one in nodes if one in analysis.parents):
        around = function_around(analysis.parents, node)
        text = analysis.segment(around if around is not None else node)
        if _SHARING.search(text):
            return True
    return False


def added_in_turns(analysis: Analysis, fix: str) -> Iterator[Hit]:
    """Yield where a loop adds a layer that is the same in each turn."""
    seen: set[ast.AST] = set()
    for call in analysis.method_calls("append", "add_module", "register_module", "setattr"):
        given = call.node.args[-1] if call.node.args and not call.starred else None
        if not isinstance(given, ast.Name) or call.node in seen or not call.context.loops:
            continue
        layer = call.args[-1]
        made = has_parameters(layer, analysis) or (layer is UNKNOWN and _is_a_parameter(call, given.id))
        if made and _is_a_container(analysis, call) and _is_the_same(analysis, call, given):
            seen.add(call.node)
            first = layer.made_by if isinstance(layer, Instance) else None
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"every turn adds the same object, `{given.id}`: all layers share one set of weights",
                evidence=(Evidence("made here", analysis.place(first.node, first.context)),) if first else (),
                fix=fix,
            )


def _is_a_parameter(call: Call, name: str) -> bool:
    """Say whether what `add_module` adds is an argument of the function of which nothing is known."""
    function = call.context.function
    if call.method not in ("add_module", "register_module") or function is None or _NO_PARAMETERS.search(name):
        return False
    return name in {one.arg for one in (*function.node.args.args, *function.node.args.kwonlyargs)}


def _is_a_container(analysis: Analysis, call: Call) -> bool:
    """Say whether what is added becomes a part of a module, beside what other turns add."""
    func = call.node.func
    if call.method == "setattr":
        return len(call.args) == 3 and is_a_module(call.args[0]) and isinstance(call.node.args[1], ast.JoinedStr)
    if call.method != "append":
        return is_a_module(call.owner) and not isinstance(call.node.args[0], ast.Constant)
    if call.name == "torch.nn.ModuleList.append":
        return True
    held = func.value if isinstance(func, ast.Attribute) else None
    if held is None or call.context.function is None:
        return False
    for one in nodes_of(body_of(call.context), ast.Call):
        given = [each.value if isinstance(each, ast.Starred) else each for each in one.args]
        if last_name(one.func) in ("ModuleList", "Sequential") and unparsed(held) in map(unparsed, given):
            return True
    return False


def _is_the_same(analysis: Analysis, call: Call, given: ast.Name) -> bool:
    """Say whether a name holds one object in all turns of the loop, and each turn adds it to the same container."""
    loops = loops_around(analysis.parents, call.node)
    loop = loops[0] if loops and loops[0] is call.context.loops[-1] else None
    if loop is None or speaks_of_sharing(analysis, call.node):
        return False
    bound = {one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store)}
    func = call.node.func
    holder = variables(func.value) if isinstance(func, ast.Attribute) else set()
    if given.id in bound or holder & bound or any(isinstance(one, ast.Break | ast.Return) for one in walk(loop)):
        return False
    node = analysis.parents[call.node]
    while node is not loop:
        test = getattr(node, "test", None)
        if isinstance(node, ast.Try) or (isinstance(test, ast.expr) and variables(test) & bound):
            return False
        node = analysis.parents[node]
    return True
