"""Two TensorBoard writers write into one folder.

What it finds:
    Two `SummaryWriter` with the same literal folder in one body.

Why:
    Curves of both are drawn as one zig-zag line.

How sure:
    Both are made in the same function, the first is not closed in between.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import may_both_run, same_turn

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


def _folder(call: Call) -> str | None:
    given = call.constant(0, "log_dir")
    return posixpath.normpath(given) if isinstance(given, str) else None
