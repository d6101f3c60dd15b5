"""A function that torch or NumPy does not have.

What it finds:
    `torch.to_numpy`, `torch.functional.one_hot`, `np.float` and other names that do not exist, and `torch.solve`,
    `torch.symeig`, `torch.lstsq`, `torch.eig` and `torch.matrix_rank`, which are only left to say that they are gone.
    Also methods that other libraries' arrays have, called on a tensor: `x.asnumpy()`, `x.to_numpy()`, `x.astype(...)`.

Why:
    AttributeError, or RuntimeError, perhaps in a branch that runs once an epoch.

How sure:
    The names are those of torch 2.11 to 2.13 and NumPy 2; names that older versions had are reported as removed.
    Silent inside of `try`, and where `hasattr` or a version is asked. Methods are looked at in a `try`, too, if it does
    not turn to another one; not where a library is imported whose arrays have them.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.signatures import names_of
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Tensor

# torch/_linalg_utils.py of torch 2.13: functions whose body raises "deprecated since version 1.9 and is now removed".
_REMOVED = {
    "solve": "torch.linalg.solve(A, B), with the arguments in the other order",
    "symeig": "torch.linalg.eigh", "lstsq": "torch.linalg.lstsq(A, B), with the arguments in the other order",
    "eig": "torch.linalg.eig", "matrix_rank": "torch.linalg.matrix_rank",
}  # fmt: skip
# Methods of the arrays of other libraries, with what a tensor has instead.
_OF_OTHERS = {
    "asnumpy": ".detach().cpu().numpy()", "as_numpy": ".detach().cpu().numpy()", "to_numpy": ".detach().cpu().numpy()",
    "astype": ".to(torch.float32)", "asscalar": ".item()", "as_in_context": ".to(device)",
    "attach_grad": ".requires_grad_()", "get_shape": ".shape", "expand_dims": ".unsqueeze(axis)",
}  # fmt: skip
_OTHERS = (
    "mxnet", "mx", "mindspore", "tensorflow", "tf", "keras", "jax", "jnp", "paddle", "cupy", "cp", "oneflow",
    "tinygrad", "pandas", "pd", "megengine", "chainer", "dgl", "xarray", "polars",
)  # fmt: skip

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
    for call, name in _methods_of_others(analysis):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"a tensor has no `{name}`",
            fix=f"Write `{_OF_OTHERS[name]}`.",
        )


def _methods_of_others(analysis: Analysis) -> Iterator[tuple[Call, str]]:
    """Yield calls on tensors of methods that only other libraries' arrays have."""
    if analysis.source.words.isdisjoint(_OF_OTHERS) or not _is_of_torch_alone(analysis):
        return
    for call in once_per_place(analysis.method_calls(*_OF_OTHERS)):
        owner = call.owner
        known = isinstance(owner, Tensor) and owner.library == "torch.Tensor"
        if known and not (_asks_for_the_kind(call) or _turns_to_another(analysis, call.node)):
            yield call, call.method


def _is_of_torch_alone(analysis: Analysis) -> bool:
    """Say whether a file works with torch, and none of the libraries whose arrays have other methods."""
    words = analysis.source.words
    return "torch" in words and words.isdisjoint((*_OTHERS, "hasattr", "__version__"))


def _asks_for_the_kind(call: Call) -> bool:
    return any("isinstance" in unparsed(test) or "type(" in unparsed(test) for test, _ in call.context.branches)


def _turns_to_another(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether a try around a call has a way for what does not have the method."""
    while (parent := analysis.parents.get(node)) is not None:
        if isinstance(parent, ast.Try) and node in parent.body:
            handled = [one for handler in parent.handlers for one in walk(handler)]
            if any(getattr(one, "id", "") == "AttributeError" or getattr(one, "attr", "") in _CASTS for one in handled):
                return True
        node = parent
    return False


_CASTS = frozenset({"numpy", "cpu", "detach", "to", "array", "asarray", "item", "shape", "unsqueeze"})


def _may_be_older(analysis: Analysis, call: ast.AST) -> bool:
    """Tell whether the file asks for a version, or tries."""
    return not analysis.source.words.isdisjoint(("__version__", "hasattr")) or call in _guarded(analysis)


def _guarded(analysis: Analysis) -> set[ast.AST]:
    """Return what stands in a try."""
    found: set[ast.AST] = set()
    for node in analysis.nodes.get(ast.Try, ()):
        found.update(walk(node))
    return found
