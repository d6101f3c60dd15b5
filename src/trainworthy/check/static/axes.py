"""The sizes of tensors by the names that the source gives them, followed through views, permutes and products."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import (
    arguments_after_subject,
    called,
    integer,
    is_shape_of,
    keyword,
    scope_of,
    subject,
)
from trainworthy.check.static.tree import own, unparsed, walk

Axes = tuple[str | None, ...]  # None: a size that the source does not name
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
_KEEPS = frozenset(
    "contiguous clone float double half to type type_as detach masked_fill masked_fill_ clamp log exp softmax "
    "log_softmax sigmoid relu tanh gelu dropout layer_norm normalize cuda cpu bfloat16 abs sqrt rsqrt neg roll".split()
)
_LAYERS = re.compile(
    r"torch\.nn\.(Dropout\w*|LayerNorm|BatchNorm\dd|GroupNorm|RMSNorm|GELU|\w*ReLU6?|SiLU|Softmax|Tanh|Sigmoid|Identity|"
    r"Linear)\.__call__$"
)
# Layers, and functions of them, that are called by what keeps the axes of their first argument.
_NAMED_LAYERS = re.compile(
    r"(^|_)(drop(out)?|drop_path\d?|norm|ln|act|activation|relu|gelu|softmax|ls|layer_scale|pos_embed|attn|attention|mlp|"
    r"ffn|transformer|tr)(_|\d|$)"
)
_NAMED_FUNCTIONS = re.compile(r"(apply_)?(rotary|rope|rot)\w*$")
_OF_TRANSFORMERS = ("src_key_padding_mask", "key_padding_mask", "attn_mask", "src_mask")
_DEPTH = 12


def axes_of(analysis: Analysis, node: ast.expr, depth: int = _DEPTH) -> Axes | None:
    """Return the sizes of a tensor, as far as the source names them; None if not even their number is known."""
    if depth == 0:
        return None
    if isinstance(node, ast.Name):
        return _of_name(analysis, node, depth)
    if isinstance(node, ast.BinOp):
        left, right = (axes_of(analysis, one, depth - 1) for one in (node.left, node.right))
        if isinstance(node.op, ast.MatMult):
            return _multiplied(left, right)
        return max((one for one in (left, right) if one is not None), key=len, default=None)
    if isinstance(node, ast.Subscript):
        return _indexed(axes_of(analysis, node.value, depth - 1), node.slice)
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT", "data"):
        inner = axes_of(analysis, node.value, depth - 1)
        turned = node.attr != "data" and inner is not None and len(inner) >= 2
        return (*inner[:-2], inner[-1], inner[-2]) if turned and inner is not None else inner
    return _of_call(analysis, node, depth) if isinstance(node, ast.Call) else None


def written_axes(node: ast.Call) -> Axes | None:
    """Return the sizes that a view or reshape asks for; "-1" for what is left."""
    given = arguments_after_subject(node)
    parts = given[0].elts if len(given) == 1 and isinstance(given[0], ast.Tuple | ast.List) else given
    if len(parts) < 2 or any(isinstance(one, ast.Starred) for one in parts):
        return None
    return tuple(unparsed(one) for one in parts)


def _of_name(analysis: Analysis, name: ast.Name, depth: int) -> Axes | None:
    """Return the sizes that a name was last given above a place, the same in whichever branch that was."""
    scope = scope_of(name, analysis.parents)
    if not isinstance(scope, _Scope):
        return None
    line = _statement(name, analysis).lineno
    found: Axes | None = None
    later: list[ast.stmt] = []
    for bound, value, sizes in reversed(_events(scope, name.id)):
        if bound.lineno >= line:
            continue
        axes = sizes if value is None else axes_of(analysis, value, depth - 1)
        if axes is None or found not in (None, axes):
            return None
        found = axes
        if _surely_before(bound, name, analysis) or _is_the_other_side(bound, later, name, analysis):
            return found
        later.append(bound)
    return None


def _events(scope: _Scope, name: str) -> list[tuple[ast.stmt, ast.expr | None, Axes | None]]:
    """Return where a name is bound, to what, and where all of its sizes are unpacked."""
    found: list[tuple[ast.stmt, ast.expr | None, Axes | None]] = []
    for node in own(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            found += [(node, *one) for one in _given(node.targets[0], node.value, name)]
        elif isinstance(node, ast.AnnAssign) and _binds(node.target, name):
            found.append((node, node.value, None))
        elif isinstance(node, ast.For | ast.With) and _binds(node, name, deep=False):
            found.append((node, None, None))
    return found


def _given(target: ast.expr, value: ast.expr, name: str) -> list[tuple[ast.expr | None, Axes | None]]:
    """Return what an assignment says of a name: the expression it gets, or its sizes."""
    if not isinstance(target, ast.Tuple):
        return [(value, None)] if _binds(target, name) else []
    if is_shape_of(value, name):
        sizes = tuple(one.id if isinstance(one, ast.Name) and one.id != "_" else None for one in target.elts)
        return [(None, None if any(isinstance(one, ast.Starred) for one in target.elts) else sizes)]
    if called(value) in ("unbind", "chunk", "split") and all(isinstance(one, ast.Name) for one in target.elts):
        return [(value, None)] if _binds(target, name) else []  # all parts have the same axes
    if isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=False)
        return [(given, None) for one, given in pairs if _binds(one, name)]
    return [(None, None)] if _binds(target, name) else []


def _binds(node: ast.AST, name: str, *, deep: bool = True) -> bool:
    """Say whether a target binds a name; of a loop or block, whether its own target does."""
    if not deep:
        inner = [node.target] if isinstance(node, ast.For) else getattr(node, "items", [])
        return any(_binds(one, name) for one in inner)
    return any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store) for one in walk(node))


def _statement(node: ast.AST, analysis: Analysis) -> ast.stmt:
    while not isinstance(node, ast.stmt):
        node = analysis.parents[node]
    return node


def _is_the_other_side(bound: ast.stmt, later: list[ast.stmt], name: ast.Name, analysis: Analysis) -> bool:
    """Say whether a statement stands in one side of a branch, and one that was met before in the other."""
    branch = analysis.parents.get(bound)
    if not isinstance(branch, ast.If) or not _surely_before(branch, name, analysis):
        return False
    other = branch.orelse if bound in branch.body else branch.body
    return any(one in other for one in later)


def _surely_before(statement: ast.stmt, name: ast.Name, analysis: Analysis) -> bool:
    """Say whether a statement runs whenever a name is reached below it: no branch or loop is around it alone."""
    around: set[ast.AST] = set()
    node: ast.AST = name
    while node in analysis.parents:
        child, node = node, analysis.parents[node]
        if isinstance(node, ast.If):
            sides = [side for side in (node.body, node.orelse) if any(statement in walk(one) for one in side)]
            if sides and not any(child in side for side in sides):
                return False
        around.add(node)
    return analysis.parents.get(statement) in around


def _of_call(analysis: Analysis, node: ast.Call, depth: int) -> Axes | None:
    name, on = called(node), subject(node)
    given = [integer(one) for one in arguments_after_subject(node)]
    if name == "einsum":
        return _of_einsum(node)
    if name == "rearrange":
        return _of_rearrange(node)
    if name in ("view", "reshape"):
        asked = written_axes(node)
        return tuple(None if one == "-1" else one for one in asked) if asked is not None else None
    layer = analysis.call_at.get(node)
    if layer is not None and _LAYERS.match(layer.name) and len(node.args) == 1:
        inner = axes_of(analysis, node.args[0], depth - 1)
        linear = ".Linear." in layer.name and inner is not None
        return (*inner[:-1], None) if linear and inner is not None else inner
    if node.args and _keeps_layout(node, name):
        return axes_of(analysis, node.args[0], depth - 1)
    inner = axes_of(analysis, on, depth - 1) if on is not None else None
    if name in ("matmul", "bmm"):
        rest = arguments_after_subject(node)
        return _multiplied(inner, axes_of(analysis, rest[0], depth - 1)) if rest else None
    if name == "scaled_dot_product_attention" and len(node.args) > 2:
        values = axes_of(analysis, node.args[2], depth - 1)
        causal = getattr(keyword(node, "is_causal"), "value", False) is True  # as many queries as keys
        if inner is None and values is not None and len(values) > 2:
            return values if causal else (*values[:-2], None, values[-1])
        return (*inner[:-1], values[-1] if values is not None else None) if inner else None
    if inner is None or name in _KEEPS:
        return inner
    if name in ("unbind", "chunk", "split"):
        return _part(name, inner, node)
    return _rearranged(name, inner, given, node)


def _part(name: str, axes: Axes, node: ast.Call) -> Axes | None:
    """Return the sizes of one part of a tensor that is taken apart along an axis."""
    rest = arguments_after_subject(node)
    where = keyword(node, "dim") or (rest[0] if name == "unbind" and rest else rest[1] if len(rest) > 1 else None)
    at = integer(where) if where is not None else 0
    if at is None or not -len(axes) <= at < len(axes):
        return None
    at %= len(axes)
    return (*axes[:at], *(() if name == "unbind" else (None,)), *axes[at + 1 :])


def _keeps_layout(node: ast.Call, name: str) -> bool:
    """Say whether a layer that is not at hand surely has the axes of its first argument, by its name or arguments."""
    if isinstance(node.func, ast.Name):
        return _NAMED_FUNCTIONS.match(name) is not None and len(node.args) > 1
    of_self = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "self"
    return of_self and (_NAMED_LAYERS.search(name) is not None or keyword(node, *_OF_TRANSFORMERS) is not None)


def _rearranged(name: str, axes: Axes, given: list[int | None], node: ast.Call) -> Axes | None:
    rank = len(axes)
    if name == "permute":
        args = arguments_after_subject(node)
        listed = args[0].elts if len(args) == 1 and isinstance(args[0], ast.Tuple | ast.List) else args
        order = [integer(one) for one in listed]
        if None in order or len(order) != rank or keyword(node, "dims") is not None:
            return None
        return tuple(axes[one] for one in order if one is not None and -rank <= one < rank)
    if name in ("transpose", "swapaxes", "swapdims") and len(given) == 2:
        a, b = given
        if a is None or b is None or not (-rank <= a < rank and -rank <= b < rank):
            return None
        turned = list(axes)
        turned[a], turned[b] = turned[b], turned[a]
        return tuple(turned)
    if name == "flatten" and len(given) == 1 and given[0] is not None and 0 <= given[0] < rank:
        merged = [one for one in axes[given[0] :] if one is not None]
        whole = len(merged) == rank - given[0] and all(one.isidentifier() for one in merged)
        return (*axes[: given[0]], " * ".join(merged) if whole else None)
    if name == "unsqueeze" and len(given) == 1 and given[0] is not None and -rank - 1 <= given[0] <= rank:
        at = given[0] if given[0] >= 0 else rank + 1 + given[0]
        return (*axes[:at], "1", *axes[at:])
    return None


def _multiplied(left: Axes | None, right: Axes | None) -> Axes | None:
    """Return the sizes of a matrix product; those of the batch are the same on both sides."""
    if left is not None and right is not None and len(left) >= 2 and len(right) >= 2:
        longer = max(left, right, key=len)
        return (*longer[:-2], left[-2], right[-1])
    if left is None and right is not None and len(right) >= 3:
        return (*right[:-2], None, right[-1])
    return (*left[:-1], None) if left is not None and len(left) >= 3 else None


def _indexed(axes: Axes | None, index: ast.expr) -> Axes | None:
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    if axes is None or len(parts) > len(axes):
        return None
    found: list[str | None] = []
    for size, part in zip(axes, parts, strict=False):
        if isinstance(part, ast.Slice):
            found.append(size if part.lower is None and part.upper is None and part.step is None else None)
        elif integer(part) is None:
            return None
    return (*found, *axes[len(parts) :])


def _of_einsum(node: ast.Call) -> Axes | None:
    equation = equation_of(node)
    return tuple(equation[1]) if equation is not None else None


def equation_of(node: ast.Call) -> tuple[list[list[str]], list[str]] | None:
    """Return the axes of the operands and of the result of an einsum; None if it is written in another way."""
    text = next((one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)), None)
    text = text if text is not None else _plain_text(node)
    if text is None or text.count("->") != 1 or "." in text:
        return None
    before, after = text.split("->")
    spaced = " " in before.split(",")[0].strip()
    split = str.split if spaced else (lambda one: list(one.replace(" ", "")))
    return [split(one.strip()) for one in before.split(",")], split(after.strip())


def _plain_text(node: ast.Call) -> str | None:
    """Return the text of an f-string that holds nothing."""
    first = node.args[0] if node.args else None
    parts = first.values if isinstance(first, ast.JoinedStr) else []
    texts = [one.value for one in parts if isinstance(one, ast.Constant)]
    return str(texts[0]) if len(parts) == len(texts) == 1 else None


def _of_rearrange(node: ast.Call) -> Axes | None:
    pattern = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else None
    if not isinstance(pattern, str) or pattern.count("->") != 1 or "..." in pattern:
        return None
    return tuple(re.findall(r"\([^)]*\)|\S+", pattern.split("->")[1]))
