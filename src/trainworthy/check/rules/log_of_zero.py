"""The logarithm of something that can be exactly zero.

What it finds:
    `p * p.log()` where `p` is a mean or share of counts, also one that is handed over to a perplexity; a logarithm
    without the epsilon that another one in the function has, of something computed in the same way; a function that
    has an `eps` and takes the logarithm without it.

Why:
    The logarithm of zero is minus infinity, and zero times it is not a number: a code that no sample of the batch uses,
    or a silent frame, makes the sum NaN.

How sure:
    What is averaged are counts, or the other logarithm, or the epsilon that is not used, shows that zeros are expected.
    Silent about what is clamped, masked, or put right afterwards.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static import epsilons
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, scope_of, subject
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
import torch.nn.functional as F


def perplexity(codes, size):
    shares = F.one_hot(codes, size).float().mean(0)
    return torch.exp(-torch.sum(shares * torch.log(shares)))  # <- TW274
"""

GOOD = """\
import torch
import torch.nn.functional as F


def perplexity(codes, size):
    shares = F.one_hot(codes, size).float().mean(0)
    return torch.exp(-torch.sum(shares * torch.log(shares + 1e-10)))
"""

_LOGS = frozenset({"log", "log2", "log10"})
_PUT_RIGHT = frozenset({"where", "nansum", "nan_to_num", "masked_fill", "masked_fill_", "masked_select", "xlogy"})


@rule(code="TW274", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at logarithms."""
    if "torch" not in analysis.source.words or not analysis.source.words & _LOGS:
        return
    logs = [one for one in analysis.nodes.get(ast.Call, ()) if isinstance(one, ast.Call) and called(one) in _LOGS]
    logs = [one for one in logs if epsilons.is_of_tensors(one)]
    said: set[ast.AST] = set()
    for node, other in epsilons.without_their_epsilon(analysis, logs):
        said.add(node)
        yield Hit(
            place=analysis.place(node),
            message=f"the epsilon is missing: `{called(node)}` of zero is minus infinity",
            evidence=(Evidence("it is expected here", analysis.place(other)),),
            fix="Add the epsilon to what the logarithm is taken of.",
        )
    for node in logs:
        if node not in said and _is_weighted_by_itself(analysis, node):
            yield Hit(
                place=analysis.place(node),
                message="where this share is zero, it is multiplied by minus infinity: the sum is NaN",
                fix="`torch.special.entr(p)`, or add an epsilon within the logarithm.",
            )


def _is_weighted_by_itself(analysis: Analysis, log: ast.Call) -> bool:
    """Say whether a logarithm is multiplied by what it is taken of, which is a mean of counts."""
    of, scope = subject(log), scope_of(log, analysis.parents)
    above = analysis.parents.get(log)
    if of is None or not isinstance(above, ast.BinOp) or not isinstance(above.op, ast.Mult):
        return False
    other = above.left if above.right is log else above.right
    if unparsed(other) not in (unparsed(of), f"-{unparsed(of)}"):
        return False
    node: ast.AST = above
    while node in analysis.parents and not isinstance(node, ast.stmt):
        node = analysis.parents[node]
        if isinstance(node, ast.Call) and called(node) in _PUT_RIGHT:
            return False
    named = f"{getattr(scope, 'name', '')} {unparsed(next(iter(getattr(node, 'targets', [])), ast.Name('')))}"
    return epsilons.is_share_of_counts(of, scope, unknown="perplexity" in named.lower())
