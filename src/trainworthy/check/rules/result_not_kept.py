"""The result of an operation that changes nothing is thrown away.

What it finds:
    `x.masked_fill(mask, 0)`, `x.unsqueeze(0)`, `torch.cat([x, y])`, `np.append(x, y)`, `text.replace(old, "")`,
    `sorted(names)`, `picture.filter(ImageFilter.BLUR)` and the like as a whole statement; `x.view(-1, 10)`,
    `x.to(device)` and other methods of what is surely a tensor; also `self.dropout(x)` of a layer that does not work in
    place, and a call of a function of the project that only computes.

Why:
    These return something new and leave what they are given as it was; the mask is never applied, the picture never
    blurred. The methods that change their tensor end in an underscore.

How sure:
    Certain for tensors, arrays, text and pictures, and for methods that only they have. What is not known is one of
    them if its function computes with it or asks for its shape, or moves and keeps the rest of the same batch. A
    warning for text, for `x.to(...)` and for `sorted`, as what comes next often does without. Silent within `try`, for
    `torch.cat` of one, `with pytest.raises(...)` and other contexts that expect an exception, and where the call may be
    there to warm something up (a bare call in a loop that does nothing else, if it computes).

When it is wrong:
    An object of another library has a method of that name that changes the object.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.facts import Call
from trainworthy.check.static.pure import is_pure
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.used_as_tensors import is_of_a_tensor
from trainworthy.check.static.values import Instance, Tensor

BAD = """\
import torch
import torch.nn as nn


class Attention(nn.Module):
    def forward(self, scores, mask):
        scores.masked_fill(mask, float("-inf"))  # <- TW841
        if scores.dim() == 1:
            scores.unsqueeze(0)  # <- TW841
        return scores.softmax(-1)
"""

GOOD = """\
import torch
import torch.nn as nn


class Attention(nn.Module):
    def forward(self, scores, mask):
        scores.masked_fill_(mask, float("-inf"))
        if scores.dim() == 1:
            scores = scores.unsqueeze(0)
        return scores.softmax(-1)
"""

# Methods that no other well-known kind of object has.
_TENSOR_ONLY = frozenset(
    "masked_fill masked_scatter unsqueeze squeeze permute clamp index_fill index_copy scatter_add logical_not view_as "
    "expand_as type_as masked_select".split()
)
# Methods of tensors that other objects have, too.
_SHARED = frozenset(
    "view reshape transpose expand repeat flatten detach clone contiguous softmax log_softmax sigmoid abs neg sqrt exp "
    "log float half double long int bool add sub mul div to cuda cpu "
    "bfloat16 relu".split()
)
_OF_MANY = frozenset({"add", "log", "cpu", "int"})  # sets, loggers, what waits for a device
_OF_TORCH = (*_TENSOR_ONLY, *"abs exp log sqrt sigmoid softmax cat stack where flip roll sort reshape relu".split())
_OF_NUMPY = (
    "append concatenate stack vstack hstack clip pad delete insert sort flip roll reshape transpose squeeze where "
    "expand_dims swapaxes moveaxis repeat tile"
).split()
_FUNCTIONAL = ("pad", "normalize", "interpolate", "one_hot", "softmax", "dropout")
_FUNCTIONS = frozenset(
    {
        *(f"torch.{name}" for name in (*_OF_TORCH, "transpose")),
        *(f"torch.nn.functional.{name}" for name in _FUNCTIONAL),
        *(f"numpy.{name}" for name in _OF_NUMPY),
        "builtins.sorted",
        "builtins.reversed",
    }
)
_OF_ARRAYS = frozenset("reshape transpose astype squeeze flatten clip repeat swapaxes".split())
_OF_TEXT = frozenset("replace strip lstrip rstrip".split())
_OF_PICTURES = frozenset("filter resize convert crop rotate transpose".split())
_CLIP_ARGUMENTS = 3  # of np.clip; what comes after them is written into
_PICTURES = frozenset({"PIL.Image.open", "PIL.Image.fromarray", "PIL.Image.new"})


@rule(code="TW841", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at statements that are such a call."""
    yield from _texts(analysis)
    yield from _layers_and_functions(analysis)
    statements = {part: tree for tree in analysis.nodes.get(ast.Expr, ()) for part in _whole(tree)}
    expected = _expects_exceptions(analysis)
    words = analysis.source.words
    functions = (name.rpartition(".")[2] for name in _FUNCTIONS)
    names = {*_TENSOR_ONLY, *_SHARED, *_OF_ARRAYS, *_OF_PICTURES, *functions} & words
    pictures = _pictures(analysis) if "PIL" in words and _OF_PICTURES & words else frozenset()
    for call in once_per_place(analysis.method_calls(*sorted(names))):
        if call.node not in statements or call.keywords.keys() & {"out", "inplace"}:
            continue
        if call.node in expected or not (_pure(analysis, call) or _is_of_a_picture(call, pictures)):
            continue
        if analysis.source.path.endswith(".ipynb") and _is_shown(analysis, call):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"the result of `{call.method}` is thrown away; {_what(call)} stays as it was",
            fix=f"Assign the result, or use `{call.method}_` where there is one.",
            severity="warning" if call.method == "to" or call.name == "builtins.sorted" else None,
        )


def _is_shown(analysis: Analysis, call: Call) -> bool:
    """Say whether a notebook may show a value below its cell: what stands in no function and no loop."""
    statement = analysis.parents.get(call.node)
    return call.context.function is None and isinstance(analysis.parents.get(statement or call.node), ast.Module)


def _what(call: Call) -> str:
    """Name what stays as it was."""
    if call.name.startswith("builtins."):
        return "what it was given"
    if call.name.startswith("numpy."):
        return "the array"
    return "the picture" if call.method in _OF_PICTURES - _SHARED else "the tensor"


def _pictures(analysis: Analysis) -> frozenset[str]:
    """Return the names that pictures are bound to, and nothing else is."""
    made: set[str] = set()
    others: set[str] = set()
    opened = {call.node for call in analysis.calls(*_PICTURES)}
    for one in analysis.nodes.get(ast.Assign, []):
        value = getattr(one, "value", None)
        while isinstance(value, ast.Call) and value not in opened and getattr(value.func, "attr", "") in _OF_PICTURES:
            value = value.func.value  # type: ignore[attr-defined]
        names = {target.id for target in getattr(one, "targets", []) if isinstance(target, ast.Name)}
        (made if value in opened else others).update(names)
    return frozenset(made - others)


def _is_of_a_picture(call: Call, pictures: frozenset[str]) -> bool:
    func = call.node.func
    if not isinstance(func, ast.Attribute) or func.attr not in _OF_PICTURES or not call.node.args:
        return False
    if func.attr == "filter" and any("ImageFilter." in unparsed(one) for one in call.node.args):
        return True
    return isinstance(func.value, ast.Name) and func.value.id in pictures


def _texts(analysis: Analysis) -> Iterator[Hit]:
    """Yield calls of methods that only text has, by their arguments."""
    if not _OF_TEXT & analysis.source.words or "def replace(" in analysis.source.text:
        return
    modules = {one.asname or one.name for kind in (ast.Import, ast.ImportFrom)
               for node in analysis.nodes.get(kind, []) for one in getattr(node, "names", [])}  # fmt: skip
    for statement in analysis.nodes.get(ast.Expr, []):
        for call in _whole(statement):
            func = call.func if isinstance(call, ast.Call) and not call.keywords else None
            if not isinstance(call, ast.Call) or not isinstance(func, ast.Attribute) or func.attr not in _OF_TEXT:
                continue
            if getattr(func.value, "id", "self") in modules | {"self"} or not _gets_text(func.attr, call.args):
                continue
            yield Hit(
                place=analysis.source.place(call),
                message=f"the result of `{func.attr}` is thrown away; the text stays as it was",
                fix="Assign the result.",
                severity="warning",
            )


def _layers_and_functions(analysis: Analysis) -> Iterator[Hit]:
    """Yield layers that are called in a method for nothing, and functions of the project that only compute."""
    statements = {getattr(one, "value", None) for one in analysis.nodes.get(ast.Expr, [])}
    expected: set[ast.AST] | None = None
    for call in once_per_place(one for one in analysis.all_calls if one.node in statements):
        function, around = called_function(call), call.context.function
        pure = function is not None and isinstance(function.node, ast.FunctionDef) and is_pure(function.node)
        if call.context.source is not analysis.source or around is None or not (pure or _is_a_layer(call)):
            continue
        if around.owner is None and not pure:
            continue
        expected = _expects_exceptions(analysis) if expected is None else expected
        if call.node not in expected and not around.name.startswith("test"):
            called = unparsed(call.node.func)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the result of `{called}` is thrown away; what it was given stays as it was",
                fix="Assign the result.",
            )


def _is_a_layer(call: Call) -> bool:
    """Say whether a layer of torch that keeps nothing and does not work in place is called."""
    if not isinstance(call.owner, Instance) or _LAYER.fullmatch(call.name) is None or call.owner.made_by is None:
        return False
    made = call.owner.made_by.node
    written = [*made.args, *[one.value for one in made.keywords if one.arg in (None, "inplace")]]
    return not any(isinstance(one, ast.Constant) and one.value is True for one in written)


_LAYER = re.compile(
    r"torch\.nn\.(Dropout[123]?d?|AlphaDropout|ReLU6?|LeakyReLU|GELU|ELU|SELU|SiLU|Sigmoid|Tanh|Softmax2?d?|LogSoftmax|"
    r"Linear|Conv[123]d|ConvTranspose[123]d|LayerNorm|GroupNorm|RMSNorm|Embedding|AvgPool[123]d|MaxPool[123]d|Softplus)"
    r"\.__call__"
)


def _gets_text(method: str, arguments: list[ast.expr]) -> bool:
    texts = [isinstance(one, ast.Constant) and isinstance(one.value, str) for one in arguments]
    return len(texts) == 2 and any(texts) if method == "replace" else len(texts) < 2 and all(texts)


def _whole(statement: ast.AST) -> list[ast.AST]:
    """Return the calls whose value is that of a statement."""
    value = getattr(statement, "value", None)
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value] if value is not None else []


def _pure(analysis: Analysis, call: Call) -> bool:
    if call.name in _FUNCTIONS:
        into = call.name == "numpy.clip" and len(call.node.args) > _CLIP_ARGUMENTS
        return (
            not into
            and not _joins_one(call)
            and not any(isinstance(one, ast.Constant) and one.value is True for one in call.node.args)
        )
    if not isinstance(call.node.func, ast.Attribute):
        return False
    if isinstance(call.owner, Tensor) and call.owner.library == "numpy.ndarray":
        return call.method in _OF_ARRAYS and len(call.node.args) < _CLIP_ARGUMENTS
    if isinstance(call.owner, Tensor):
        return call.owner.library == "torch.Tensor" and call.method in _TENSOR_ONLY | _SHARED
    if not call.name.startswith("?."):
        return False
    if call.method in _TENSOR_ONLY and (call.node.args or call.node.keywords):
        return True
    if "torch" not in analysis.source.words:
        return False  # blobs of caffe are reshaped in place
    return call.method in (_TENSOR_ONLY | _SHARED) - _OF_MANY and is_of_a_tensor(analysis, call.node)


def _joins_one(call: Call) -> bool:
    """Say whether a list of one tensor is joined, which makes it again."""
    given = call.node.args[0] if call.node.args else None
    return call.name == "torch.cat" and isinstance(given, ast.List | ast.Tuple) and [
        isinstance(one, ast.Starred) for one in given.elts] == [False]  # fmt: skip


def _is_a_view(node: ast.expr) -> bool:
    """Say whether a call does no work at all, so that it can be there neither to warm up nor to be timed."""
    return called(node) in ("unsqueeze", "squeeze", "view", "permute", "transpose", "flatten", "expand")


def _expects_exceptions(analysis: Analysis) -> set[ast.AST]:
    """Return what stands in ``try`` or a context that expects an exception, or is all that a loop does, to warm up."""
    found: set[ast.AST] = set()
    for kind in (ast.Try, ast.With):
        for node in analysis.nodes.get(kind, ()):
            if isinstance(node, ast.With) and not any("aise" in unparsed(item.context_expr) for item in node.items):
                continue
            found |= {inner for statement in node.body for inner in walk(statement)}  # type: ignore[attr-defined]
    for loop in (ast.For, ast.While):
        for node in analysis.nodes.get(loop, ()):
            alone = node.body[0] if len(node.body) == 1 else None  # type: ignore[attr-defined]
            if isinstance(alone, ast.Expr) and not _is_a_view(alone.value):
                found |= set(walk(alone))
    return found
