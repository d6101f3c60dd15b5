"""The port of the rendezvous is written in the source.

What it finds:
    `os.environ["MASTER_PORT"] = "12355"`.

Why:
    A second job on the machine fails, or joins the wrong group.

How sure:
    Not on by default: fine on a machine of one's own. Select it with `--extend-select TW419`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Const, Ref

BAD = """\
import os

os.environ["MASTER_PORT"] = "12355"  # <- TW419
import torch
"""

GOOD = """\
import os

os.environ.setdefault("MASTER_PORT", "12355")
import torch
"""


@rule(code="TW419", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at assignments to the environment."""
    for store in analysis.stores:
        owner, target = store.owner, store.target
        if not isinstance(owner, Ref) or owner.name != "os.environ" or not isinstance(target, ast.Subscript):
            continue
        key = target.slice
        if isinstance(key, ast.Constant) and key.value == "MASTER_PORT" and isinstance(store.value, Const):
            yield Hit(
                place=analysis.place(store.node, store.context),
                message="a second job on this machine would use the same port",
                fix="Use `os.environ.setdefault`, or start with torchrun.",
            )
