"""Every rank writes the same checkpoint.

What it finds:
    `torch.save` to a file whose name does not depend on the rank, in a program that starts a process group and
    never asks for its rank in a condition; a save of a model on all ranks, where the same class or file has others
    on one rank only; and a save of weights in the function that wraps the model in `DistributedDataParallel`, under no
    condition on the rank, or in another one of that file, which is called under none. Saves of safetensors count too.

Why:
    All ranks write one file at once; it may be torn.

How sure:
    The first is silent as soon as any condition in the program speaks of a rank, or a main or master process; the
    second where a caller in the project asks, or the name of the file or function speaks of ranks or shards. The last
    is silent where another file calls that function, and under conditions on more than time and scores.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.queries import names_in, once_per_place
from trainworthy.check.static.ranks import asks_which_rank, on_one_rank
from trainworthy.check.static.tree import children, nodes_of, own, unparsed, walk
from trainworthy.check.static.values import Const

BAD = """\
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(4, 4))
torch.save(model.state_dict(), "model.pt")  # <- TW423
"""

GOOD = """\
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(4, 4))
if dist.get_rank() == 0:
    torch.save(model.state_dict(), "model.pt")
"""


_WORDS = (
    "rank",
    "main",
    "master",
    "primary",
    "leader",
    "is_root",
    "coordinator",
    "world",
    "distributed",
    "local",
    "gpu",
    "device",
    "proc",
)


@rule(code="TW423", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at saves to a literal name."""
    if not analysis.source.words & _SAVES:
        return
    started = any(True for _ in analysis.calls("torch.distributed.init_process_group"))
    if not started or _asks_for_rank(analysis):
        yield from _unlike_the_others(analysis)
        yield from _of_replicas(analysis)
        yield from _in_functions_of_their_own(analysis)
        return
    for call in once_per_place(analysis.calls("torch.save")):
        if isinstance(call.argument(1, "f"), Const):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="every rank writes this file",
                fix="Save on rank 0 only: `if dist.get_rank() == 0:`.",
            )


def _asks_for_rank(analysis: Analysis) -> bool:
    for source in analysis.sources:
        for node in walk(source.tree):
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                words = ast.dump(node.test).lower().replace("'__main__'", "")
                if any(word in words for word in _WORDS):
                    return True
    return False


def _unlike_the_others(analysis: Analysis) -> Iterator[Hit]:
    """Yield saves of a model on all ranks beside such that one rank makes."""
    saves = [one for one in analysis.nodes.get(ast.Call, ()) if isinstance(one, ast.Call) and _is_save(one)]
    if len(saves) < 2:
        return
    guarded = [one for one in saves if on_one_rank(one, analysis.parents)]
    for node in saves if guarded else ():
        function = scope_of(node, analysis.parents)
        if node in guarded or not isinstance(function, ast.FunctionDef) or _speaks_of_shards(function):
            continue
        if _holds_a_model(node, function) and _a_caller_does_not_ask(analysis, function):
            yield Hit(
                place=analysis.place(node),
                message="every rank writes this file",
                evidence=(Evidence("only one rank writes here", analysis.place(guarded[0])),),
                fix="Save on the main process only.",
            )


def _of_replicas(analysis: Analysis) -> Iterator[Hit]:
    """Yield saves of the weights of a model that the same function replicates, which no condition keeps to one rank."""
    for call in once_per_place(analysis.calls(*_REPLICATES)):
        function = call.context.function
        if call.context.source is not analysis.source or function is None:
            continue
        for node in own(function.node) if isinstance(function.node, ast.FunctionDef) else ():
            if not isinstance(node, ast.Call) or not _is_of_every_rank(analysis, node, function.node):
                continue
            yield Hit(
                place=analysis.place(node),
                message="every rank writes this file",
                evidence=(Evidence("every rank comes here, and has the same weights", analysis.place(call.node)),),
                fix="Save on rank 0 only: `if dist.get_rank() == 0:`.",
            )


def _in_functions_of_their_own(analysis: Analysis) -> Iterator[Hit]:
    """Yield saves in functions that a program which replicates its model calls under no condition on the rank."""
    wraps = [one for one in analysis.calls(*_REPLICATES) if one.context.source is analysis.source]
    if not wraps or analysis.source.words & _SHARDING:
        return
    wrapping = {one.context.function.node for one in wraps if one.context.function is not None}
    for function in functions_of(analysis.nodes):
        if function in wrapping or not isinstance(function, ast.FunctionDef) or _speaks_of_shards(function):
            continue
        saves = [one for one in nodes_of(function, ast.Call) if _is_save(one)]
        saves = [one for one in saves if _is_of_every_rank(analysis, one, function) and not _may_be_one(one, analysis)]
        users = _users(function, analysis) if saves else []
        if not users or any(on_one_rank(one, analysis.parents) or _may_be_one(one, analysis) for one in users):
            continue
        for node in saves:
            yield Hit(
                place=analysis.place(node),
                message="every rank writes this file",
                evidence=(
                    Evidence("every rank has the same weights", analysis.place(wraps[0].node)),
                    Evidence("every rank comes here", analysis.place(users[0])),
                ),
                fix="Save on rank 0 only: `if dist.get_rank() == 0:`.",
            )


def _users(function: ast.FunctionDef, analysis: Analysis) -> list[ast.Call]:
    """Return the calls of a function, or of a method by its name; none if other files of the project call it too."""
    name = function.name
    for path in project_files(analysis.source.path) or ():
        if path != analysis.source.path and f"{name}(" in text_of(path):
            return []
    calls = [one for one in analysis.nodes.get(ast.Call, ()) if isinstance(one, ast.Call) and called(one) == name]
    return [one for one in calls if not _is_save(one)]


def _may_be_one(node: ast.AST, analysis: Analysis) -> bool:
    """Say whether conditions on the way to a place may hold on one rank only: not those on time and scores."""
    function, line = scope_of(node, analysis.parents), getattr(node, "lineno", 0)
    tests = []
    for one in nodes_of(function, ast.If):
        leaves = any(isinstance(end, ast.Return | ast.Raise | ast.Continue) for end in (*one.body, *one.orelse))
        if one.lineno < line and (leaves or node in walk(one)):
            tests.append(one.test)
    names = {name for test in tests for name in names_in(test)}
    return not all(_OF_TIME.search(name) for name in names)


_OF_TIME = re.compile(
    r"(^|_)(epochs?|steps?|iters?|iterations?|best|loss|acc|accuracy|score|metric|every|freq|frequency|interval|period)"
    r"(_|$)|^(self|args|cfg|config|opt|len|max|min|float|int|i|n|it|t|__name__|any|all)$",
    re.IGNORECASE,
)
_SAVES = frozenset({"save", "save_file", "save_model"})
_SHARDING = frozenset(
    "FSDP FullyShardedDataParallel fully_shard deepspeed horovod xm torch_xla DTensor dcp pipeline megatron "
    "Accelerator hvd".split()
)


def _is_of_every_rank(analysis: Analysis, save: ast.Call, function: ast.AST) -> bool:
    """Say whether a call writes a model's weights on every rank into one file."""
    if not _is_save(save) or len(save.args) < 2 or not _holds_a_model(save, function):
        return False
    path = save.args[1]
    one_writes = on_one_rank(save, analysis.parents) or _is_under_a_choice_by_rank(analysis, save)
    by_rank = _made_of_the_rank(analysis)
    named = any(unparsed(one) in by_rank for one in walk(path) if isinstance(one, ast.Name | ast.Attribute))
    return not (one_writes or named or asks_which_rank(path) or _depends(path, function))


def _is_under_a_choice_by_rank(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether a condition around a node asks what was made of the rank: `args.save = ... and is_master(args)`."""
    made = _made_of_the_rank(analysis)
    while node in analysis.parents:
        node = analysis.parents[node]
        asked = walk(node.test) if isinstance(node, ast.If) else ()
        if any(isinstance(one, ast.Name | ast.Attribute) and unparsed(one) in made for one in asked):
            return True
    return False


def _made_of_the_rank(analysis: Analysis) -> set[str]:
    """Return the names and attributes that are made of the rank."""
    return {
        unparsed(target)
        for one in analysis.nodes.get(ast.Assign, [])
        if isinstance(one, ast.Assign) and asks_which_rank(one.value)
        for target in one.targets
    }


_REPLICATES = ("torch.nn.parallel.DistributedDataParallel", "torch.nn.parallel.distributed.DistributedDataParallel")


def _depends(path: ast.expr, function: ast.AST) -> bool:
    """Say whether a path is made of the rank."""
    names = nodes_of(path, ast.Name)
    return any(asks_which_rank(followed(one, function)) for one in names)


def _is_save(node: ast.Call) -> bool:
    func = node.func
    if called(node) in ("save_file", "save_model"):  # of safetensors
        return isinstance(func, ast.Name) or "safetensors" in unparsed(func)
    return (
        isinstance(func, ast.Attribute)
        and func.attr == "save"
        and getattr(func.value, "id", "") in ("torch", "th", "pt")
    )


def _holds_a_model(node: ast.Call, function: ast.AST) -> bool:
    """Say whether a model's weights are saved, which are alike on all ranks."""
    given = followed(node.args[0], function) if node.args else None
    if called(node) == "save_model" and isinstance(node.func, ast.Attribute):
        return True
    return given is not None and any(called(one) == "state_dict" for one in walk(given))


def _speaks_of_shards(function: ast.FunctionDef) -> bool:
    """Say whether a function distinguishes ranks in another way: each may have a file or a part of its own."""
    words = ast.dump(function).lower()
    return any(word in words for word in ("rank", "shard", "master", "is_main", "main_process", "world", "parallel"))


def _a_caller_does_not_ask(analysis: Analysis, function: ast.FunctionDef) -> bool:
    """Say whether the project calls a function outside of conditions on the rank."""
    cls = analysis.parents.get(function)
    owner = cls.name.lower() if isinstance(cls, ast.ClassDef) else ""
    for path in {analysis.source.path, *(project_files(analysis.source.path) or ())}:
        text = analysis.source.text if path == analysis.source.path else text_of(path)
        if f"{function.name}(" not in text:
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        parents = {child: node for node in walk(tree) for child in children(node)}
        for node in parents:
            if called(node) == function.name and _is_of(node, owner) and not on_one_rank(node, parents):
                return True
    return False


def _is_of(node: ast.AST, owner: str) -> bool:
    """Say whether a call is of the class's method: of something called as it is; or of a function."""
    func = getattr(node, "func", None)
    if not owner:
        return isinstance(func, ast.Name)
    value = func.value if isinstance(func, ast.Attribute) else None
    name = str(getattr(value, "attr", None) or getattr(value, "id", "")).lower().replace("_", "")
    return len(name) > 3 and name != "self" and name in owner
