"""Questions that several rules ask."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module, is_optimizer
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import UNKNOWN, Function, Instance, ProjectClass, Ref, Sequence, Value

CROSS_ENTROPY = ("torch.nn.CrossEntropyLoss.__call__", "torch.nn.functional.cross_entropy")
NLL = ("torch.nn.NLLLoss.__call__", "torch.nn.functional.nll_loss")
BCE_LOGITS = (
    "torch.nn.BCEWithLogitsLoss.__call__",
    "torch.nn.functional.binary_cross_entropy_with_logits",
)
KL_DIV = ("torch.nn.KLDivLoss.__call__", "torch.nn.functional.kl_div")
SCALERS = ("torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "torch.cuda.amp.grad_scaler.GradScaler")
AUTOCASTS = ("torch.autocast", "torch.amp.autocast", "torch.cuda.amp.autocast")
CLIPPERS = (
    "torch.nn.utils.clip_grad_norm_",
    "torch.nn.utils.clip_grad_norm",
    "torch.nn.utils.clip_grad_value_",
    "torch.nn.utils.clip_grad.clip_grad_norm_",
)
PARAMETRISED = frozenset(
    "Linear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Embedding EmbeddingBag LSTM "
    "GRU RNN LSTMCell GRUCell RNNCell LayerNorm BatchNorm1d BatchNorm2d BatchNorm3d GroupNorm InstanceNorm2d PReLU "
    "MultiheadAttention TransformerEncoderLayer TransformerDecoderLayer Transformer".split()
)


def same_turn(a: Context, b: Context) -> bool:
    """Say whether two things stand in one body: same function, same call of it, same turn of the same loops."""
    return a.function is b.function and a.callers == b.callers and a.loops == b.loops and a.source is b.source


def shared_turn(a: Call, b: Call) -> tuple[Call, Call] | None:
    """Return the two calls of one body that lead to ``a`` and ``b`` in one turn, or are these; None if there is none.

    What runs in a loop below that body is not of the same turn: it may run any number of times.
    """
    ways = parting(a, b)
    if ways is None or any(one.context.loops for way in ways for one in way[1:]):
        return None
    first, second = ways[0][0], ways[1][0]
    return (first, second) if same_turn(first.context, second.context) else None


def parting(a: Call, b: Call) -> tuple[tuple[Call, ...], tuple[Call, ...]] | None:
    """Return the ways to two calls from where they part: the calls of one body that lead to each, and what follows."""
    ways = ((*a.context.callers, a), (*b.context.callers, b))
    depth = next((at for at, pair in enumerate(zip(*ways, strict=False)) if pair[0] is not pair[1]), None)
    return None if depth is None else (ways[0][depth:], ways[1][depth:])


def feeds(backward: Call, step: Call) -> bool:
    """Say whether a step uses, in each turn, what a backward pass in that turn gave, be it in a loop of its own."""
    ways = parting(backward, step)
    if ways is None or any(one.context.loops for one in ways[1][1:]):
        return False
    inner, outer = ways[0][0].context, ways[1][0].context
    same_body = inner.function is outer.function and inner.callers == outer.callers and inner.source is outer.source
    return same_body and inner.loops[: len(outer.loops)] == outer.loops


def may_both_run(a: Context, b: Context) -> bool:
    """Say whether no condition separates two things: none is the opposite branch of the other."""
    opposite = {(test, not truth) for test, truth in a.branches}
    return not any(one in opposite for one in b.branches)


def always_with(a: Context, b: Context) -> bool:
    """Say whether ``a`` runs whenever ``b`` does, as far as conditions tell."""
    return set(a.branches) <= set(b.branches)


def optimizer_steps(analysis: Analysis) -> Iterator[Call]:
    """Yield the steps of torch's optimizers, and of what is called an optimizer and not known to be anything else."""
    return (call for call in analysis.method_calls("step") if is_optimizer(call.owner) or _named(call, "optim", "opt"))


def scaler_calls(analysis: Analysis, method: str) -> Iterator[Call]:
    """Yield calls of a method of gradient scalers, known ones and such that are only called so."""
    return (
        call
        for call in analysis.method_calls(method)
        if call.name.rpartition(".")[0] in SCALERS or _named(call, "scaler", "grad_scaler")
    )


def stepped_by(step: Call) -> tuple[Value, str]:
    """Return the optimizer that a step is of, and how it is written; a scaler's step names it."""
    if step.node.args or step.node.keywords:
        node = step.argument_node(0, "optimizer")
        return step.argument(0, "optimizer") or UNKNOWN, "" if node is None else unparsed(node)
    return step.owner, receiver(step)


def same_object(a: Call, b: Call) -> bool:
    """Say whether two calls are methods of one object; unknown ones are compared by how they are written."""
    if a.owner is UNKNOWN and b.owner is UNKNOWN:
        return receiver(a) == receiver(b)
    return a.owner is b.owner


def receiver(call: Call) -> str:
    """Write what stands before the method's dot."""
    func = call.node.func
    return unparsed(func.value) if isinstance(func, ast.Attribute) else ""


def _named(call: Call, *beginnings: str) -> bool:
    func = call.node.func
    if not call.name.startswith("?.") or not isinstance(func, ast.Attribute):
        return False
    name = str(getattr(func.value, "attr", None) or getattr(func.value, "id", ""))
    return name.lower().startswith(beginnings)


def unwrapped(value: Value | None) -> Value | None:
    """Look through ``enumerate``, ``tqdm``, ``iter`` and the like."""
    while isinstance(value, Instance) and value.type in ("builtins.enumerate", "tqdm.tqdm", "builtins.iter"):
        value = value.attrs.get("")
    return value


def inside(node: ast.AST, kinds: tuple[type[ast.AST], ...]) -> Iterator[ast.AST]:
    """Yield the nodes of some kinds below ``node``."""
    return (one for one in walk(node) if isinstance(one, kinds))


def names_in(node: ast.AST) -> set[str]:
    """Return every name and attribute below ``node``."""
    return {str(getattr(one, "id", None) or getattr(one, "attr", "")) for one in walk(node)} - {""}


def inner_modules(value: Value) -> list[Instance]:
    """Return a module and what is known to be in it, each once: modules may hold each other."""
    found: dict[int, Instance] = {}
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, Sequence):
            left += one.items or one.some
        elif isinstance(one, Instance) and id(one) not in found:
            found[id(one)] = one
            left += one.attrs.values()
    return list(found.values())


def is_a_module(value: Value | None) -> bool:
    """Say whether a value is a torch module, be it of a class whose base another library calls its module."""
    if value is None or is_module(value):
        return value is not None
    cls = value.cls if isinstance(value, Instance) else None
    if cls is None or not _WRAPPED_BASE.search(cls.outside_base()):
        return False
    return cls.lookup("forward") is not None and "torch" in cls.source.words


_WRAPPED_BASE = re.compile(r"(^|\.)((Base|NN)?Module|MessagePassing)$")


def in_a_module(call: Call) -> bool:
    """Say whether a call stands in a method of a module: its mode and graph are the business of who uses the module."""
    owner = _class_around(call.context)
    if owner is None:
        return False
    if is_module(owner.prototype or Instance(owner.outside_base())):
        return True
    bases = [base for cls in owner.order() for base in cls.bases if isinstance(base, Ref)]
    if any(is_module(Instance(base.name)) for base in bases):  # beside ABC and the like
        return True
    return "forward" in owner.members and bool(owner.bases) and not owner.fully_known()  # imports that go in a circle


def _class_around(context: Context) -> ProjectClass | None:
    """Return the class whose method runs here; a function that is made within a method is a part of it."""
    inner = context.function
    for outer in (one.context.function for one in reversed(context.callers)):
        if inner is None or inner.owner is not None or outer is None or not _is_within(inner, outer):
            break
        inner = outer
    return inner.owner if inner is not None else None


def _is_within(inner: Function, outer: Function) -> bool:
    first = inner.node.lineno
    return inner.source is outer.source and outer.node.lineno < first <= (outer.node.end_lineno or 0)


def called_function(call: Call) -> Function | None:
    """Return the function of the project that a call runs, if that is known; a class's is its `__init__`."""
    function = call.function
    return None if function is None or isinstance(function.node, ast.Lambda) else function


_TEST = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_|conftest)[^/]*$|_test\.py$")


def is_a_test(source: Source) -> bool:
    """Say whether a file is one of a project's tests, which do some things wrong on purpose."""
    return _TEST.search(source.path.replace("\\", "/")) is not None


def body_of(context: Context) -> ast.AST:
    """Return the function, or the module, that something stands in."""
    return context.function.node if context.function is not None else context.source.tree


def is_expected_to_raise(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether something stands below `with pytest.raises(...)` or `with self.assertRaises(...)`."""
    while node in parents:
        node = parents[node]
        for item in node.items if isinstance(node, ast.With) else ():
            call = item.context_expr
            func = call.func if isinstance(call, ast.Call) else None
            name = getattr(func, "attr", getattr(func, "id", ""))
            if name in ("raises", "assertRaises", "assertRaisesRegex", "assert_raises"):
                return True
    return False


def once_per_place(calls: Iterator[Call]) -> Iterator[Call]:
    """Leave out calls that were met before in another way."""
    seen: set[ast.AST] = set()
    for call in calls:
        if call.node not in seen:
            seen.add(call.node)
            yield call


_COUNT = re.compile(
    r"(?:^|_)(?:len|lengths?|num|n|i|k|count\w*|steps?|iters?|iterations?|batch\w*|size|samples?|total\w*|seen|turns?|"
    r"epochs?|examples?|idx|index)(?:_|$)|loader|dataset|^n[a-z]?$|^[ijk]$",
    re.IGNORECASE,
)


def is_a_count(node: ast.expr) -> bool:
    """Say whether an expression looks like a number of turns or samples: a length, or called so."""
    for one in walk(node):
        if isinstance(one, ast.Call) and getattr(one.func, "id", "") == "len":
            return True
        name = one.attr if isinstance(one, ast.Attribute) else one.id if isinstance(one, ast.Name) else ""
        if name and _COUNT.search(name):
            return True
    return False
