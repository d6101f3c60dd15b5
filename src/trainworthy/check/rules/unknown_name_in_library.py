"""A function that torch or NumPy does not have.

What it finds:
    `torch.to_numpy`, `torch.functional.one_hot`, `np.float` and other names that do not exist, and `torch.solve`,
    `torch.symeig`, `torch.lstsq`, `torch.eig` and `torch.matrix_rank`, which are only left to say that they are gone.

Why:
    AttributeError, or RuntimeError, perhaps in a branch that runs once an epoch.

How sure:
    The names are those of torch 2.11 to 2.13 and NumPy 2; names that older versions had are reported as removed.
    Silent inside of `try`, and where `hasattr` or a version is asked.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.signatures import names_of
from trainworthy.check.static.tree import walk

# torch/_linalg_utils.py of torch 2.13: functions whose body raises "deprecated since version 1.9 and is now removed".
_REMOVED = {
    "solve": "torch.linalg.solve(A, B), with the arguments in the other order",
    "symeig": "torch.linalg.eigh", "lstsq": "torch.linalg.lstsq(A, B), with the arguments in the other order",
    "eig": "torch.linalg.eig", "matrix_rank": "torch.linalg.matrix_rank",
}  # fmt: skip
BAD = """\
import numpy as np
import torch

x = torch.to_numpy(torch.rand(3))  # <- TW801
y = np.float(3)  # <- TW801
"""

GOOD = """\
import numpy as np
import torch

x = torch.rand(3).numpy()
y = np.float64(3)
"""


@rule(code="TW801", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is called."""
    for call in once_per_place(iter(analysis.all_calls)):
        library, _, name = call.name.rpartition(".")
        if library not in ("torch", "torch.nn", "torch.nn.functional", "torch.optim", "numpy", "torch.functional"):
            continue
        known = names_of(library)
        func = call.node.func
        if library == "torch" and name in _REMOVED and not _may_be_older(analysis, call.node):
            yield Hit(
                place=analysis.place(func, call.context),
                message=f"`torch.{name}` is removed: calling it raises RuntimeError",
                fix=f"{_REMOVED[name]}.",
            )
        if known is None or name in known or name.startswith("_"):
            continue
        if not isinstance(func, ast.Attribute) or func.attr != name:
            continue
        if _may_be_older(analysis, call.node):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        yield Hit(
            place=analysis.place(func, call.context),
            message=f"`{library}` has no `{name}`",
            fix=f"Perhaps `{library}.{near[0]}`." if near else None,
        )


def _may_be_older(analysis: Analysis, call: ast.AST) -> bool:
    """Tell whether the file asks for a version, or tries."""
    return not analysis.source.words.isdisjoint(("__version__", "hasattr")) or call in _guarded(analysis)


def _guarded(analysis: Analysis) -> set[ast.AST]:
    """Return what stands in a try."""
    found: set[ast.AST] = set()
    for node in analysis.nodes.get(ast.Try, ()):
        found.update(walk(node))
    return found
