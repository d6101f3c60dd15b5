"""An argument never reaches what it is for: an option its loss, a mask its layer.

What it finds:
    A function with a parameter `reduction`, `ignore_index`, `label_smoothing`, `weight` or `pos_weight` that calls a
    loss of torch which has that option, and gives it to no call. Likewise one with a parameter `generator` that draws
    random numbers and never reads it; and one that calls the project's own function without an argument that both have,
    when it never reads it, only keeps it as an attribute that nothing reads, or, being a mask, only applies it by
    itself; and a call without the root or source rank that the function hands to another one, unless it reads the
    call's result before that one: every rank needs such a result.

Why:
    The loss uses its own default whatever the caller says: `reduction="none"` gives a mean.

How sure:
    The parameter is at most compared with something, and torch's loss has an option of that name. Silent if the
    function gives the option to any call, computes with it, or keeps it. The project's function reads its parameter,
    which has a default; a mask's is None, and it selects nothing here. Said of the first of several calls. Silent in
    tests' private helpers. Who a function is handed to, or what it overrides, may want the parameter, and `**unused`
    says so; a default that is none of the texts that the other function knows says that they are not the same. A
    warning where metadata do not reach what would take them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import attribute_is_read
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, is_a_test, once_per_place
from trainworthy.check.static.tree import children, nodes_of, unparsed, walk
from trainworthy.check.static.values import Function, ProjectClass

BAD = """\
import torch.nn.functional as F


def cross_entropy(input, target, *, reduction="mean", **options):
    if target.numel() == 0 and reduction == "mean":
        return input.sum() * 0.0
    return F.cross_entropy(input, target, **options)  # <- TW842
"""

GOOD = """\
import torch.nn.functional as F


def cross_entropy(input, target, *, reduction="mean", **options):
    if target.numel() == 0 and reduction == "mean":
        return input.sum() * 0.0
    return F.cross_entropy(input, target, reduction=reduction, **options)
"""

_ALL = ("reduction",)
_OPTIONS = {
    "cross_entropy": ("reduction", "ignore_index", "label_smoothing", "weight"),
    "nll_loss": ("reduction", "ignore_index", "weight"),
    "binary_cross_entropy": ("reduction", "weight"),
    "binary_cross_entropy_with_logits": ("reduction", "weight", "pos_weight"),
    "mse_loss": _ALL, "l1_loss": _ALL, "smooth_l1_loss": _ALL, "huber_loss": _ALL, "kl_div": _ALL, "ctc_loss": _ALL,
}  # fmt: skip


@rule(code="TW842", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses within functions that have their options as parameters."""
    yield from _ignored_generators(analysis)
    yield from _left_out(analysis)
    for call in once_per_place(analysis.calls(*(f"torch.nn.functional.{name}" for name in _OPTIONS))):
        function = call.context.function
        if function is None or call.context.source is not analysis.source:
            continue
        arguments = function.node.args
        names = {arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        for option in _OPTIONS[call.method]:
            if option in names and not _given(call, option) and _only_compared(function.node, option):
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"`{option}` is a parameter of `{function.name}`, but the loss does not get it",
                    evidence=(Evidence("the function", analysis.place(function.node, call.context)),),
                    fix=f"Write `{option}={option}`.",
                )


def _left_out(analysis: Analysis) -> Iterator[Hit]:
    """Yield the first call of a project's function that could take a parameter of the same name and does not get it.

    It is one mistake of the function around, however many calls it makes.
    """
    lacking: dict[tuple[ast.AST, str], list[Call]] = {}
    for call in once_per_place(iter(analysis.all_calls)):
        for name in _lacks(analysis, call):
            function = call.context.function
            lacking.setdefault((function.node if function else call.node, name), []).append(call)
    for (function_node, name), calls in lacking.items():
        first = min(calls, key=lambda call: (call.node.lineno, call.node.col_offset))
        others = "" if len(calls) == 1 else f"; nor do {len(calls) - 1} other calls"
        others = others if len(calls) != 2 else "; nor does another call"
        yield Hit(
            place=analysis.place(first.node, first.context),
            message=f"`{name}` is a parameter here and of what is called, which does not get it{others}",
            evidence=(Evidence("the function", analysis.place(function_node, first.context)),),
            fix=f"Write `{name}={name}`.",
            severity="warning" if name.startswith("meta") else None,
        )


def _lacks(analysis: Analysis, call: Call) -> Iterator[str]:
    """Yield the parameters of the function around that a call of another one of the project lacks."""
    function, callee = call.context.function, called_function(call)
    if function is None or callee is None or callee is function or call.context.source is not analysis.source:
        return
    if call.starred or isinstance(function.node, ast.Lambda) or function.decorators:
        return
    if function.name.startswith("_") and function.name != "__init__" and is_a_test(analysis.source):
        return
    if analysis.mentions("save_hyperparameters") or _is_handed_on(analysis, function):
        return
    own = {arg.arg for arg in _parameters(function.node)} - _of_the_interface(function)
    for name, is_none in _optional(callee, call, own):
        reads = [one for one in nodes_of(function.node, ast.Name) if one.id == name]
        kept = bool(reads) and _is_only_kept(function, name)
        forgotten = (not reads or kept) and name not in _COMMON and not _is_chosen(function, call, name)
        forgotten = forgotten or (name in _RANKS and _goes_to_another(function.node, call, name))
        if forgotten or (is_none and name.endswith(("mask", "masks")) and _is_only_applied(function.node, name)):
            yield name


def _is_only_kept(function: Function, name: str) -> bool:
    """Say whether all that a constructor does with a parameter is to keep it as an attribute that nothing reads."""
    cls = function.owner
    if cls is None or function.name != "__init__":
        return False
    uses = [one for one in nodes_of(function.node, ast.Name) if one.id == name]
    stores = [
        one for one in nodes_of(function.node, ast.Assign)
        if isinstance(one.value, ast.Name) and one.value.id == name
        and [unparsed(target) for target in one.targets] == [f"self.{name}"]
    ]  # fmt: skip
    if len(uses) != len(stores):
        return False
    reads = [
        one for one in nodes_of(cls.source.tree, ast.Attribute)
        if one.attr == name and isinstance(one.ctx, ast.Load)
        and not _is_of_another_class(cls, one)
    ]  # fmt: skip
    return not reads and attribute_is_read(cls.source.path, name, cls.node.name) is False


def _is_of_another_class(cls: ProjectClass, read: ast.Attribute) -> bool:
    """Say whether an attribute is read of `self` in another class of the file, which is no relative."""
    if not isinstance(read.value, ast.Name) or read.value.id != "self" or any(one is read for one in walk(cls.node)):
        return False
    around = [
        one for one in cls.source.tree.body if isinstance(one, ast.ClassDef) and any(n is read for n in walk(one))
    ]
    names = {one.node.name for one in cls.order()}
    return all(one.name not in names and cls.node.name not in {unparsed(b) for b in one.bases} for one in around)


def _of_the_interface(function: Function) -> set[str]:
    """Return the parameters without a default that a method has because the one that it overrides has them."""
    bases = function.owner.bases if function.owner is not None else ()
    over = [one.lookup(function.name) for one in bases if isinstance(one, ProjectClass)]
    given = {arg.arg for one in over if isinstance(one, Function) for arg in _parameters(one.node)}
    return given - set(_defaults(function.node))


def _is_handed_on(analysis: Analysis, function: Function) -> bool:
    """Say whether a function within another is given to somebody, who chooses its arguments, and never called here."""
    if not isinstance(analysis.parents.get(function.node), ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    uses = [one for one in analysis.nodes.get(ast.Name, []) if getattr(one, "id", "") == function.name]
    called = [one for one in uses if getattr(analysis.parents.get(one), "func", None) is one]
    return bool(uses) and not called


def _is_chosen(function: Function, call: Call, name: str) -> bool:
    """Say whether a function decides on an argument by itself.

    It gives another value in another call of the same, or says by `**unused` that it is called with more than it needs.
    """
    text = unparsed(call.node.func)
    others = [one for one in nodes_of(function.node, ast.Call) if one is not call.node]
    given = any(name in {keyword.arg for keyword in one.keywords} and unparsed(one.func) == text for one in others)
    rest = function.node.args.kwarg
    return given or (rest is not None and rest.arg.lstrip("_").startswith(("unused", "ignored")))


_RANKS = frozenset({"root_rank", "src", "dst", "src_rank", "dst_rank"})


def _goes_to_another(function: ast.AST, call: Call, name: str) -> bool:
    """Say whether a parameter is handed on as it is to another call of a function, under no condition of its own."""
    others = [one for one in nodes_of(function, ast.Call) if one is not call.node]
    given = [arg for one in others for arg in _values(one)]
    handed = any(isinstance(one, ast.Name) and one.id == name for one in given)
    text = unparsed(call.node.func)
    if not handed or any(unparsed(one.func) == text for one in others):
        return False
    takers = [one.lineno for one in others if any(getattr(n, "id", "") == name for n in _values(one))]
    kept = [each.id for one in nodes_of(function, ast.Assign) if one.value is call.node
            for each in one.targets if isinstance(each, ast.Name)]  # fmt: skip
    after = (call.node.end_lineno or call.node.lineno, max(takers, default=0))
    reads = [one for one in nodes_of(function, ast.Name) if isinstance(one.ctx, ast.Load)]
    return not any(one.id in kept and after[0] < one.lineno < after[1] for one in reads)


def _values(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *[one.value for one in call.keywords]]


_COMMON = frozenset(
    {"name", "verbose", "debug", "device", "dtype", "strict", "prefix", "output_dict", "inplace", "self"}
)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _optional(callee: Function, call: Call, own: set[str]) -> list[tuple[str, bool]]:
    """Return the parameters of a callee, among some, that have a default, are not given, and that it reads.

    With each, whether the default is None.
    """
    if not own & {arg.arg for arg in _parameters(callee.node)}:
        return []
    arguments = callee.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    here = _defaults(call.context.function.node) if call.context.function is not None else {}
    shift = 1 if callee.owner is not None and positional and positional[0].arg in ("self", "cls") else 0
    given = {arg.arg for arg in positional[: len(call.node.args) + shift]} | set(call.keywords)
    return [
        (name, isinstance(default, ast.Constant) and default.value is None)
        for name, default in _defaults(callee.node).items()
        if name in own
        and not (name in here and _is_of_another_kind(here[name], callee.node, name))
        and name not in given
        and any(isinstance(one, ast.Name) and one.id == name for one in walk(callee.node))
    ]


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> dict[str, ast.expr]:
    """Return the parameters that have a default, with it."""
    positional = [*node.args.posonlyargs, *node.args.args]
    last = positional[len(positional) - len(node.args.defaults) :]
    found = {arg.arg: default for arg, default in zip(last, node.args.defaults, strict=True)}
    only = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return found | {arg.arg: default for arg, default in only if default is not None}


def _is_of_another_kind(default: ast.expr, callee: ast.AST, name: str) -> bool:
    """Say whether a default is text, and none of the texts that the callee compares its parameter with."""
    asked = [one for one in nodes_of(callee, ast.Compare) if unparsed(one.left) == name]
    texts = {_text(one) for each in asked for one in each.comparators} - {""}
    return bool(texts and _text(default)) and _text(default) not in texts


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_only_applied(function: ast.AST, name: str) -> bool:
    """Say whether a mask is applied here and handed to nobody."""
    parents = {child: node for node in walk(function) for child in children(node)}
    uses = [one for one in nodes_of(function, ast.Name) if one.id == name]
    handed = any(
        isinstance(parent := parents.get(one), ast.keyword) or (isinstance(parent, ast.Call) and one in parent.args)
        for one in uses
    )
    stored = any(isinstance(one.ctx, ast.Store) for one in uses)
    mappings = any(getattr(parents.get(one), "attr", "") in ("items", "keys", "values", "get") for one in uses)
    applied = any(isinstance(parents.get(one), ast.Attribute) for one in uses)
    selects = any(isinstance(at := parents.get(one), ast.Subscript) and at.slice is one for one in uses)
    return applied and not handed and not stored and not mappings and not selects


def _ignored_generators(analysis: Analysis) -> Iterator[Hit]:
    """Yield random numbers in functions that have a generator as a parameter and never read it."""
    for call in once_per_place(analysis.calls(*(f"torch.{name}" for name in _RANDOM))):
        function = call.context.function
        if function is None or call.context.source is not analysis.source or call.has(None, "generator"):
            continue
        arguments = function.node.args
        names = {arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        read = any(isinstance(node, ast.Name) and node.id == "generator" for node in walk(function.node))
        if "generator" in names and not read and _may_be_of_random_numbers(function.node):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`generator` is a parameter of `{function.name}`, but the numbers do not follow it",
                evidence=(Evidence("the function", analysis.place(function.node, call.context)),),
                fix="Draw with `generator=generator`.",
            )


def _may_be_of_random_numbers(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> bool:
    """Say whether `generator` may be torch's: annotated so, or optional; networks are called generators, too."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = list(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    defaults += [(arg, one) for arg, one in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if one]
    annotations = [one.annotation for one in (*positional, *arguments.kwonlyargs) if one.arg == "generator"]
    if any(one is not None and "Generator" in unparsed(one) for one in annotations):
        return True
    return any(arg.arg == "generator" and isinstance(one, ast.Constant) and one.value is None for arg, one in defaults)


_RANDOM = (
    "randn", "rand", "randint", "randn_like", "rand_like", "randint_like", "normal", "bernoulli", "multinomial",
    "randperm",
)  # fmt: skip


def _given(call: Call, option: str) -> bool:
    return option in call.keywords or any(isinstance(one, ast.Starred) for one in call.node.args)


def _only_compared(function: ast.AST, option: str) -> bool:
    """Say whether a parameter is compared and nothing else; one that is never read is, too."""
    parents = {child: node for node in walk(function) for child in children(node)}
    return all(
        isinstance(parents.get(node), ast.Compare) and isinstance(node.ctx, ast.Load)
        for node in nodes_of(function, ast.Name)
        if node.id == option
    )
