"""A generator's loss that is flat where the generator is bad.

What it finds:
    A loss whose name says generator (`loss_g`, `g_loss`, `generator_loss`), or that a function returns whose name does,
    made as `torch.log(1 - D(...)).mean()`, or as the cross-entropy with zeros, turned round: `-bce(D(...), zeros)`.
    In real steps: two networks, each with an optimizer, of which one scores what the other makes. In two steps of the
    other, the gradients at these scores are those of maximising the cross-entropy that the first minimises; or they
    push to the same label as the first one's own step does, which is a warning.

Why:
    While the discriminator is sure that samples are fake, the slope of log(1 - D) is nearly 0: the generator does not
    get going. Maximising log D has the same optimum and a steep slope there.

How sure:
    A hint: the formula is that of the paper's theory, and with a weak discriminator it works. In real steps it is sure
    what the loss is: hinge losses, those of Wasserstein and least squares follow other laws.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, integer, scope_of
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.tree import nodes_of

BAD = """\
import torch

D, G = torch.nn.Linear(4, 1), torch.nn.Linear(4, 4)
loss_g = torch.log(1 - D(G(torch.rand(8, 4)))).mean()  # <- TW270
"""

GOOD = """\
import torch

D, G = torch.nn.Linear(4, 1), torch.nn.Linear(4, 4)
loss_g = -torch.log(D(G(torch.rand(8, 4)))).mean()
loss_d = -torch.log(1 - D(G(torch.rand(8, 4)))).mean()
"""

_GENERATOR = re.compile(r"(^|_)(g|gen|generator)(_|$)|^(loss|err)g$|lossg|gloss")


_CROSS_ENTROPY = re.compile(
    r"(^|_)(bce|binary_cross_entropy|adversarial_loss|criterion_?gan)|bce_?(loss|logits)", re.IGNORECASE
)
_ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})


@rule(code="TW270", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what losses of generators are made of."""
    if not analysis.source.words & {"log", *_ZEROS}:
        return
    for node, name, value in _losses(analysis):
        turned = _is_turned_round(value, scope_of(node, analysis.parents))
        if turned or _is_flat(value):
            made = "minimises the negative of the discriminator's loss" if turned else "minimises log(1 - D)"
            yield Hit(
                place=analysis.place(node),
                message=f"`{name}` {made}, which is flat while D is sure",
                fix="-torch.log(D(G(z))).mean(), or BCEWithLogitsLoss with labels of 1.",
            )


@rule(code="TW270", severity="hint", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the gradients at a discriminator's scores say of the generator's loss, in two steps."""
    for place in dict.fromkeys(one.place for one in facts.adversaries):
        found = [one for one in facts.adversaries if one.place == place]
        if len(found) < 2 or len({one.push for one in found}) > 1:
            continue
        if found[0].helps:
            yield Hit(
                place=place,
                severity="warning",
                message=f"the generator's loss pushes the scores of {found[0].discriminator} the way its own step "
                f"does: both towards {found[0].push[-1]} for what is generated",
                fix="Give the generator's loss the label of real samples.",
            )
        else:
            yield Hit(
                place=place,
                message=f"the generator's loss maximises what {found[0].discriminator} minimises: its slope is nearly "
                "0 while the discriminator is sure",
                evidence=(Evidence(f"the gradients at its scores are those of a push {found[0].push}"),),
                fix="-torch.log(D(G(z))).mean(), or BCEWithLogitsLoss with the label of real samples.",
            )


def _losses(analysis: Analysis) -> Iterator[tuple[ast.stmt, str, ast.expr]]:
    """Yield what is assigned to the loss of a generator, or returned by a function that is called by it."""
    for node in nodes_of(analysis.source.tree, ast.Assign):
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name | ast.Attribute):
            name = str(getattr(node.targets[0], "id", getattr(node.targets[0], "attr", "")))
            says_loss = "loss" in name.lower() or name.lower().startswith("err")
            if says_loss and _GENERATOR.search(name.lower()):
                yield node, name, node.value
    for back in nodes_of(analysis.source.tree, ast.Return):
        function = function_around(analysis.parents, back)
        if function is not None and back.value is not None and _GENERATOR.search(function.name.lower()):
            yield back, function.name, back.value


def _is_turned_round(node: ast.expr, scope: ast.AST) -> bool:
    """Say whether an expression is the negative of a binary cross-entropy with zeros, `-bce(scores, zeros)`."""
    node = followed(node, scope)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = ((node.left, node.right), (node.right, node.left))
        inner = next((other for one, other in sides if integer(one) == -1), None)
    else:
        inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else None
    inner = inner and followed(inner, scope)
    if not isinstance(inner, ast.Call) or len(inner.args) < 2 or not _CROSS_ENTROPY.search(called(inner)):
        return False
    return called(followed(inner.args[1], scope)) in _ZEROS


def _is_flat(node: ast.expr) -> bool:
    """Say whether an expression is mean(log(1 - something)), with nothing before it."""
    inner = _called(node, "mean")
    inner = _called(inner, "log") if inner is not None else None
    return (
        isinstance(inner, ast.BinOp)
        and isinstance(inner.op, ast.Sub)
        and isinstance(inner.left, ast.Constant)
        and inner.left.value == 1
    )


def _called(node: ast.expr | None, name: str) -> ast.expr | None:
    """Return what a method or function of that name is applied to."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != name:
        return None
    return node.args[0] if node.args else node.func.value
