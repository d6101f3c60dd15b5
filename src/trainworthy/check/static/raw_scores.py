"""Log-likelihood losses of scores that nothing turned into log-probabilities."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import NLL, body_of, is_a_module, is_a_test, names_in, once_per_place
from trainworthy.check.static.values import Function, ProjectClass, Tensor, Value

_LAYERS = ("torch.nn.Linear.__call__", "torch.nn.Conv1d.__call__", "torch.nn.Conv2d.__call__")
_VIEWS = ("view", "reshape", "flatten", "contiguous", "transpose", "permute", "squeeze", "float")
_MAKES_LOGARITHMS = re.compile(
    r"log_?soft|log_?sum|log_?prob|log_?sigmoid|log_?lik|normali[sz]e|energ|crf", re.IGNORECASE
)
_OTHER_LOSSES = re.compile(r"(?!NLL)[A-Z]\w*Loss$|\w*cross_entropy\w*$|(mse|l1|smooth_l1|huber)_loss$|kl_div$")
_LOGS_FOR_READERS = re.compile(r"wandb|log|writer|self|run|track|math|experiment|mlflow|trainer|metric", re.IGNORECASE)


def met(analysis: Analysis) -> Iterator[tuple[Call, Call]]:
    """Yield losses with the layer whose output they get as it is; at last the one loss of a script with one model."""
    if is_a_test(analysis.source):
        return
    found = False
    for call in once_per_place(analysis.calls(*NLL)):
        layer = _layer(call.argument(0, "input")) or _layer(_before_views(analysis, call.argument_node(0, "input")))
        if layer is not None:
            found = True
            yield call, layer
    if not found and analysis.source.words & {"NLLLoss", "nll_loss"}:
        yield from _of_the_only_model(analysis)


def _before_views(analysis: Analysis, node: ast.expr | None) -> Value | None:
    """Return the value that an expression views with other sizes."""
    while isinstance(node, ast.Call) and called(node) in _VIEWS:
        node = subject(node)
    call = analysis.call_at.get(node) if isinstance(node, ast.Call) else None
    return call.result if call is not None else None


def _layer(value: Value | None) -> Call | None:
    """Return the call of the layer that made a value, if nothing else can have had a part in it."""
    if not isinstance(value, Tensor) or value.activation is not None or value.made_by is None:
        return None
    made = value.made_by
    if made.name not in _LAYERS or any(_MAKES_LOGARITHMS.search(one) for one in names_in(body_of(made.context))):
        return None
    return made


def _of_the_only_model(analysis: Analysis) -> Iterator[tuple[Call, Call]]:
    """Yield the loss of a script whose one model ends in a layer, and in which nothing takes a logarithm."""
    losses = list(once_per_place(analysis.calls("torch.nn.NLLLoss", NLL[1])))
    if len(losses) != 1 or losses[0].context.source is not analysis.source or _takes_logarithms(analysis):
        return
    models = [one for one in analysis.classes if isinstance(one.lookup("forward"), Function) and _is_a_model(one)]
    layer = _layer(analysis.returned(models[0].lookup("forward"))) if len(models) == 1 else None
    if layer is not None and layer.context.source is analysis.source and _is_made(analysis, models[0]):
        yield losses[0], layer


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
        and not _LOGS_FOR_READERS.search(ast.unparse(one.value))
        for one in analysis.nodes.get(ast.Attribute, ())
    )
