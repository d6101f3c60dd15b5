"""Every rank opens a TensorBoard writer on the same folder, or a run of its own.

What it finds:
    `SummaryWriter(...)` made, or `wandb.init(...)` called, by every process of a program that elsewhere asks which rank
    it is before it logs.

Why:
    Each rank creates an event file in the folder: curves are drawn several times, most of them empty, and names of
    runs that hold the time differ from rank to rank. With `wandb.init` there is a run for each rank, all but one empty.

How sure:
    The file asks for the main process or rank in other places; neither the writer, nor the calls of the function that
    makes it in this file, stand under such a condition, and its folder's name does not speak of the rank.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, scope_of
from trainworthy.check.static.ranks import asks_which_rank, on_one_rank, rank_condition
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter

accelerator = Accelerator()
writer = SummaryWriter("runs/a")  # <- TW429
if accelerator.is_main_process:
    writer.add_scalar("loss", 1.0, 0)
"""

GOOD = """\
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter

accelerator = Accelerator()
writer = SummaryWriter("runs/a") if accelerator.is_main_process else None
if writer is not None:
    writer.add_scalar("loss", 1.0, 0)
"""


@rule(code="TW429", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at writers."""
    if not analysis.source.words & {"SummaryWriter", "wandb"}:
        return
    made = [one for one in analysis.nodes.get(ast.Call, ()) if called(one) == "SummaryWriter" or _starts_a_run(one)]
    if not made:
        return
    parents = analysis.parents
    for node in made:
        logs = _logs_of_one_rank(analysis, of_runs=called(node) == "init")
        if logs is None or on_one_rank(node, parents) or _speaks_of_ranks(node, scope_of(node, parents)):
            continue
        yield Hit(
            place=analysis.place(node),
            message="every rank opens this writer",
            evidence=(Evidence("only one rank writes to it", analysis.place(logs)),),
            fix="Open it on the main process only.",
        )


def _starts_a_run(node: ast.AST) -> bool:
    """Say whether a call starts a run of Weights and Biases that is not one of a group."""
    if not isinstance(node, ast.Call) or called(node) != "init" or unparsed(node.func) != "wandb.init":
        return False
    return not any(one.arg in (None, "group", "mode") for one in node.keywords)


def _logs_of_one_rank(analysis: Analysis, of_runs: bool) -> ast.AST | None:
    """Return a write to a writer that one rank makes."""
    for node in analysis.nodes.get(ast.Call, ()):
        if of_runs:
            logs = called(node) == "log" and unparsed(node.func) == "wandb.log" if isinstance(node, ast.Call) else False
        else:
            logs = called(node) in ("add_scalar", "add_scalars", "add_image", "add_figure")
        if logs and rank_condition(node, analysis.parents) is not None:
            return node
    return None


def _speaks_of_ranks(node: ast.AST, scope: ast.AST) -> bool:
    """Say whether the folder, or what the function makes it of, depends on the rank."""
    assigned = [one for one in walk(scope) if isinstance(one, ast.Assign | ast.AugAssign | ast.AnnAssign)]
    names = {one.id for one in nodes_of(node, ast.Name)}
    return asks_which_rank(node) or any(
        one.value is not None and asks_which_rank(one.value) and names & {n.id for n in nodes_of(one, ast.Name)}
        for one in assigned
    )
