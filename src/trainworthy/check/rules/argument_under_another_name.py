"""A parameter gets a second name, which is changed in place as if it were a copy.

What it finds:
    `masked = image` with `image` a parameter, then `masked[y0:y1] = 0` and `return masked`; also a view,
    `rows = labels[:, 1:]`, then `rows[rows == -100] = 0`. Nothing uses the parameter under its own name afterwards.
    Also `x.clamp_(0, 1)` of a parameter in a function that is named for showing or saving it; and an entry of a shallow
    copy, `mine = params.copy()` and then `mine["columns"].append(...)`.

Why:
    A second name, or a slice, is no copy: the caller's tensor or array is changed. The next epoch, or whoever else
    holds the sample, gets the changed one.

How sure:
    That the caller's object is changed is certain; that it was not meant to be is told by the second name, and by the
    function returning or using it. Silent if the function's name says that it writes (`fill`, `update`, `copy_`), if
    the parameter's does (`out`, `buffer`, `cache`), if the parameter is bound anew before, and for entries of dicts.

When it is wrong:
    Every caller hands in something that it made for this call and keeps nowhere.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, functions_of
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import own, unparsed, walk

BAD = """\
import torch


def without_centre(image, size):
    masked = image
    masked[:, size:-size, size:-size] = 0  # <- TW577
    return masked


def log_probabilities(logits, labels):
    labels = labels[:, 1:]
    labels[labels == -100] = 0  # <- TW577
    return logits.log_softmax(-1).gather(2, labels.unsqueeze(2))
"""

GOOD = """\
import torch


def without_centre(image, size):
    masked = image.clone()
    masked[:, size:-size, size:-size] = 0
    return masked


def log_probabilities(logits, labels):
    labels = labels[:, 1:].clone()
    labels[labels == -100] = 0
    return logits.log_softmax(-1).gather(2, labels.unsqueeze(2))
"""

_WRITES = re.compile(
    r"_$|in_?place|(^|_)(set|update|fill|init|reset|register|load|apply|write|append|patch|copy|scatter|assign|insert|"
    r"prune|freeze|convert|overwrite|paste)(_|$)|^__(init|set\w*|iadd)__$"
)
_TO_BE_WRITTEN = re.compile(
    r"(^|_)(out|outs|outputs?|buf|buffer|cache|dest\w*|dst|result\w*|state\w*|grads?|weights?|param\w*)(_|$)"
)


@rule(code="TW577", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that give a parameter another name."""
    if not analysis.source.words & {"torch", "numpy"} or is_a_test(analysis.source):
        return
    for function in functions_of(analysis.nodes):
        if _SHOWS.search(function.name):
            yield from _shown(analysis, function)
        if not _WRITES.search(function.name):
            yield from _in_function(analysis, function)
        yield from _in_shallow_copies(analysis, function)


_SHOWS = re.compile(r"^_?(save|plot|show|draw|visuali[sz]e|display|export|dump)(_|$)")
_METHODS = frozenset({"clamp_", "sub_", "div_", "mul_", "add_", "neg_", "clip_", "abs_", "sqrt_", "squeeze_"})


def _shown(analysis: Analysis, function: Def) -> Iterator[Hit]:
    """Yield where a function that is to show or store a tensor changes it."""
    nodes = own(function)
    parameters = {one.arg for one in (*function.args.args, *function.args.kwonlyargs)} - {"self", "cls"}
    for call in nodes:
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        name = getattr(call.func.value, "id", "")
        if name not in parameters or call.func.attr not in _METHODS or _is_made_anew(analysis, nodes, name, call):
            continue
        parameters.discard(name)
        yield Hit(
            place=analysis.place(call),
            message=f"`{call.func.attr}` changes the caller's `{name}`, which `{function.name}` is to show or store",
            fix=f"`{name} = {name}.clone()` first, or `{call.func.attr.rstrip('_')}`.",
        )


def _in_function(analysis: Analysis, function: Def) -> Iterator[Hit]:
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    parameters = {one.arg for one in arguments if one.arg not in ("self", "cls") and not _TO_BE_WRITTEN.search(one.arg)}
    nodes = own(function)
    for alias in nodes:
        if not isinstance(alias, ast.Assign) or len(alias.targets) != 1 or not isinstance(alias.targets[0], ast.Name):
            continue
        name, parameter = alias.targets[0].id, _stands_for(alias.value)
        if parameter not in parameters or (name == parameter and isinstance(alias.value, ast.Name)):
            continue
        if parameter is None or analysis.parents.get(alias) is not function or _is_bound(nodes, parameter, alias):
            continue
        write = next((one for one in nodes if _writes(one, name) and _line(one) > alias.lineno), None)
        if write is None or _is_bound(nodes, name, write, after=alias) or not _is_used(analysis, nodes, name, write):
            continue
        if name != parameter and _is_used(analysis, nodes, parameter, alias):
            continue
        yield Hit(
            place=analysis.place(write),
            message=f"`{name}` is no copy: the caller's `{parameter}` is changed",
            evidence=(Evidence("it is the same object since here", analysis.place(alias)),),
            fix="Clone it where it gets its name.",
        )


_SETTINGS = re.compile(
    r"(^|_)(params?|cfg|conf|config\w*|kwargs|args|options?|opts|settings|hparams|meta\w*|dict)(_|\d|$)"
)
_OF_LISTS = frozenset({"append", "extend", "insert", "remove", "pop", "update", "setdefault", "clear"})


def _in_shallow_copies(analysis: Analysis, function: Def) -> Iterator[Hit]:
    """Yield where an entry of a dict is changed that is a shallow copy of a parameter: the entry is the caller's."""
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    dicts = {one.arg for one in arguments if _is_a_dict(one)}
    nodes = own(function) if dicts else ()
    for made in nodes:
        source = _copied(made)
        if source not in dicts or not isinstance(made, ast.Assign) or not isinstance(made.targets[0], ast.Name):
            continue
        name = made.targets[0].id
        for one in nodes:
            entry = _entry_changed(one, name) if _line(one) > made.lineno else ""
            rebound = any(unparsed(t) == entry for s in nodes if isinstance(s, ast.Assign) for t in s.targets)
            if entry and not rebound:
                yield Hit(
                    place=analysis.place(one),
                    message=f"`{entry}` is the caller's own: a copy of a dict is shallow",
                    evidence=(Evidence("it is copied here", analysis.place(made)),),
                    fix=f"`copy.deepcopy({source})`, or make the entry anew.",
                )
                break


def _is_a_dict(argument: ast.arg) -> bool:
    if argument.annotation is not None:
        return re.match(r"(typing\.)?(\w*[dD]ict|\w*Mapping)\b", unparsed(argument.annotation)) is not None
    return _SETTINGS.search(argument.arg) is not None


def _copied(node: ast.AST) -> str | None:
    """Return the variable of which a statement makes a shallow copy: `x.copy()`, `copy.copy(x)`, `dict(x)`."""
    value = node.value if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    if not isinstance(value, ast.Call):
        return None
    method = isinstance(value.func, ast.Attribute) and value.func.attr == "copy" and not value.args
    function = unparsed(value.func) in ("copy.copy", "copy", "dict") and len(value.args) == 1 and not value.keywords
    of = value.func.value if method else value.args[0] if function else None  # type: ignore[attr-defined]
    return of.id if isinstance(of, ast.Name) else None


def _entry_changed(node: ast.AST, name: str) -> str:
    """Return the entry of a dict that a statement changes from within; "" if it does not."""
    of: ast.expr | None = None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        of = node.value.func.value if node.value.func.attr in _OF_LISTS else None
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        of = node.targets[0].value
    if isinstance(of, ast.Subscript) and isinstance(of.slice, ast.Constant) and getattr(of.value, "id", "") == name:
        return unparsed(of)
    return ""


def _is_made_anew(analysis: Analysis, nodes: Sequence[ast.AST], name: str, call: ast.AST) -> bool:
    """Say whether a name is bound on the way to a call, and not only in another branch."""
    above: set[ast.AST | None] = set()
    around: ast.AST | None = call
    while around is not None:
        around = analysis.parents.get(around)
        above.add(around)
    blocks = [one for one in nodes if isinstance(one, ast.Assign) and _line(one) < _line(call)]
    return any(
        analysis.parents.get(one) in above and any(getattr(each, "id", "") == name for each in one.targets)
        for one in blocks
        if not _is_in_the_other_branch(analysis, one, call)
    )


def _is_in_the_other_branch(analysis: Analysis, one: ast.AST, call: ast.AST) -> bool:
    branch = analysis.parents.get(one)
    return isinstance(branch, ast.If) and one in branch.body and not any(call in walk(each) for each in branch.body)


def _stands_for(value: ast.expr) -> str | None:
    """Return the variable of which an expression is another name or a view: itself, or a slice of it."""
    if isinstance(value, ast.Subscript):
        parts = value.slice.elts if isinstance(value.slice, ast.Tuple) else [value.slice]
        if not all(isinstance(one, ast.Slice) or getattr(one, "value", 0) in (None, ...) for one in parts):
            return None
        value = value.value
    return value.id if isinstance(value, ast.Name) else None


def _is_bound(nodes: Sequence[ast.AST], name: str, before: ast.AST, after: ast.AST | None = None) -> bool:
    """Say whether a name is bound above a statement, and below another."""
    first = getattr(after, "end_lineno", 0) if after is not None else 0
    return any(
        isinstance(one, ast.Name)
        and one.id == name
        and isinstance(one.ctx, ast.Store)
        and first < one.lineno < _line(before)
        for one in nodes
    )


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _is_used(analysis: Analysis, nodes: Sequence[ast.AST], name: str, after: ast.AST) -> bool:
    """Say whether a name is read below a statement, for more than its size."""
    last = getattr(after, "end_lineno", 0)
    reads = [
        one
        for one in nodes
        if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load) and one.lineno > last
    ]
    return any(getattr(analysis.parents.get(one), "attr", "") not in _OF_ITS_SIZE for one in reads)


_OF_ITS_SIZE = frozenset({"shape", "size", "ndim", "dim", "dtype", "device", "numel"})


def _writes(node: ast.AST, name: str) -> bool:
    """Say whether a statement writes into a part of a tensor or array: by a slice, a mask or an index, not a key."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    written = [one for one in targets if isinstance(one, ast.Subscript) and getattr(one.value, "id", "") == name]
    kinds = isinstance(node, ast.Assign | ast.AugAssign)
    return kinds and any(_is_of_an_array(one.slice) for one in written)


def _is_of_an_array(index: ast.expr) -> bool:
    """Say whether an index is one that only arrays take: a slice, a comparison, several at once."""
    kinds = ast.Slice | ast.Compare | ast.Invert
    named = isinstance(index, ast.Name) and _OF_SEVERAL.search(index.id) is not None
    return named or isinstance(index, ast.Tuple) or any(isinstance(one, kinds) for one in walk(index))


_OF_SEVERAL = re.compile(r"(^|_)(ind|inds|indices|indexes|mask\w*)(_|$)")
