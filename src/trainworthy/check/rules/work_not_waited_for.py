"""An asynchronous message is sent and nobody waits for it.

What it finds:
    `dist.isend(...)`, `dist.irecv(...)` or a collective with `async_op=True` whose result is thrown away.

Why:
    The tensor may be read before it has arrived, or changed before it was sent.

How sure:
    The call is a statement of its own, so nothing can wait for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch
import torch.distributed as dist

t = torch.zeros(4)
dist.irecv(t, src=0)  # <- TW421
dist.all_reduce(t, async_op=True)  # <- TW421
"""

GOOD = """\
import torch
import torch.distributed as dist

t = torch.zeros(4)
dist.irecv(t, src=0).wait()
work = dist.all_reduce(t, async_op=True)
work.wait()
"""


@rule(code="TW421", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at statements that are only such a call."""
    if not analysis.source.words.intersection(("isend", "irecv", "async_op")):
        return
    alone = {node.value for node in analysis.nodes.get(ast.Expr, ()) if isinstance(node, ast.Expr)}
    for call in once_per_place(iter(analysis.all_calls)):
        if call.node not in alone or not call.name.startswith("torch.distributed."):
            continue
        if call.method in ("isend", "irecv") or call.constant(None, "async_op") is True:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"nobody waits for this `{call.method}`",
                fix="Keep the result and call `.wait()` on it.",
            )
