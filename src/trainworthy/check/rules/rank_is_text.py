"""The rank from the environment is used as a number while it is text.

What it finds:
    `os.environ["RANK"]`, `LOCAL_RANK` or `WORLD_SIZE` compared with a number, given as a device, or used in arithmetic,
    without `int`.

Why:
    `os.environ["RANK"] == 0` is always False, so no rank saves or logs; `torch.device("cuda", "0")` fails.

How sure:
    Certain: environment variables are text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Const, EnvText, Sequence, Value

BAD = """\
import os

import torch

rank = os.environ["RANK"]
if rank == 0:  # <- TW416
    print("only rank 0")
torch.cuda.set_device(os.environ["LOCAL_RANK"])  # <- TW416
"""

GOOD = """\
import os

import torch

rank = int(os.environ["RANK"])
if rank == 0:
    print("only rank 0")
if os.environ["RANK"] == "0":
    print("also right")
torch.cuda.set_device(f"cuda:{os.environ['LOCAL_RANK']}")
"""


_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")


@rule(code="TW416", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons, arithmetic and devices."""
    seen = set()
    for operation in analysis.operations:
        node = operation.node
        texts = [one for one in operation.operands if _is_rank(one)]
        numbers = [one for one in operation.operands if isinstance(one, Const) and type(one.value) is int]
        if not texts or not numbers or node in seen or isinstance(node, ast.BoolOp):
            continue
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            continue
        seen.add(node)
        yield _hit(analysis, analysis.place(node, operation.context), texts[0])
    for call in once_per_place(analysis.calls(*_DEVICES)):
        text = _device_text(call)
        if text is not None:
            yield _hit(analysis, analysis.place(call.node, call.context), text)


_DEVICES = (
    "torch.cuda.set_device", "torch.device", "torch.nn.parallel.DistributedDataParallel",
    "torch.distributed.init_process_group",
)  # fmt: skip


def _is_rank(value: Value | None) -> bool:
    return isinstance(value, EnvText) and value.name in _RANKS


def _device_text(call: Call) -> Value | None:
    found: list[Value | None]
    if call.name == "torch.device":
        found = [call.argument(1, "index")]
    elif call.name == "torch.cuda.set_device":
        found = [call.argument(0, "device")]
    elif call.name == "torch.distributed.init_process_group":
        found = [call.keywords.get("rank"), call.keywords.get("world_size")]
    else:
        ids = call.argument(1, "device_ids")
        found = list(ids.items or ()) if isinstance(ids, Sequence) else []
    return next((one for one in found if _is_rank(one)), None)


def _hit(analysis: Analysis, place: object, text: Value) -> Hit:
    name = text.name if isinstance(text, EnvText) else "RANK"
    return Hit(
        place=place,  # type: ignore[arg-type]
        message=f"the environment variable {name} is text, not a number",
        fix=f'Write `int(os.environ["{name}"])`.',
    )
