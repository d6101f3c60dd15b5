"""A metric of torcheval is computed from one rank's samples.

What it finds:
    `metric.compute()` of a torcheval metric in a distributed program that nowhere synchronises it.

Why:
    Metrics of torcheval do not meet by themselves, unlike those of torchmetrics: each rank knows its own samples only,
    and the number that rank 0 prints is of a part of the data.

How sure:
    The program speaks of ranks or process groups, and uses neither `sync_and_compute`, `get_synced_metric` nor a
    gather of its own on the metric.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of
from trainworthy.check.static.tree import nodes_of

BAD = """\
import torch
import torch.distributed as dist
import torcheval.metrics as metrics

dist.init_process_group("gloo")
auroc = metrics.BinaryAUROC()
auroc.update(torch.rand(8), torch.randint(0, 2, (8,)))
if dist.get_rank() == 0:
    print(auroc.compute())  # <- TW438
"""

GOOD = """\
import torch
import torch.distributed as dist
import torcheval.metrics as metrics
from torcheval.metrics.toolkit import sync_and_compute

dist.init_process_group("gloo")
auroc = metrics.BinaryAUROC()
auroc.update(torch.rand(8), torch.randint(0, 2, (8,)))
result = sync_and_compute(auroc)
if dist.get_rank() == 0:
    print(result)
"""

_MEETS = ("sync_and_compute", "sync_and_compute_collection", "get_synced_metric", "merge_state", "all_gather_object")


@rule(code="TW438", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at metrics that are computed."""
    words = analysis.source.words
    if "torcheval" not in words or "compute" not in words or not words & {"distributed", "get_rank", "rank"}:
        return
    if words & set(_MEETS):
        return
    names = _names_of_torcheval(analysis)
    for node in analysis.nodes.get(ast.Call, ()):
        if called(node) != "compute" or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        made = followed(node.func.value, scope_of(node, analysis.parents))
        if isinstance(made, ast.Call) and {one.id for one in nodes_of(made.func, ast.Name)} & names:
            yield Hit(
                place=analysis.place(node),
                message="the metric is of this rank's samples alone",
                evidence=(Evidence("it is made here", analysis.place(made)),),
                fix="Use `torcheval.metrics.toolkit.sync_and_compute` on all ranks.",
            )


def _names_of_torcheval(analysis: Analysis) -> set[str]:
    """Return the names under which the file imports torcheval or what is in it."""
    found: set[str] = set()
    for node in [*analysis.nodes.get(ast.Import, ()), *analysis.nodes.get(ast.ImportFrom, ())]:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torcheval"):
            found |= {one.asname or one.name for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                one.asname or one.name.partition(".")[0] for one in node.names if one.name.startswith("torcheval")
            }
    return found
