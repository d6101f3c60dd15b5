"""The rank from the environment is used as a number while it is text.

What it finds:
    `os.environ["RANK"]`, `LOCAL_RANK` or `WORLD_SIZE` compared with a number, given as a device, or used in arithmetic,
    without `int`; and `env.get("RANK", "0")`, of whatever holds the environment, used so or as a truth:
    `if not rank`. Also what is declared or returned as an `int`.

Why:
    `os.environ["RANK"] == 0` is always False, as is `not "0"`, so no rank saves or logs; `torch.device("cuda", "0")`
    fails.

How sure:
    Certain: environment variables are text, and so is a default in quotes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import scope_of
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import own, unparsed, walk
from trainworthy.check.static.values import UNKNOWN, Const, EnvText, Sequence, Value

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
    yield from _kept_in_attributes(analysis)
    yield from _returned_as_numbers(analysis)
    yield from _declared_as_numbers(analysis)
    yield from _with_a_text_as_default(analysis)
    for call in once_per_place(analysis.calls(*_DEVICES)):
        text = _device_text(call)
        if text is not None:
            yield _hit(analysis, analysis.place(call.node, call.context), text)


_DEVICES = (
    "torch.cuda.set_device", "torch.device", "torch.nn.parallel.DistributedDataParallel",
    "torch.distributed.init_process_group",
)  # fmt: skip


def _kept_in_attributes(analysis: Analysis) -> Iterator[Hit]:
    """Yield ranks kept as text in an attribute, `args.rank`, which the same function uses as a number."""
    for store in analysis.stores:
        function, target, text = store.context.function, store.target, store.value
        if function is None or store.context.source is not analysis.source or not isinstance(target, ast.Attribute):
            continue
        if not _is_rank(text) or not isinstance(target.value, ast.Name) or store.owner not in (None, UNKNOWN):
            continue  # what is known of an object is followed anyway
        kept = unparsed(target)
        nodes = [one for one in walk(function.node) if getattr(one, "lineno", 0) > target.lineno]
        if any(isinstance(one, ast.Assign) and kept in unparsed(one.value) and _sets(one, kept) for one in nodes):
            continue  # made a number later
        if any(_is_used_as_a_number(analysis, one, kept) for one in nodes):
            yield _hit(analysis, analysis.place(store.node, store.context), text)


def _returned_as_numbers(analysis: Analysis) -> Iterator[Hit]:
    """Yield results of functions that say `-> int` and return the environment's text."""
    for function in functions_of(analysis.nodes) if {*_RANKS} & analysis.source.words else ():
        if getattr(function.returns, "id", "") != "int":
            continue
        for one in own(function):
            value = one.value if isinstance(one, ast.Return) else None
            value = value.values[0] if isinstance(value, ast.BoolOp) else value
            read = _ENVIRONMENT.match(unparsed(value)) if value is not None else None
            if read is not None and read[1] in _RANKS:
                yield _hit(analysis, analysis.place(one), EnvText(read[1]))


def _declared_as_numbers(analysis: Analysis) -> Iterator[Hit]:
    """Yield fields and variables that say `: int` and are given the environment's text, also by a field's factory."""
    for one in analysis.nodes.get(ast.AnnAssign, ()) if {*_RANKS} & analysis.source.words else ():
        if not isinstance(one, ast.AnnAssign) or getattr(one.annotation, "id", "") != "int" or one.value is None:
            continue
        factories = [each.value for each in getattr(one.value, "keywords", ()) if each.arg == "default_factory"]
        given = factories[0].body if factories and isinstance(factories[0], ast.Lambda) else one.value
        read = _ENVIRONMENT.match(unparsed(given))
        if read is not None and read[1] in _RANKS:
            yield _hit(analysis, analysis.place(one), EnvText(read[1]))


_ENVIRONMENT = re.compile(r"os\.(?:environ\.get\(|getenv\(|environ\[)'(\w+)'")


def _with_a_text_as_default(analysis: Analysis) -> Iterator[Hit]:
    """Yield ranks of `env.get("RANK", "0")`, whatever `env` is, that are used as numbers, or as if "0" were false."""
    for node in analysis.nodes.get(ast.Call, ()) if {*_RANKS} & analysis.source.words else ():
        name = _looked_up(node)
        assign = analysis.parents.get(node)
        if not name or not isinstance(assign, ast.Assign | ast.AnnAssign) or assign.value is not node:
            continue
        targets = assign.targets if isinstance(assign, ast.Assign) else [assign.target]
        around = _users_of(targets[0], analysis)
        kept = unparsed(targets[0])
        if around is None or sum(_binds(one, kept) for one in walk(around)) != 1:
            continue
        known = _ENVIRONMENT.match(unparsed(node)) is not None
        for one in walk(around):
            as_number = not known and _is_used_as_a_number(analysis, one, kept)
            if as_number or _is_asked_for_truth(one, kept, analysis):
                yield _hit(analysis, analysis.place(one), EnvText(name))


def _looked_up(node: ast.AST) -> str:
    """Name the rank that `x.get("RANK", "0")` looks up; "" for anything else."""
    if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in ("get", "getenv") or len(node.args) != 2:
        return ""
    name, default = (one.value if isinstance(one, ast.Constant) else None for one in node.args)
    is_text = isinstance(default, str) and default.lstrip("-").isdecimal()
    return str(name) if name in _RANKS and is_text else ""


def _users_of(target: ast.expr, analysis: Analysis) -> ast.AST | None:
    """Return what may read a name, its function or file, or an attribute of `self`: its class."""
    scope = scope_of(target, analysis.parents)
    if isinstance(target, ast.Name):
        return scope
    cls = analysis.parents.get(scope)
    is_own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
    return cls if is_own and isinstance(cls, ast.ClassDef) else None


def _binds(node: ast.AST, written: str) -> bool:
    """Say whether a node gives a name or attribute a value, or is an argument of that name."""
    if isinstance(node, ast.arg):
        return node.arg == written
    return isinstance(getattr(node, "ctx", None), ast.Store) and unparsed(node) == written


def _is_asked_for_truth(node: ast.AST, written: str, analysis: Analysis) -> bool:
    """Say whether something asks whether a text is true: that of any number is."""
    if not isinstance(node, ast.Name | ast.Attribute) or unparsed(node) != written:
        return False
    parent = analysis.parents.get(node)
    if isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not):
        return True
    return isinstance(parent, ast.If | ast.IfExp | ast.While) and parent.test is node


def _sets(node: ast.Assign, written: str) -> bool:
    return any(unparsed(one) == written for one in node.targets)


def _is_used_as_a_number(analysis: Analysis, node: ast.AST, written: str) -> bool:
    """Say whether something is compared with a number, computed with, or given as a rank or a device."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(unparsed(one) == written for one in sides) and any(
            isinstance(one, ast.Constant) and type(one.value) is int for one in sides
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.FloorDiv | ast.Sub):
        return unparsed(node.left) == written
    call = analysis.call_at.get(node) if isinstance(node, ast.Call) else None
    if call is None or call.name not in _DEVICES or not isinstance(node, ast.Call):
        return False
    if call.name == "torch.device":
        given = node.args[1:]
    elif call.name == "torch.cuda.set_device":
        given = node.args[:1]
    elif call.name == "torch.distributed.init_process_group":
        given = [one.value for one in node.keywords if one.arg in ("rank", "world_size")]
    else:
        given = [part for one in node.keywords if one.arg == "device_ids" for part in getattr(one.value, "elts", ())]
    return any(unparsed(one) == written for one in given)


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
