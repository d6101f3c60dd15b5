"""Two TensorBoard writers write into one folder.

What it finds:
    Two `SummaryWriter` with the same literal folder in one body. Also one that is made in each turn of a loop over
    folds, seeds or learning rates, with a folder that is the same in each.

Why:
    Curves of both are drawn as one zig-zag line.

How sure:
    Both are made in the same function, the first is not closed in between. In a loop: each turn makes an optimizer of
    its own, the names of the curves are fixed, and their steps are counted from the beginning in each turn.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_optimizer
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import may_both_run, once_per_place, same_turn
from trainworthy.check.static.same_each_turn import Way, counts_turns_within, is_the_same

BAD = """\
from torch.utils.tensorboard import SummaryWriter

train = SummaryWriter("runs/a")
test = SummaryWriter("runs/a")  # <- TW602
"""

GOOD = """\
from torch.utils.tensorboard import SummaryWriter

train = SummaryWriter("runs/train")
test = SummaryWriter("runs/test")
"""


@rule(code="TW602", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at pairs of writers."""
    made: list[Call] = []
    closes = list(analysis.method_calls("close"))
    for call in analysis.calls("torch.utils.tensorboard.SummaryWriter"):
        folder = _folder(call)
        for first in made:
            same = _folder(first) == folder and isinstance(folder, str) and first.node is not call.node
            closed = any(first.at < one.at < call.at for one in closes)
            if (
                same
                and not closed
                and same_turn(first.context, call.context)
                and may_both_run(first.context, call.context)
            ):
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"a second writer for {folder!r}",
                    evidence=(Evidence("the first is made here", analysis.place(first.node, first.context)),),
                    fix="Give each a folder of its own.",
                )
                break
        made.append(call)
    for call in once_per_place(_of_several_runs(analysis)):
        way = Way(call)
        at, made_of = way.maker(call.argument_node(0, "log_dir") or call.node)
        yield Hit(
            place=analysis.place(made_of, way.calls[at].context),
            message="each turn trains anew, and its writer writes the same curves into the same folder",
            evidence=(Evidence("the writer is made here", analysis.place(call.node, call.context)),),
            fix="Name the folder after what is different in each turn.",
        )


def _of_several_runs(analysis: Analysis) -> Iterator[Call]:
    """Yield writers that a loop makes anew for each of its trainings, with one folder for all."""
    for call in analysis.calls("torch.utils.tensorboard.SummaryWriter"):
        folder, way = call.argument_node(0, "log_dir"), Way(call)
        if folder is None or call.starred or (isinstance(folder, ast.Constant) and folder.value is None):
            continue
        for frame, one in enumerate(way.calls):
            for loop in one.context.loops:
                if (
                    isinstance(loop, ast.For)
                    and is_the_same(way, folder, frame, loop)
                    and _trains_anew(analysis, loop)
                    and _draws_the_same(analysis, loop)
                ):
                    yield call


def _trains_anew(analysis: Analysis, loop: ast.For) -> bool:
    """Say whether each turn of a loop makes an optimizer of its own."""
    return any(is_optimizer(one.result) and loop in one.context.all_loops() for one in analysis.all_calls)


def _draws_the_same(analysis: Analysis, loop: ast.For) -> bool:
    """Say whether all curves have fixed names, and begin at the same step in each turn of a loop."""
    drawn = [one for one in analysis.method_calls("add_scalar") if loop in one.context.all_loops()]
    for call in drawn:
        way, step = Way(call), call.argument_node(2, "global_step")
        frame = next((at for at, one in enumerate(way.calls) if loop in one.context.loops), None)
        if not isinstance(call.constant(0, "tag"), str) or step is None or frame is None:
            return False
        if not counts_turns_within(way, step, frame, loop):
            return False
    return bool(drawn)


def _folder(call: Call) -> str | None:
    given = call.constant(0, "log_dir")
    return posixpath.normpath(given) if isinstance(given, str) else None
