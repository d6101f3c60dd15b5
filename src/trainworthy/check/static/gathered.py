"""What a function gathers from the ranks by collectives that have no gradient."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.assigned import called, keyword
from trainworthy.check.static.facts import Call
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import nodes_of, own, unparsed, variables
from trainworthy.check.static.values import Function

Body = ast.FunctionDef | ast.AsyncFunctionDef
_INTO_A_LIST = "torch.distributed.all_gather"
_INTO_A_TENSOR = ("torch.distributed.all_gather_into_tensor", "torch.distributed._all_gather_base")
# They return what they gathered.
_RETURNED = ("mmengine.dist.all_gather", "accelerate.Accelerator.gather")
_WITH_GRADIENT = re.compile(
    r"autograd|\bFunction\b|\.apply\(|distributed\.nn|with_grad|sync_grads|no_grad|inference_mode"
)
# They give back the numbers that they get, in another shape, type or scale.
_KEEPS = frozenset(
    "cat concat stack flatten view reshape contiguous float half to type normalize unbind squeeze".split()
)


class Gathered:
    """The names of one function that hold what was gathered, and of what.

    Attributes:
        of: For each such name, the name that was gathered.
        at: Where that was done.
    """

    def __init__(self, body: Body, calls: dict[ast.Call, Call]) -> None:
        self.body, self._calls = body, calls
        self.of: dict[str, str] = {}
        self.at: dict[str, ast.Call] = {}
        nodes = own(body)
        kept = {name for node in nodes for name in _put_back(node)}
        for node in nodes:
            if isinstance(node, ast.Call):
                self._note_filled(node, kept)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                for target, value in _pairs(node.targets[0], node.value):
                    self._note_assigned(target, value)

    def subject(self, node: ast.expr) -> str:
        """Return the name whose gathered numbers an expression holds; "" if it holds anything else."""
        if isinstance(node, ast.Name):
            return self.of.get(node.id, "")
        if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
            return self.subject(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mult):
            return self.subject(node.left) or self.subject(node.right)
        if not isinstance(node, ast.Call):
            return ""
        made = self._made(node)
        if made:
            return made
        name = called(node)
        if name in _KEEPS or name in ("t", "transpose", "permute"):
            on = node.func.value if isinstance(node.func, ast.Attribute) else None
            inner = on if on is not None and not is_usual_name(on) else node.args[0] if node.args else None
            return self.subject(inner) if inner is not None else ""
        return ""

    def _made(self, node: ast.Call) -> str:
        """Return the name that a call gathers and returns; "" if it does not."""
        call = self._calls.get(node)
        if call is None or not node.args or not isinstance(node.args[0], ast.Name):
            return ""
        gathers = call.name in _RETURNED or (call.function is not None and _gathers(call.function))
        return node.args[0].id if gathers and keyword(node, "sync_grads") is None else ""

    def _note_filled(self, node: ast.Call, kept: set[str]) -> None:
        call = self._calls.get(node)
        name = call.name if call is not None else ""
        if name != _INTO_A_LIST and name not in _INTO_A_TENSOR:
            return
        into, subject = (*node.args[:2], None, None)[:2]
        into = into or keyword(node, "tensor_list", "output_tensor")
        subject = subject or keyword(node, "tensor", "input_tensor")
        while (
            isinstance(subject, ast.Call)
            and called(subject) == "contiguous"
            and isinstance(subject.func, ast.Attribute)
        ):
            subject = subject.func.value
        if isinstance(into, ast.Name) and isinstance(subject, ast.Name) and into.id not in kept:
            self.of[into.id], self.at[into.id] = subject.id, node

    def _note_assigned(self, target: ast.expr, value: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            return
        subject = self.subject(value)
        if subject:
            place = next((one for one in nodes_of(value, ast.Call) if self._made(one)), None)
            known = next((self.at[n.id] for n in nodes_of(value, ast.Name) if n.id in self.at), None)
            at = place or known
            if at is not None:
                self.of[target.id], self.at[target.id] = subject, at
        elif target.id in self.of and not (isinstance(value, ast.Name) and value.id == self.of[target.id]):
            del self.of[target.id], self.at[target.id]


def _gathers(function: Function) -> bool:
    """Say whether a function returns what it gathers of its first argument, without gradient, and does no more."""
    node = function.node
    if not isinstance(node, Body) or _WITH_GRADIENT.search(unparsed(node)):
        return False
    first = next((one.arg for one in node.args.args if one.arg != "self"), "")
    filled: set[str] = set()
    put_back: set[str] = set()
    for one in own(node):
        put_back |= set(_put_back(one))
        if isinstance(one, ast.Call) and called(one) == "all_gather" and len(one.args) >= 2:
            into, subject = one.args[:2]
            module = unparsed(one.func).rpartition(".")[0]
            torchs = module in ("dist", "torch.distributed", "distributed") or isinstance(one.func, ast.Name)
            if torchs and isinstance(into, ast.Name) and first in {n.id for n in nodes_of(subject, ast.Name)}:
                filled.add(into.id)
    made = {
        target.id
        for one in own(node)
        if isinstance(one, ast.Assign) and filled & variables(one.value)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    returned = [one.value for one in own(node) if isinstance(one, ast.Return) and one.value is not None]
    return not put_back & filled and any((filled | made) & variables(one) for one in returned)


def _put_back(node: ast.AST) -> Iterator[str]:
    """Yield the list of ``parts[rank] = x``: the rank's own part, with its gradient, is put back."""
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            yield target.value.id


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]
