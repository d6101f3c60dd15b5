"""Which side of a mask is meant, and what names were given last."""

from __future__ import annotations

import ast

import pytest

from trainworthy.check.static.bindings import Bindings, bindings_of
from trainworthy.check.static.masks import Side, side_of


def bound(body: str) -> tuple[Bindings, ast.expr]:
    """Return the names of a function and what it returns."""
    function = ast.parse(f"def f(x, mask, pad_mask, flag):\n    {body}").body[0]
    assert isinstance(function, ast.FunctionDef)
    end = function.body[-1]
    assert isinstance(end, ast.Return)
    assert end.value is not None
    return bindings_of(function), end.value


@pytest.mark.parametrize(
    ("body", "side"),
    [
        ("return mask", Side("mask", True)),
        ("return ~mask", Side("mask", False)),
        ("return (1 - mask.float()).unsqueeze(-1)", Side("mask", False)),
        ("return mask[:, None]", Side("mask", True)),
        ("return mask == 0", Side("mask", False)),
        ("return (mask != 0).long()", Side("mask", True)),
        ("return ~~mask", Side("mask", True)),
        ("keep = ~pad_mask\n    return keep.bool()", Side("pad_mask", False)),
        ("mask = ~pad_mask\n    return ~mask", Side("pad_mask", True)),
        ("mask = x > 0\n    return mask", Side("mask", True, bound=2)),
        ("return mask.ne(0)", Side("mask", True)),
        ("return mask.eq(0)", Side("mask", False)),
    ],
)
def test_a_side_is_known_through_its_forms(body: str, side: Side) -> None:
    assert side_of(*bound(body)) == side


@pytest.mark.parametrize(
    "body", ["return x", "return mask[0]", "return 2 - mask", "return mask > 1", "return mask.any()"]
)
def test_other_values_are_no_side(body: str) -> None:
    assert side_of(*bound(body)) is None


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("y = x + 1\n    return y", "x + 1"),
        ("y = x\n    y = y * 2\n    return y", "y * 2"),
        ("y, z = x, mask\n    return z", "mask"),
        ("y = x\n    y += 1\n    return y", None),
        ("y = x\n    for y in x: pass\n    return y", None),
        ("return x", None),
    ],
)
def test_the_last_value_above_is_found(body: str, value: str | None) -> None:
    names, node = bound(body)
    assert isinstance(node, ast.Name)
    found = names.value_before(node)
    assert (None if found is None else ast.unparse(found)) == value
