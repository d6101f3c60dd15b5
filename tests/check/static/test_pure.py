import ast

import pytest

from trainworthy.check.static.pure import is_pure


@pytest.mark.parametrize(
    ("body", "pure"),
    [
        ("mean = x.mean(); return (x - mean) / (x.std() + 1e-6)", True),
        ("y = torch.clamp(x, 0, 1); return y", True),
        ("return x", False),
        ("x[0] = 1; return x * 2", False),
        ("x.data = 1; return x * 2", False),
        ("x += 1; return x * 2", False),
        ("log(x); return x * 2", False),
        ("return seen.update(x)", False),
        ("return torch.rand(x)", False),
        ("return torch.add(x, 1, out=x)", False),
        ("return torch.relu_(x)", False),
        ("yield x", False),
        ("x * 2", False),
    ],
)
def test_what_only_computes_is_pure(body: str, pure: bool) -> None:
    node = ast.parse(f"def f(x, seen):\n    '''Text.'''; {body}").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert is_pure(node) is pure


def test_a_decorated_function_may_do_more() -> None:
    node = ast.parse("@cached\ndef f(x):\n    return x * 2").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert not is_pure(node)
