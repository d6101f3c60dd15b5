"""One rank leaves the training loop, the others go on.

What it finds:
    `break` or `return` under `if rank == 0:`, in a loop that all ranks run and in which they meet: `barrier`,
    `all_reduce`, or a backward pass under DistributedDataParallel.

Why:
    The rank that leaves never comes to the next collective: the others wait for it until the timeout, often hours
    later, and the training ends with an error instead of its result.

How sure:
    The loop has a collective outside of the condition, and nothing tells the other ranks before they go on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.ranks import asks_which_rank, rank_condition
from trainworthy.check.static.tree import walk

BAD = """\
import torch
import torch.distributed as dist


def train(step, evaluate, patience, rank):
    waited, best = 0, float("inf")
    for epoch in range(100):
        step()
        if rank == 0:
            loss = evaluate()
            waited = 0 if loss < best else waited + 1
            best = min(best, loss)
            if waited > patience:
                break  # <- TW428
        dist.barrier()
"""

GOOD = """\
import torch
import torch.distributed as dist


def train(step, evaluate, patience, rank):
    waited, best, stop = 0, float("inf"), torch.zeros(1)
    for epoch in range(100):
        step()
        if rank == 0:
            loss = evaluate()
            waited = 0 if loss < best else waited + 1
            best = min(best, loss)
            stop.fill_(waited > patience)
        dist.broadcast(stop, src=0)
        if stop:
            break
"""

COLLECTIVES = frozenset(
    "barrier all_reduce broadcast all_gather all_gather_object broadcast_object_list reduce_scatter all_to_all "
    "all_gather_into_tensor reduce gather_object wait_for_everyone synchronize".split()
)
_LOOPS = ast.For | ast.While | ast.AsyncFor


@rule(code="TW428", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the ways out of loops."""
    words = analysis.source.words
    meetings = COLLECTIVES | {"backward"} if words & {"DistributedDataParallel", "Accelerator"} else COLLECTIVES
    if not words & meetings or not words & {"torch", "accelerate"}:
        return
    for node in [*analysis.nodes.get(ast.Break, ()), *analysis.nodes.get(ast.Return, ())]:
        condition = rank_condition(node, analysis.parents)
        loop = _loop_of(node, analysis.parents)
        if not isinstance(condition, ast.If) or loop is None or not _is_below(condition, loop, analysis.parents):
            continue
        if node not in set(_below(condition.body)) or _tells_the_others(condition):
            continue
        met = [one for one in walk(loop) if called(one) in meetings and _is_of_all(one, loop, analysis.parents)]
        after = [one for one in met if not _is_below(one, condition, analysis.parents)]
        if after:
            yield Hit(
                place=analysis.place(node),
                message="one rank leaves the loop here; the others wait for it at the next collective",
                evidence=(Evidence("all ranks meet here", analysis.place(after[0])),),
                fix="Send the decision to all ranks and leave together.",
            )


def _loop_of(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST | None:
    """Return the innermost loop around a node, in its function."""
    while node in parents and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        node = parents[node]
        if isinstance(node, _LOOPS):
            return node
    return None


def _is_below(node: ast.AST, above: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    while node in parents:
        node = parents[node]
        if node is above:
            return True
    return False


def _below(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for one in body:
        yield from walk(one)


def _tells_the_others(condition: ast.If) -> bool:
    """Say whether the branch has a collective, which may tell the others, or the others have a branch of their own."""
    return bool(condition.orelse) or any(called(one) in COLLECTIVES for one in walk(condition))


def _is_of_all(node: ast.AST, loop: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a collective in the loop is not itself under a condition on the rank."""
    while node in parents and node is not loop:
        node = parents[node]
        if isinstance(node, ast.If) and node is not loop and asks_which_rank(node.test):
            return False
    return True
