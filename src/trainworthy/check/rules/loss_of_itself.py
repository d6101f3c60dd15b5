"""A loss compares a value with itself.

What it finds:
    A loss of torch whose input and target are written alike: `F.mse_loss(x, x)`; a loss or distance between two
    variables that were computed by one and the same expression; and one between `target` and `prediction` after
    `target = prediction`, which gives one tensor two names: what is written into one is in the other.

Why:
    It is a constant, mostly 0: nothing is learned from it, and the term does not do what its weight promises.

How sure:
    Both arguments are the same name, attribute or item, without a call that may give another value each time. Silent
    about `binary_cross_entropy`, which gives the entropy of such, and in assertions. Two variables count as one value
    if their expressions are written alike, draw nothing at random and call nothing but known functions, and nothing in
    them is bound anew between.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_around
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
import torch.nn.functional as F


def control_effort(u):
    return F.mse_loss(u, u)  # <- TW230


def distilled(teacher_logits, student_logits, t):
    targets = F.softmax(teacher_logits / t, dim=-1)
    soft = F.log_softmax(teacher_logits / t, dim=-1)
    wanted = F.log_softmax(teacher_logits / t, dim=-1)
    return F.kl_div(soft, targets) + F.kl_div(soft, wanted, log_target=True)  # <- TW230
"""

GOOD = """\
import torch
import torch.nn.functional as F


def control_effort(u):
    return F.mse_loss(u, torch.zeros_like(u))


def distilled(teacher_logits, student_logits, t):
    wanted = F.log_softmax(teacher_logits / t, dim=-1)
    soft = F.log_softmax(student_logits / t, dim=-1)
    return F.kl_div(soft, wanted, reduction="batchmean", log_target=True)
"""

_FUNCTIONS = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "kl_div",
    "binary_cross_entropy_with_logits", "nll_loss", "poisson_nll_loss", "soft_margin_loss",
)  # fmt: skip
_CLASSES = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "KLDivLoss",
    "NLLLoss", "PoissonNLLLoss", "SoftMarginLoss",
)  # fmt: skip
_NAMES = (
    *(f"torch.nn.functional.{one}" for one in _FUNCTIONS), *(f"torch.nn.{one}.__call__" for one in _CLASSES)
)  # fmt: skip


_COMPARES = re.compile(r"loss|criterion|kl_?div|divergence|^(mse|mae|bce|kl|l1|l2)$|distance|similarity")
_CERTAIN = frozenset(
    "softmax log_softmax sigmoid logsigmoid tanh exp log relu normalize view reshape flatten float double half long "
    "squeeze unsqueeze detach mean sum contiguous permute transpose clone argmax max norm sqrt abs clamp".split()
)


@rule(code="TW230", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the two arguments of losses."""
    for call in once_per_place(analysis.calls(*_NAMES)):
        first, second = call.argument_node(0, "input"), call.argument_node(1, "target")
        if first is None or second is None or call.starred or not _is_plain(first):
            continue
        if unparsed(first) == unparsed(second) and not _is_asserted(call.node, analysis.parents):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the loss compares `{unparsed(first)}` with itself",
                fix="Give it the target.",
            )
    if "torch" in analysis.source.words:
        yield from _of_twins(analysis)


def _of_twins(analysis: Analysis) -> Iterator[Hit]:
    """Yield losses and distances between two variables that one expression made."""
    calls = [one for one in analysis.nodes.get(ast.Call, ()) if isinstance(one, ast.Call)]
    called = [(one, pair) for one in calls if (pair := _two_names(one)) is not None]
    for function in functions_around(analysis.nodes, [one.lineno for one, _ in called]):
        names = bindings_of(function)
        made = {name: one for one, name in names.plain_assignments() if len(names.stores.get(name, ())) == 1}
        for call, (first, second) in called:
            if not function.lineno < call.lineno <= (function.end_lineno or 0):
                continue
            one, two = made.get(first), made.get(second)
            alias = one if _is_alias(names, one, second) else two if _is_alias(names, two, first) else None
            if alias is not None:
                yield Hit(
                    place=analysis.place(call),
                    message=f"`{first}` and `{second}` are one tensor here: the loss compares it with itself",
                    evidence=(Evidence("they become one here", analysis.place(alias)),),
                    fix="Write `.clone()` where it is changed in place; `.detach()` for a target.",
                )
                continue
            if one is None or two is None or _alike(one.value) != _alike(two.value):
                continue
            if _is_certain(one.value) and not _changed_between(names, one, two):
                yield Hit(
                    place=analysis.place(call),
                    message=f"the loss compares `{first}` with `{second}`, which are made by one expression",
                    evidence=(
                        Evidence(f"`{first}` is made here", analysis.place(one)),
                        Evidence(f"`{second}` is made here", analysis.place(two)),
                    ),
                )


def _is_alias(names: Bindings, made: ast.Assign | None, other: str) -> bool:
    """Say whether a name is given another one, which is bound once, and nothing else."""
    is_name = made is not None and isinstance(made.value, ast.Name) and made.value.id == other
    return is_name and len(names.stores.get(other, ())) + (other in names.parameters) == 1


def _two_names(call: ast.Call) -> tuple[str, str] | None:
    """Return the two variables that a loss or distance gets."""
    func = call.func
    name = (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")).lower()
    if not _COMPARES.search(name):
        return None
    given = [*call.args[:2], *(one.value for one in call.keywords if one.arg in ("input", "target"))]
    pair = [one.id for one in given if isinstance(one, ast.Name)]
    return (pair[0], pair[1]) if len(pair) == 2 and len(given) == 2 and pair[0] != pair[1] else None


def _alike(value: ast.expr) -> str:
    """Write an expression; a distribution and its logarithm are alike."""
    return unparsed(value).replace("log_softmax(", "softmax(")


def _is_certain(value: ast.expr) -> bool:
    """Say whether an expression computes something, and gives the same whenever it is computed."""
    parts = list(walk(value))
    if not any(isinstance(one, ast.Name) for one in parts) or isinstance(
        value, ast.Name | ast.Attribute | ast.Constant
    ):
        return False
    calls = [one.func for one in parts if isinstance(one, ast.Call)]
    return bool(calls) and all((getattr(one, "attr", "") or getattr(one, "id", "")) in _CERTAIN for one in calls)


def _changed_between(names: Bindings, one: ast.Assign, two: ast.Assign) -> bool:
    """Say whether something that an expression reads is bound anew or changed in place between two statements."""
    first, last = sorted((one.lineno, two.lineno))
    for name in {part.id for part in nodes_of(one.value, ast.Name)}:
        for use in (*names.stores.get(name, ()), *names.reads.get(name, ())):
            if first <= use.lineno <= last and use not in walk(one) and use not in walk(two):
                return True
    return False


def _is_asserted(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a test looks at the value."""
    while (node := parents.get(node, node)) in parents:
        name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Assert) or "assert" in name.lower() or name == "allclose":
            return True
    return False


def _is_plain(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return False
    return not any(isinstance(one, ast.Call | ast.NamedExpr | ast.Await) for one in walk(node))
