"""A value is made from another one, and then the other one is used.

What it finds:
    One of the two parts of a `chunk` or `split` that nothing reads; `x_numpy = x.numpy()` that nothing reads where `x`
    itself is used further down; `all_idx = np.concatenate([idx, last])` or `population2 = torch.minimum(population,
    bound)` that nothing reads where what it was made of is used as if nothing had been; a norm whose result is only
    returned, while the head gets what came before it; and a loop's variable that is only changed, while its body uses
    the whole list.

Why:
    The gate of a gated unit does nothing, a metric gets what was to be left out, a loss is that of the wrong layer.

How sure:
    The name is read nowhere in the function, also not by `locals()`. The variance of a distribution whose mean is used
    is often left out on purpose. What is combined is called after what it was made of (`population2`, `new_mask`,
    `indices` of `idx`). Names that begin with an underscore say that they
    are not needed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import children, walk
from trainworthy.check.static.words import says_changed

BAD = """\
import torch
from torch import nn


class GEGLU(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 2 * width)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, dim=-1)  # <- TW830
        return x * torch.nn.functional.gelu(x)
"""

GOOD = """\
import torch
from torch import nn


class GEGLU(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 2 * width)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * torch.nn.functional.gelu(gate)
"""

_PARTS = frozenset({"chunk", "split", "tensor_split", "unbind"})
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_MEAN = re.compile(r"(^|_)(mean|mu)s?($|_)")
_SPREAD = re.compile(r"(^|_)(log_?)?(var|variance|std|sigma|scale)s?($|_)")


@rule(code="TW830", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions, one by one."""
    if "torch" not in analysis.source.words:
        return
    yield from _combined_or_normalised(analysis)
    lines = _candidates(analysis)
    done = 0  # the last line of the outermost function before
    functions = [one for one in analysis.nodes.get(ast.FunctionDef, []) if isinstance(one, ast.FunctionDef)]
    for node in sorted(functions, key=lambda one: one.lineno) if lines else ():
        end = node.end_lineno or node.lineno
        if end <= done:
            continue
        done = end
        if any(node.lineno < line <= end for line in lines):
            yield from _in_function(analysis, node)


def _candidates(analysis: Analysis) -> list[int]:
    """Return the lines of statements that may be one of the three by their form."""
    lines = []
    bound = set()
    for one in analysis.nodes.get(ast.Assign, []):
        if not isinstance(one, ast.Assign) or len(one.targets) != 1:
            continue
        target = one.targets[0]
        if isinstance(target, ast.Name):
            bound.add(target.id)
            if any(target.id.startswith(source) and target.id != source for source in _converted_from(one.value)):
                lines.append(one.lineno)
        elif isinstance(target, ast.Tuple) and len(target.elts) == 2 and isinstance(one.value, ast.Call):
            lines += [one.lineno] * (getattr(one.value.func, "attr", "") in _PARTS)
    loops = [one for one in analysis.nodes.get(ast.For, []) if isinstance(one, ast.For)]
    lines += [one.lineno for one in loops if any(name in bound for name, _ in _pairs(one))]
    return lines


def _in_function(analysis: Analysis, function: ast.FunctionDef) -> Iterator[Hit]:
    loads: dict[str, list[ast.Name]] = {}
    stores: dict[str, list[ast.Name]] = {}
    assigns: list[ast.Assign] = []
    loops: list[ast.For] = []
    for one in walk(function):
        if isinstance(one, ast.Name):
            (loads if isinstance(one.ctx, ast.Load) else stores).setdefault(one.id, []).append(one)
        elif isinstance(one, ast.Assign):
            assigns.append(one)
        elif isinstance(one, ast.For):
            loops.append(one)
        elif isinstance(one, ast.Global | ast.Nonlocal | ast.Delete):
            return
    if "locals" in loads or "vars" in loads:
        return
    for statement in assigns:
        if len(statement.targets) == 1:
            yield from _parts(analysis, statement, loads)
            yield from _converted(analysis, statement, loads, stores)
    for loop in loops:
        yield from _elements(analysis, loop, loads)


def _parts(analysis: Analysis, statement: ast.Assign, loads: dict[str, list[ast.Name]]) -> Iterator[Hit]:
    """Yield parts of a tensor that nothing reads, beside others that are read."""
    target, value = statement.targets[0], statement.value
    if (
        not isinstance(target, ast.Tuple)
        or not isinstance(value, ast.Call)
        or not isinstance(value.func, ast.Attribute)
    ):
        return
    if value.func.attr not in _PARTS or _is_of_text(value) or _is_cut_off(value):
        return
    names = [one.id for one in target.elts if isinstance(one, ast.Name)]
    unread = [one for one in names if one not in loads and not one.startswith("_")]
    if len(names) == len(target.elts) == 2 and len(unread) == 1:  # of three, one is often left out on purpose
        if any(_MEAN.search(one) for one in names) and _SPREAD.search(unread[0]):
            return
        yield Hit(
            place=analysis.place(statement),
            message=f"`{unread[0]}` is split off and never used",
            fix="Use it, or call it `_`.",
        )


def _is_of_text(call: ast.Call) -> bool:
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in call.args) or not (
        call.args or call.keywords
    )


def _is_cut_off(call: ast.Call) -> bool:
    """Say whether NumPy splits at one index: what comes after it is often not wanted, as the alpha of a picture."""
    return any(isinstance(one, ast.List | ast.Tuple) and len(one.elts) == 1 for one in call.args)


def _converted(
    analysis: Analysis, statement: ast.Assign, loads: dict[str, list[ast.Name]], stores: dict[str, list[ast.Name]]
) -> Iterator[Hit]:
    """Yield converted copies that nothing reads, where what they were made of is used further down."""
    target = statement.targets[0]
    if not isinstance(target, ast.Name) or target.id in loads or target.id.startswith("_"):
        return
    for source in _converted_from(statement.value):
        if len(source) < 2 or not target.id.startswith(source):
            continue
        end = statement.end_lineno or statement.lineno
        later = [one for one in loads.get(source, []) if one.lineno > end]
        bound = [one for one in stores.get(source, []) if one.lineno > statement.lineno]
        if later and not bound:
            yield Hit(
                place=analysis.place(statement),
                message=f"`{target.id}` is never used, `{source}` is",
                evidence=(Evidence("it is used here", analysis.place(later[0])),),
                fix=f"Is `{target.id}` meant there?",
            )
            return


def _converted_from(node: ast.expr) -> Iterator[str]:
    """Yield the names that an expression is only another form of: `x.cpu().numpy()`, `torch.sigmoid(x)`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        holder = node.func.value
        if is_usual_name(holder):
            yield from (one.id for one in node.args[:1] if isinstance(one, ast.Name))
            return
        if node.func.attr not in _FORMS:
            return
        node = holder
    if isinstance(node, ast.Name):
        yield node.id


_FORMS = frozenset(
    "numpy cpu detach to float long int half double squeeze unsqueeze view reshape permute transpose softmax sigmoid "
    "log_softmax argmax clone flatten exp log item tolist contiguous cuda tanh type".split()
)


def _elements(analysis: Analysis, loop: ast.For, loads: dict[str, list[ast.Name]]) -> Iterator[Hit]:
    """Yield loops that only rebind their variable, and use the list that it comes from."""
    for name, whole in _pairs(loop):
        if name.startswith("_") or name == whole or not name.startswith(whole.rstrip("s")):
            continue
        own = [one for inner in walk(loop) if _rebinds(inner, name) for one in walk(inner)]
        reads = [one for one in loads.get(name, []) if loop.lineno < one.lineno]
        uses = [one for one in loads.get(whole, []) if loop.body[0].lineno <= one.lineno <= (loop.end_lineno or 0)]
        if uses and reads and all(one in own for one in reads):
            yield Hit(
                place=analysis.place(uses[0]),
                message=f"`{name}`, taken from `{whole}` in each turn, is never used, `{whole}` is",
                fix=f"Is `{name}` meant here?",
            )


def _rebinds(node: ast.AST, name: str) -> bool:
    """Say whether a statement only binds a name, under a condition or not."""
    if isinstance(node, ast.If):
        return not node.orelse and all(_rebinds(one, name) for one in node.body)
    return isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets)


def _pairs(loop: ast.For) -> Iterator[tuple[str, str]]:
    """Yield a loop's variables with what they run over."""
    target, value = loop.target, loop.iter
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "enumerate" and value.args:
        if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
            return
        target, value = target.elts[1], value.args[0]
    values = value.args if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "zip" else [value]
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    for one, other in zip(targets, values, strict=False):
        if isinstance(one, ast.Name) and isinstance(other, ast.Name):
            yield one.id, other.id


def _combined_or_normalised(analysis: Analysis) -> Iterator[Hit]:
    """Look at the names of whole functions."""
    for node in functions_of(analysis.nodes):
        if not any(isinstance(one, ast.Assign) for one in walk(node)):
            continue
        names = bindings_of(node)
        if names.opaque:
            continue
        values: dict[str, list[ast.Assign]] = {}
        for statement, name in names.plain_assignments():
            values.setdefault(name, []).append(statement)
        for name, statements in values.items():
            if not name.startswith("_") and name not in names.parameters and len(names.stores[name]) == len(statements):
                yield from _combined(analysis, names, name, statements)
                yield from _normalised(analysis, names, name, statements)


def _combined(analysis: Analysis, names: Bindings, name: str, statements: list[ast.Assign]) -> Iterator[Hit]:
    """Yield a value that is made of another, never read, and called after it, when the other is used afterwards."""
    if names.is_used(name):
        return
    own = {one for statement in statements for one in walk(statement)}
    first = statements[0]
    end = first.end_lineno or first.lineno
    for source in dict.fromkeys(_made_of(first.value)):
        if source == name or not says_changed(name, source):
            continue
        anew = [one.lineno for one in names.stores.get(source, []) if one.lineno > end]
        later = [one for one in names.reads.get(source, []) if one.lineno > end and one not in own]
        later = [one for one in later if not any(line < one.lineno for line in anew)]
        if later:
            yield Hit(
                place=analysis.place(first),
                message=f"`{name}` is never used, `{source}` is",
                evidence=(Evidence("it is used here", analysis.place(later[0])),),
                fix=f"Is `{name}` meant there?",
            )
            return


def _made_of(value: ast.expr) -> Iterator[str]:
    """Yield the names that a sum, a product or the arguments of a call consist of."""
    parts = [value.left, value.right] if isinstance(value, ast.BinOp) else []
    if isinstance(value, ast.Call) and getattr(value.func, "attr", "") in _COMBINES:
        parts = [*value.args]
        parts += [value.func.value] if isinstance(value.func, ast.Attribute) else []
    for part in parts:
        for one in walk(part):
            if isinstance(one, ast.Name):
                yield one.id


_COMBINES = frozenset(
    "cat concat concatenate where minimum maximum clamp clip clamp_min clamp_max masked_fill normalize dropout pad add "
    "sub mul div multiply lerp hstack vstack append roll interpolate".split()
)
_IS_NORM = re.compile(r"(^|_)(layer_?|batch_?|rms_?|final_?|out_?)?(norm|ln|layernorm)(_?(f|out|final|\d+))?$")


def _normalised(analysis: Analysis, names: Bindings, name: str, statements: list[ast.Assign]) -> Iterator[Hit]:
    """Yield what a norm of the module gave, if it is only returned and the next module gets what came before it."""
    call = statements[0].value
    if len(statements) > 1 or not isinstance(call, ast.Call) or not _is_of_self(call):
        return
    given = call.args[0] if len(call.args) == 1 else None
    if not isinstance(given, ast.Name) or given.id == name or not _IS_NORM.search(getattr(call.func, "attr", "")):
        return
    parents = {child: node for node in walk(names.function) for child in children(node)}
    if not all(_is_returned(one, parents) for one in names.reads.get(name, [])):
        return
    later = [one for one in names.reads[given.id] if one.lineno > call.lineno]
    for one in later:
        parent = parents.get(one)
        if isinstance(parent, ast.Call) and parent.args == [one] and _is_of_self(parent) and len(later) == 1:
            yield Hit(
                place=analysis.place(parent),
                message=f"`{name}` is the norm of `{given.id}` and goes nowhere; `{given.id}` goes on as it was",
                evidence=(Evidence("the norm", analysis.place(statements[0])),),
                fix=f"Is `{name}` meant here?",
            )


def _is_of_self(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "self"


def _is_returned(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a name stands in a `return`, alone or beside others, or in such a pair."""
    parent = parents.get(node)
    while isinstance(parent, ast.Tuple | ast.IfExp):
        parent = parents.get(parent)
    return isinstance(parent, ast.Return | ast.Assign)
