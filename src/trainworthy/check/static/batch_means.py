"""Whether an expression is the mean of a batch: a loss with its default reduction, or what is made of such."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import last_given
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.queries import is_a_count
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Instance

_STRIPPED = frozenset({"item", "detach", "cpu", "numpy", "float", "to", "tolist", "double", "clone"})
_LOSSES = frozenset(
    "cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy "
    "binary_cross_entropy_with_logits".split()
)
_MODULES = frozenset("CrossEntropyLoss NLLLoss MSELoss L1Loss SmoothL1Loss HuberLoss BCELoss BCEWithLogitsLoss".split())
_OTHER_REDUCTION = frozenset({"reduction", "size_average", "reduce"})


def stripped(node: ast.expr) -> ast.expr:
    """Look through what only takes the number out of a tensor."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _STRIPPED:
            node = node.func.value
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "float" and len(node.args) == 1:
            node = node.args[0]
        elif (isinstance(node, ast.Attribute) and node.attr == "data") or (
            isinstance(node, ast.Subscript) and unparsed(node.slice) == "0"
        ):
            node = node.value
        else:
            return node


def is_batch_mean(analysis: Analysis, around: ast.AST, node: ast.expr, depth: int = 4) -> bool:
    """Say whether an expression is surely a mean over a batch."""
    node = stripped(node)
    if isinstance(node, ast.Name):
        return bool(depth) and _all_means(analysis, around, node.id, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        return all(is_batch_mean(analysis, around, one, depth) for one in (node.left, node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for factor, other in ((node.left, node.right), (node.right, node.left)):
            if is_batch_mean(analysis, around, other, depth):
                plain = isinstance(factor, ast.Constant | ast.Name | ast.Attribute)
                return plain and not is_a_count(factor) and "batch" not in unparsed(factor).lower()
        return False
    if isinstance(node, ast.Attribute):
        return _is_of_a_language_model(analysis, around, node)
    return isinstance(node, ast.Call) and _is_mean_call(analysis, node)


def _is_of_a_language_model(analysis: Analysis, around: ast.AST, node: ast.Attribute) -> bool:
    """Say whether something is the loss that a network of Transformers gives with its outputs: a mean over tokens."""
    if node.attr != "loss" or not isinstance(node.value, ast.Name) or "transformers" not in analysis.source.words:
        return False
    made = last_given(around, node.value.id, node.lineno)
    if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Name):
        return False
    handed_on = any(one.arg is None or one.arg == "labels" for one in made.keywords)
    return handed_on and "from_pretrained" in analysis.source.words and not _overrides_losses(analysis)


def _overrides_losses(analysis: Analysis) -> bool:
    """Say whether a file has a network of its own, whose loss may be anything."""
    return any(
        isinstance(one, ast.FunctionDef) and one.name == "forward" for one in analysis.nodes.get(ast.FunctionDef, [])
    )


def _all_means(analysis: Analysis, around: ast.AST, name: str, depth: int) -> bool:
    """Say whether all that a name is given in a function are means; a sum of them begins with 0."""
    values: list[ast.expr] = []
    for one in walk(around):
        if isinstance(one, ast.Assign | ast.AnnAssign | ast.AugAssign) and one.value is not None:
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            if isinstance(one, ast.AugAssign) and not isinstance(one.op, ast.Add):
                if getattr(one.target, "id", "") == name:
                    return False
                continue
            if any(getattr(target, "id", "") == name for target in targets):
                values.append(one.value)
            elif any(name in {getattr(n, "id", "") for n in walk(t)} for t in targets if isinstance(t, ast.Tuple)):
                return False
    means = [one for one in values if not (isinstance(one, ast.Constant) and one.value == 0)]
    own = [one for one in means if name not in {getattr(n, "id", "") for n in walk(one)}]
    return (
        bool(own) and len(own) == len(means) and all(is_batch_mean(analysis, around, one, depth - 1) for one in means)
    )


def _is_mean_call(analysis: Analysis, node: ast.Call) -> bool:
    func = node.func
    name = getattr(func, "attr", getattr(func, "id", ""))
    if name == "mean":
        of_torch = isinstance(func, ast.Attribute) and bool(library_of(analysis.source, func.value))
        return len(node.args) == of_torch and not node.keywords
    for call in _facts(analysis).get(node, ()):
        library, _, last = call.name.removesuffix(".__call__").rpartition(".")
        if library == "torch.nn.functional" and last in _LOSSES:
            return not call.starred and not _OTHER_REDUCTION & set(call.keywords)
        made = call.owner.made_by if isinstance(call.owner, Instance) else None
        if library == "torch.nn" and last in _MODULES and made is not None:
            return not made.starred and not _OTHER_REDUCTION & set(made.keywords)
    return bool(_CRITERION.match(name)) and len(node.args) >= 2 and _all_losses_average(analysis)


_CRITERION = re.compile(r"^(criterion|crit|loss_?fn|loss_?func|loss_?function)$")
_MADE = re.compile(rf"\b({'|'.join(sorted(_MODULES))})\(")


def _all_losses_average(analysis: Analysis) -> bool:
    """Say whether the project makes losses of torch and never asks for another reduction: they average."""
    texts = [analysis.source.text, *map(text_of, project_files(analysis.source.path) or ())]
    made = any(_MADE.search(text) for text in texts)
    return made and not any(word in text for text in texts for word in ("reduction", "size_average", "reduce="))


def _facts(analysis: Analysis) -> dict[ast.Call, list[Call]]:
    kept = analysis.source.kept
    if _facts not in kept:
        found: dict[ast.Call, list[Call]] = {}
        for call in analysis.all_calls:
            found.setdefault(call.node, []).append(call)
        kept[_facts] = found
    result: dict[ast.Call, list[Call]] = kept[_facts]
    return result
