"""What names were last given, by the tree alone."""

from __future__ import annotations

import ast

import pytest

from trainworthy.check.static.assigned import (
    arguments_after_subject,
    called,
    followed,
    integer,
    is_shape_of,
    keyword,
    last_given,
    subject,
)
from trainworthy.check.static.bindings import loops_around
from trainworthy.check.static.tree import children, own, variables, walk

TREE = ast.parse(
    """\
x = 1
def f(a):
    b = a.relu()
    c = b
    b += 1
    for d in c:
        pass
    def inner():
        c = 5
    return c
"""
)
FUNCTION = TREE.body[1]


def test_the_last_plain_assignment_above_a_line_counts() -> None:
    assert ast.unparse(last_given(FUNCTION, "c", 10)) == "b"  # type: ignore[arg-type]
    assert last_given(FUNCTION, "c", 4) is None
    assert last_given(FUNCTION, "d", 10) is None
    assert last_given(FUNCTION, "x", 10) is None


def test_names_are_followed_to_what_made_them() -> None:
    end = FUNCTION.body[-1]  # type: ignore[attr-defined]
    assert ast.unparse(followed(end.value, FUNCTION)) == "a.relu()"


def test_what_stands_in_a_function_itself_is_in_the_order_of_the_text() -> None:
    assert isinstance(FUNCTION, ast.FunctionDef)
    lines = [one.lineno for one in own(FUNCTION) if isinstance(one, ast.stmt)]
    assert lines == [3, 4, 5, 6, 7, 8, 10]  # not the 9 of the function within
    assert own(FUNCTION) is own(FUNCTION)


def test_a_call_is_taken_apart_in_both_styles() -> None:
    for text in ("torch.nn.functional.softmax(x, 1, dtype=d)", "x.softmax(1, dtype=d)"):
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        assert called(call) == "softmax"
        assert ast.unparse(subject(call)) == "x"  # type: ignore[arg-type]
        assert [ast.unparse(one) for one in arguments_after_subject(call)] == ["1"]
        assert ast.unparse(keyword(call, "dtype")) == "d"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("-1", -1), ("--2", 2), ("True", None), ("1.0", None), ("n", None), ("-n", None)]
)
def test_whole_numbers_are_read_with_their_sign(text: str, number: int | None) -> None:
    assert integer(ast.parse(text, mode="eval").body) == number
    assert integer(None) is None


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [("x.shape", True), ("x.size()", True), ("x.size(0)", False), ("x.shape[0]", False), ("y.shape", False)],
)
def test_all_sizes_of_a_variable_are_told_from_one(text: str, is_whole: bool) -> None:
    assert is_shape_of(ast.parse(text, mode="eval").body, "x") is is_whole


def test_loops_around_end_at_the_function_and_leave_out_what_follows_them() -> None:
    tree = ast.parse("for a in b:\n    def f():\n        while c:\n            for d in e:\n                g()\n")
    parents = {child: node for node in walk(tree) for child in children(node)}
    (call,) = [node for node in walk(tree) if isinstance(node, ast.Call)]
    assert [type(loop) for loop in loops_around(parents, call)] == [ast.For, ast.While]
    (over,) = [node for node in walk(tree) if isinstance(node, ast.Name) and node.id == "e"]
    assert [type(loop) for loop in loops_around(parents, over)] == [ast.While]


def test_variables_are_names_without_attributes() -> None:
    assert variables(ast.parse("a.b[c] + d(e=f)")) == {"a", "c", "d", "f"}
