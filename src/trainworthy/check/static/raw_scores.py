"""Log-likelihood losses of scores that nothing turned into log-probabilities."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, last_given, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import NLL, body_of, is_a_module, is_a_test, names_in, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Function, ProjectClass, Tensor, Value
from trainworthy.check.static.without_logarithms import without_logarithms

_VIEWS = frozenset(
    "view reshape flatten contiguous transpose permute squeeze unsqueeze float double half to cuda cpu clone type_as t "
    "rearrange masked_fill where cat stack interpolate".split()
)
_MAKES_LOGARITHMS = re.compile(
    r"log_?soft|log_?sum|log_?prob|log_?sigmoid|log_?lik|normali[sz]e|energ|crf", re.IGNORECASE
)
_OTHER_LOSSES = re.compile(r"(?!NLL)[A-Z]\w*Loss$|\w*cross_entropy\w*$|(mse|l1|smooth_l1|huber)_loss$|kl_div$")
_LOGITS = re.compile(r"(^|_)logits?(_|$)")
_LOGARITHM = re.compile(r"log_?soft|log_?sum|(^|_)l?log_?p|lprob|log_?sigmoid|log_?lik|normali[sz]ed|logaddexp|^log_?$")
_LOSS_CLASS = re.compile(r"loss|criterion|ctc|autograd|(?-i:^\w+Function\b)", re.IGNORECASE)
_IN_PLACE = frozenset({"sub_", "log_", "copy_", "add_", "div_", "mul_"})
_LOGS_FOR_READERS = re.compile(r"wandb|log|writer|self|run|track|math|experiment|mlflow|trainer|metric", re.IGNORECASE)


def met(analysis: Analysis) -> Iterator[tuple[Call, Call | None, str]]:
    """Yield losses of raw scores, with the layer that gives them if it is known, and how it is known else.

    At last the one loss of a script with one model, and losses to which nothing can give logarithms.
    """
    if is_a_test(analysis.source) or not analysis.source.words & {"NLLLoss", "nll_loss"}:
        return
    seen: set[ast.AST] = set()
    for call in analysis.calls(*NLL):  # one that was met in several ways may be known in one of them only
        layer = _layer(call.argument(0, "input")) or _layer(_before_views(analysis, call.argument_node(0, "input")))
        if layer is not None and call.node not in seen:
            seen.add(call.node)
            yield call, layer, ""
    for call in once_per_place(analysis.calls(*NLL)):
        how = "" if call.node in seen else _is_said(analysis, call)
        if how:
            seen.add(call.node)
            yield call, None, how
    if not seen and not any(_activation(one) for one in analysis.calls(*NLL)):
        of_one = list(_of_the_only_model(analysis))
        yield from of_one or (
            (one, None, "nothing in this program takes a logarithm") for one in without_logarithms(analysis)
        )


def _before_views(analysis: Analysis, node: ast.expr | None) -> Value | None:
    """Return the value that an expression views with other sizes."""
    while isinstance(node, ast.Call) and called(node) in _VIEWS:
        node = subject(node)
    call = analysis.call_at.get(node) if isinstance(node, ast.Call) else None
    return call.result if call is not None else None


def _layer(value: Value | None) -> Call | None:
    """Return the call of the layer that made a value, if nothing else can have had a part in it."""
    made = value.layer if isinstance(value, Tensor) else None
    if made is None or any(_MAKES_LOGARITHMS.search(one) for one in names_in(body_of(made.context))):
        return None
    return made


def _of_the_only_model(analysis: Analysis) -> Iterator[tuple[Call, Call, str]]:
    """Yield the loss of a script whose one model ends in a layer, and in which nothing takes a logarithm."""
    losses = list(once_per_place(analysis.calls("torch.nn.NLLLoss", NLL[1])))
    if len(losses) != 1 or losses[0].context.source is not analysis.source or _takes_logarithms(analysis):
        return
    models = [one for one in analysis.classes if isinstance(one.lookup("forward"), Function) and _is_a_model(one)]
    layer = _layer(analysis.returned(models[0].lookup("forward"))) if len(models) == 1 else None
    if layer is not None and layer.context.source is analysis.source and _is_made(analysis, models[0]):
        yield losses[0], layer, ""


def _is_said(analysis: Analysis, call: Call) -> str:
    """Say how the source shows that a loss gets scores: it calls them logits, computes them so, or normalises them.

    Who calls log-probabilities logits takes their logarithm in the function or in the network that gives them.
    """
    node = call.argument_node(0, "input")
    if node is None or call.context.source is not analysis.source or _activation(call):
        return ""
    body = body_of(call.context)
    made = _origin(node, body)
    if made is None or any(_LOGARITHM.search(one) for one in names_in(made)):
        return ""
    if _is_product(made, body):
        return "its input is a product, which nothing normalises"
    name = _last_name(_without_views(node))
    if _is_normalised(body, name):
        return f"a softmax is taken of `{name}` beside it"
    if _LOGITS.search(name) and not _LOGARITHM.search(name) and not _networks_give_logarithms(analysis):
        return f"`{name}` are no log-probabilities"
    return ""


def _activation(call: Call) -> str | None:
    value = call.argument(0, "input")
    return value.activation if isinstance(value, Tensor) else None


def _origin(node: ast.expr, body: ast.AST) -> ast.expr | None:
    """Return what an expression views, through names of a function; None where one may be logarithms on the way."""
    for _ in range(12):
        node = _without_views(node)
        if not isinstance(node, ast.Name):
            return node
        if _LOGARITHM.search(node.id) or node.id.startswith("log_") or _is_changed(body, node.id):
            return None
        given = last_given(body, node.id, node.lineno)
        if given is None:
            return node
        node = given
    return None


def _without_views(node: ast.expr) -> ast.expr:
    """Look through changes of form, type and place, slices, and what fills some positions."""
    while True:
        inner: ast.expr | None = None
        if isinstance(node, ast.Call) and called(node) in _VIEWS:
            inner = node.args[-1] if called(node) == "where" and node.args else subject(node)
        elif isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
            inner = node.value
        if inner is None:
            return node
        node = inner


def _is_changed(body: ast.AST, name: str) -> bool:
    """Say whether a function changes a variable in place, or gives it logarithms anywhere."""
    for one in walk(body):
        if isinstance(one, ast.AugAssign) and getattr(one.target, "id", "") == name:
            return True
        given = isinstance(one, ast.Assign) and name in [getattr(target, "id", "") for target in one.targets]
        if given and any(_LOGARITHM.search(word) for word in names_in(one) - {name}):
            return True
        func = one.func if isinstance(one, ast.Call) else None
        if isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == name and func.attr in _IN_PLACE:
            return True
    return False


def _is_product(node: ast.expr, body: ast.AST, depth: int = 4) -> bool:
    """Say whether an expression multiplies vectors, be the product scaled: nothing of this is a log-probability."""
    made = _origin(node, body)
    if made is None or not depth:
        return False
    if isinstance(made, ast.BinOp) and isinstance(made.op, ast.MatMult):
        return True
    if isinstance(made, ast.BinOp) and isinstance(made.op, ast.Div | ast.Mult):
        sides = (made.left, made.right) if isinstance(made.op, ast.Mult) else (made.left,)
        return any(_is_product(one, body, depth - 1) for one in sides)
    return called(made) in ("matmul", "bmm", "mm", "cosine_similarity", "tanh", "cdist")


def _is_normalised(body: ast.AST, name: str) -> bool:
    """Say whether a function takes the softmax of a variable, or its log-sum-exp: it is no log-probability."""
    for one in walk(body) if name else ():
        if isinstance(one, ast.Call) and called(one) in ("softmax", "log_softmax", "logsumexp"):
            of = subject(one)
            if of is not None and not isinstance(of, ast.Attribute) and _last_name(_without_views(of)) == name:
                return True
    return False


def _last_name(node: ast.expr) -> str:
    """Return a variable's or an attribute's name, or the text that an item is taken by."""
    if isinstance(node, ast.Subscript):
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else ""
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _networks_give_logarithms(analysis: Analysis) -> bool:
    """Say whether a network of the program, or that it imports, returns logarithms of probabilities."""
    for source in analysis.sources:
        for one in walk(source.tree) if any(map(_LOGARITHM.search, source.words)) else ():
            if isinstance(one, ast.Call) and called(one) == "LogSoftmax":
                return True
            if isinstance(one, ast.ClassDef) and not _LOSS_CLASS.search(f"{one.name} {[*map(unparsed, one.bases)]}"):
                forwards = [each for each in one.body if isinstance(each, ast.FunctionDef) and each.name == "forward"]
                if any(map(_returns_logarithms, forwards)):
                    return True
    return False


def _returns_logarithms(function: ast.FunctionDef) -> bool:
    for one in walk(function):
        if isinstance(one, ast.Return) and one.value is not None:
            names = nodes_of(one.value, ast.Name)
            given = [last_given(function, each.id, one.lineno) for each in names]
            if any(
                _LOGARITHM.search(name) for part in (one.value, *given) if part is not None for name in names_in(part)
            ):
                return True
    return False


def _is_a_model(cls: ProjectClass) -> bool:
    return is_a_module(cls.prototype) or cls.outside_base().rpartition(".")[2] in ("Module", "LightningModule")


def _is_made(analysis: Analysis, cls: ProjectClass) -> bool:
    return any(called(one) == cls.node.name for one in analysis.nodes.get(ast.Call, ()))


def _takes_logarithms(analysis: Analysis) -> bool:
    """Say whether a file names logarithms of probabilities, or a loss that may be the one of the model."""
    if any(_MAKES_LOGARITHMS.search(word) or _OTHER_LOSSES.match(word) for word in analysis.source.words):
        return True
    return any(
        isinstance(one, ast.Attribute)
        and one.attr in ("log", "log_", "log1p")
        and not _LOGS_FOR_READERS.search(unparsed(one.value))
        for one in analysis.nodes.get(ast.Attribute, ())
    )
