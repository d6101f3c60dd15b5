"""Two arguments stand in each other's place.

What it finds:
    `resize(image, width, height)` where the function is `def resize(image, height, width)`: the names of both values
    are those of both parameters, the other way round.

Why:
    Nothing fails where both are of one kind: sizes, losses, masks or logits go where the other belongs.

How sure:
    The function is the project's and known, and both names match exactly and have three letters or more. Silent where
    the same function is called in both orders, as for a symmetrical measure, and where the caller or the function says
    that it turns things round, as a decoder does, also one whose layers are made beside those of its encoder; for names
    that say `in` and `out`, or that a loop over something reversed binds; and in tests, which try both. A hint, since
    the results may be turned round again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, is_a_test, is_expected_to_raise, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Function

BAD = """\
import torch


def crop(image, height, width):
    return image[..., :height, :width]


def prepared(image, height, width):
    return crop(image, width, height)  # <- TW836
"""

GOOD = """\
import torch


def crop(image, height, width):
    return image[..., :height, :width]


def prepared(image, height, width):
    return crop(image, height, width)
"""

_TURNS = re.compile(
    r"swap|transpos|rever|invers|mirror|flip|symmetr|rot|cross|commut|backward|other|mutual|bidirect|dual|adjoint|_t$|hermit",
    re.IGNORECASE,
)

_DIRECTIONS = frozenset("in out inp input output encoder decoder enc dec".split())
_MIRRORS = re.compile(r"Dec(?![a-z])|Decod|Up(?![a-z])|Upsampl|Deconv|Unpool|Transpose|Inverse")
_MIRROR_FUNCTIONS = re.compile(r"(^|_)(dec|decoder|up|upsampl\w*|upscale|deconv|unpool)(_|$)")


@rule(code="TW836", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of the project's functions."""
    if is_a_test(analysis.source):
        return
    orders: dict[tuple[object, frozenset[str]], set[tuple[str, str]]] = {}
    straight: set[tuple[object, frozenset[str]]] = set()  # layers that a function makes with two names in their order
    found: list[tuple[Call, Function, tuple[str, str]]] = []
    for call in once_per_place(iter(analysis.all_calls)):
        function = called_function(call)
        if function is None or call.context.source is not analysis.source or len(call.node.args) < 2:
            continue
        for pair, wrong in _pairs(call, function):
            orders.setdefault((function.node, frozenset(pair)), set()).add(pair)
            if not wrong and function.name == "__init__":
                straight.add((call.context.function, frozenset(pair)))
            if wrong:
                found.append((call, function, pair))
    for call, function, pair in found:
        both_ways = len(orders[(function.node, frozenset(pair))]) > 1
        both_ways |= _is_mirror(function) or _is_of_a_reversed_loop(analysis, call.node, pair)
        if function.name == "__init__":
            both_ways |= (call.context.function, frozenset(pair)) in straight
        inside = call.context.function.name if call.context.function is not None else ""
        turned = _TURNS.search(inside) or _TURNS.search(function.name) or call.context.function is function
        if both_ways or turned or is_expected_to_raise(call.node, analysis.parents):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"`{function.name}` takes `{pair[1]}` before `{pair[0]}`",
            evidence=(Evidence("it is defined here", function.source.place(function.node.args)),),
            fix="Swap the two arguments.",
        )


def _pairs(call: Call, function: Function) -> Iterator[tuple[tuple[str, str], bool]]:
    """Yield pairs of positional arguments that are called as two parameters are, and whether they are swapped."""
    names = [one.arg for one in (*function.node.args.posonlyargs, *function.node.args.args)]
    if function.owner is not None and names[:1] and names[0] in ("self", "cls"):
        names = names[1:]
    given = [_name(one) for one in call.node.args[: len(names)]]
    for at, one in enumerate(given):
        for other, two in enumerate(given[at + 1 :], start=at + 1):
            if _has_direction(one, two):
                continue
            if len(one) > 2 and len(two) > 2 and one != two and {one, two} == {names[at], names[other]}:
                yield (one, two), one == names[other]


def _is_mirror(function: Function) -> bool:
    """Say whether the name of a function, or of the class that it makes, is that of a layer that leads back."""
    if function.name == "__init__" and function.owner is not None:
        return _MIRRORS.search(function.owner.node.name) is not None
    return bool(_MIRRORS.search(function.name) or _MIRROR_FUNCTIONS.search(function.name))


def _is_of_a_reversed_loop(analysis: Analysis, node: ast.AST, pair: tuple[str, str]) -> bool:
    """Say whether a loop around, over something reversed, binds one of two names."""
    loops: list[ast.For | ast.AsyncFor | ast.comprehension] = []
    while (node := analysis.parents.get(node, node)) in analysis.parents:
        if isinstance(node, ast.For | ast.AsyncFor):
            loops.append(node)
        loops += getattr(node, "generators", ())
    for loop in loops:
        bound = {one.id for one in nodes_of(loop.target, ast.Name)}
        if bound & {*pair} and any(_is_reversed(one) for one in walk(loop.iter)):
            return True
    return False


def _is_reversed(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") == "reversed"
    step = node.slice.step if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) else None
    return step is not None and unparsed(step) == "-1"


def _has_direction(one: str, two: str) -> bool:
    """Say whether names are the two ends of something that may be built the other way round, as a decoder is."""
    return bool(_DIRECTIONS & {*one.split("_"), *two.split("_")})


def _name(node: ast.expr) -> str:
    """Name what is handed in: a variable or an attribute."""
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_")
    return node.id if isinstance(node, ast.Name) else ""
