"""Whether a program may choose one of several GPUs, by its tree alone."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.assigned import called
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import walk

_LOCAL_RANK = re.compile(r"local_?rank|local_?id|gpu|cuda_?id|device_?(num|idx|index)|rank_on", re.IGNORECASE)
_KINDS = frozenset({"cuda", "cpu", "mps", "auto", "meta", "nccl", "gloo"})
_OF_OTHERS = frozenset({"device", "dtype", "float", "float16", "bfloat16", "float32", "half", "long", "int64"})
_DEFAULTS = frozenset({"setdefault", "update"})


def may_choose(source: Source) -> bool:
    """Say whether a file may choose a GPU: by number, by a name whose value is not written in it, or by its rank."""
    kept = source.kept.get(may_choose)
    if kept is None:
        kept = source.kept[may_choose] = any(_chooses(node) for node in walk(source.tree)) or _uses_its_place(source)
    return bool(kept)


def _chooses(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(re.match(r"cuda:|--(gpu|device|local)", node.value))
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        named = any("device" in last_name(one).lower() for target in targets for one in walk(target))
        return named and node.value is not None and not _is_written(node.value)
    if isinstance(node, ast.alias):
        return "device" in (node.asname or node.name)
    if isinstance(node, ast.arguments):
        given = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        return any(_LOCAL_RANK.search(one.arg) or "device" in one.arg.lower() for one in given)
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.With) and any(called(one.context_expr) == "device" for one in node.items)
    if called(node) == "device":
        return len(node.args) != 1 or bool(node.keywords) or not _is_written(node.args[0])
    if called(node) == "cuda":
        return bool(node.args or node.keywords)
    if called(node) == "to" and node.args:
        return not (_is_written(node.args[0]) or last_name(node.args[0]) in _OF_OTHERS)
    return any(one.arg == "device" and not _is_written(one.value) for one in node.keywords)


def _is_written(node: ast.expr) -> bool:
    """Say whether a device stands there without a number, or is a name, whose values are asked themselves."""
    if isinstance(node, ast.IfExp):
        return _is_written(node.body) and _is_written(node.orelse)
    if isinstance(node, ast.Constant):
        return node.value is None or node.value in _KINDS
    if isinstance(node, ast.Call):
        return called(node) in ("device", "is_available", "type") and all(map(_is_written, node.args))
    is_own = isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and last_name(node.value) == "self")
    return is_own and "device" in last_name(node).lower()


def _uses_its_place(source: Source) -> bool:
    """Say whether anything reads which process of its node this is; a name for it that nothing reads does not count."""
    read = [
        last_name(node)
        for node in walk(source.tree)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    ]
    if any(_LOCAL_RANK.search(name) for name in read):
        return True
    texts = [one for one in walk(source.tree) if isinstance(one, ast.Constant) and one.value == "LOCAL_RANK"]
    unread = {one for node in walk(source.tree) for one in _unread(node)}
    return any(one not in unread for one in texts)


def _unread(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a statement that write the rank's variable, or only give it a name of that kind."""
    if isinstance(node, ast.Call) and called(node) in _DEFAULTS:
        return walk(node)
    if isinstance(node, ast.Dict | ast.List | ast.Tuple):
        return walk(node)
    if isinstance(node, ast.Assign):
        of_it = all(_LOCAL_RANK.search(last_name(one)) for one in node.targets)
        subscript = [part for one in node.targets if isinstance(one, ast.Subscript) for part in walk(one)]
        return walk(node) if of_it else subscript
    return []
