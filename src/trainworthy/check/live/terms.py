"""The terms of a loss: over which of them the batch is summed, and over which it is averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trainworthy.check.live.operators import FACTOR_KEY
from trainworthy.check.live.watch import operation_of

_MAX_TERMS = 64
_MAX_ELEMENTWISE = 6
_ADDED = ("Add", "Sub", "Neg", "Clone", "ToCopy")
_MAY_BE_A_WEIGHT = (10, 100, 1000)
_FEW = 5  # a smaller number may count anything: terms, tasks, micro-batches
_MEAN, _SUM = 1, 2  # of ``torch.nn.functional``'s reductions, as nodes keep them


@dataclass(frozen=True, slots=True)
class Term:
    """A node that makes one number of a batch, and what the number is multiplied with on its way into the loss.

    ``quotients`` are the nodes on that way that divide by a number, each with the number.
    """

    node: Any
    kind: Literal["sum", "mean"]
    shape: tuple[int, ...]
    factor: float
    quotients: tuple[tuple[Any, float], ...] = ()


def terms_of(root: Any) -> Iterator[Term]:
    """Yield the terms that a loss adds up; those that are scaled by a tensor, or weighted before the sum, are left out.

    ``root`` is the node of a loss of one number. Nothing is computed, and nothing read that a node saved but sizes: in
    a checkpointed part that would compute it again.
    """
    scaled = [one for one, _ in root.next_functions if one is not None]
    if operation_of(root) == "Mul" and len(scaled) == 1 and FACTOR_KEY not in root.metadata:
        root = scaled[0]  # below the scale of a GradScaler
    queue: list[tuple[Any, float, tuple[tuple[Any, float], ...]]] = [(root, 1.0, ())]
    left = _MAX_TERMS
    while queue and left:
        (node, factor, quotients), left = queue.pop(), left - 1
        kind, below = operation_of(node), [one for one, _ in node.next_functions if one is not None]
        if kind in _ADDED:
            queue += [(one, factor, quotients) for one in below]
        elif kind in ("Mul", "Div") and len(below) == 1:
            number = node.metadata.get(FACTOR_KEY)
            divides = ((node, 1 / number),) if number and kind == "Div" else ()
            if number:
                queue.append((below[0], factor * number, (*quotients, *divides)))
        elif kind in ("Mean", "Sum") and below:
            shape = tuple(node._saved_self_sym_sizes)
            if not shape:  # of one number: it is that number
                queue.append((below[0], factor, quotients))
            elif kind == "Mean" or not (_is_weighted(below[0]) or _is_penalty(below[0])):
                yield Term(node, "sum" if kind == "Sum" else "mean", shape, factor, quotients)
        elif getattr(node, "_saved_reduction", None) == _MEAN:
            yield Term(node, "mean", (), factor, quotients)


def divided_again(terms: list[Term], batch: int) -> tuple[Any, Term] | None:
    """Return the node that divides a mean over the batch by the number of samples, and the mean."""
    for term in terms if batch >= _FEW and batch not in _MAY_BE_A_WEIGHT else ():
        for node, number in term.quotients:
            if term.kind == "mean" and round(number, 6) == batch and _is_over(term, batch):
                return node, term
    return None


def _is_over(term: Term, batch: int) -> bool:
    return not term.shape or term.shape[0] % batch == 0


def summed_beside_means(terms: list[Term], batch: int) -> tuple[Term, Term] | None:
    """Return a term that is a sum over the batch, and one that is a mean over it, if a loss has both.

    A sum that is divided by as much as the batch is large counts as a mean.
    """
    if batch < 2 or not terms:
        return None
    largest = max(term.factor for term in terms)
    means = [t for t in terms if t.kind == "mean" and _is_over(t, batch)]
    sums = [t for t in terms if t.kind == "sum" and t.shape[0] == batch and t.factor * batch > largest * 1.001]
    return (sums[0], means[0]) if sums and means else None


def _is_weighted(node: Any) -> bool:
    """Say whether what is summed was multiplied by weights, which may sum to 1, or by a mask."""
    return operation_of(node) in ("Mul", "Div") and FACTOR_KEY not in node.metadata


def _is_penalty(node: Any) -> bool:
    """Say whether what is summed is a parameter, element by element: its first axis is no batch."""
    for _ in range(_MAX_ELEMENTWISE):
        below = [one for one, _ in node.next_functions if one is not None]
        if operation_of(node) == "AccumulateGrad" or len(below) != 1:
            break
        node = below[0]
    return type(node).__name__ == "AccumulateGrad"


def weighed_after_the_mean(root: Any, batch: int) -> tuple[Any, Any] | None:
    """Return the product of one number of the batch with a number for each sample that a loss adds up, and the number.

    ``root`` is the node of a loss; the number is a loss that was averaged or summed. Its node is the second.
    """
    queue, left = [root], _MAX_TERMS
    while queue and left and batch > 1:
        node, left = queue.pop(), left - 1
        below = [one for one, _ in node.next_functions if one is not None]
        if operation_of(node) in (*_ADDED, "Mul", "Div"):
            queue += below
        elif operation_of(node) in ("Mean", "Sum") and len(below) == 1:
            product = _outer_product(node, below[0], batch)
            if product is not None:
                return product
    return None


def _outer_product(mean: Any, node: Any, batch: int) -> tuple[Any, Any] | None:
    shape, below = tuple(mean._saved_self_sym_sizes), [one for one, _ in node.next_functions if one is not None]
    if (
        not shape
        or shape[0] != batch
        or any(n != 1 for n in shape[1:])
        or operation_of(node) != "Mul"
        or len(below) != 1
    ):
        return None
    whole = type(below[0]).__name__ in ("MeanBackward0", "SumBackward0")
    return (node, below[0]) if whole or getattr(below[0], "_saved_reduction", None) in (_MEAN, _SUM) else None
