"""Losses that are written out as two pieces, a square near zero and a line further out, and where they do not meet."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of, subject
from trainworthy.check.static.tree import unparsed, walk


@dataclass(frozen=True)
class Product:
    """A number times powers of names: `0.5 * (sigma * x) ** 2` is 0.5, and 2 of `sigma` and of `x`."""

    number: float
    powers: Counter[str] = field(default_factory=Counter)

    def times(self, other: Product, sign: int = 1) -> Product:
        """Return the product with another, or the ratio."""
        powers = Counter(self.powers)
        for name, power in other.powers.items():
            powers[name] += sign * power
        number = self.number * other.number if sign > 0 else self.number / (other.number or math.nan)
        return Product(number, powers)

    def to_the(self, power: int) -> Product:
        """Return a power of it."""
        return Product(self.number**power, Counter({name: power * one for name, one in self.powers.items()}))

    def without(self, name: str) -> Product:
        """Leave a name out."""
        return Product(self.number, Counter({one: power for one, power in self.powers.items() if one != name}))

    def equals(self, other: Product) -> bool:
        """Say whether two are the same for all values of their names."""
        ratio = self.times(other, -1)
        return math.isclose(ratio.number, 1.0, rel_tol=0.02) and not any(ratio.powers.values())


def pieces_apart(analysis: Analysis) -> Iterator[tuple[ast.expr, str]]:
    """Yield squares that do not meet their line anywhere smoothly, whatever the parameter is, with its name."""
    for node in (*analysis.nodes.get(ast.Call, ()), *analysis.nodes.get(ast.BinOp, ())):
        for square, line in _pieces(node):
            scope = scope_of(node, analysis.parents)
            name = _apart(square, line, scope)
            if name:
                yield followed(square, scope), name


def _pieces(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what may be a square and a line: `where(near, a, b)`, `near * a + (1 - near) * b`."""
    if isinstance(node, ast.Call) and called(node) == "where" and len(node.args) == 3:
        yield node.args[1], node.args[2]
        yield node.args[2], node.args[1]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (list(_factors(one)) for one in (node.left, node.right))
        if len(left) > 1 and len(right) > 1:
            yield from ((a, b) for a in left for b in right)
            yield from ((b, a) for a in left for b in right)


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def _apart(square: ast.expr, line: ast.expr, scope: ast.AST) -> str:
    """Name the parameter of `a x^2` and `b x - c` for which c is not b^2 / 4a; "" if they meet, or are none."""
    drawn = followed(line, scope)
    if isinstance(drawn, ast.BinOp) and isinstance(drawn.op, ast.Mult):  # delta * (x - delta / 2)
        outer, inner = drawn.left, followed(drawn.right, scope)
        factor = _product(outer, scope)
    else:
        factor, inner = Product(1.0), drawn
    if factor is None or not isinstance(inner, ast.BinOp) or not isinstance(inner.op, ast.Sub):
        return ""
    curve, slope, less = (_product(one, scope) for one in (square, inner.left, inner.right))
    if curve is None or slope is None or less is None:
        return ""
    name = next((one for one, power in slope.powers.items() if power == 1 and curve.powers[one] == 2), "")
    if not name or less.powers[name] or not less.number or not curve.number:
        return ""
    a, b, c = curve.without(name), slope.without(name).times(factor), less.times(factor)
    others = [one for one, power in c.times(a).powers.items() if power and one != name]
    meant = b.to_the(2).times(a, -1).times(Product(0.25))
    shared = any(a.powers[one] and c.powers[one] for one in others)
    return others[0] if shared and not c.equals(meant) else ""


def _product(node: ast.expr, scope: ast.AST, depth: int = 8) -> Product | None:
    """Return what an expression is the product of; None if it is another thing."""
    node = followed(node, scope)
    if isinstance(node, ast.Constant):
        value = node.value
        return Product(float(value)) if isinstance(value, int | float) and 1e-9 < abs(value) < 1e9 else None
    if isinstance(node, ast.BinOp) and depth:
        left, right = _product(node.left, scope, depth - 1), _product(node.right, scope, depth - 1)
        if left is not None and right is not None and isinstance(node.op, ast.Mult | ast.Div):
            return left.times(right, 1 if isinstance(node.op, ast.Mult) else -1)
        if left is not None and isinstance(node.op, ast.Pow):
            return _raised(left, node.right)
        if isinstance(node.op, ast.Sub):  # a difference, of which the square is that of its size
            return Product(1.0, Counter([unparsed(node)]))
        return None
    if isinstance(node, ast.Call):
        return _called_product(node, scope, depth)
    if isinstance(node, ast.Name | ast.Attribute):
        return Product(1.0, Counter([unparsed(node)]))
    return None


def _called_product(node: ast.Call, scope: ast.AST, depth: int) -> Product | None:
    inner = subject(node)
    if inner is None or not depth:
        return None
    name = called(node)
    if name in ("abs", "float", "detach"):
        return _product(inner, scope, depth - 1)
    if name in ("pow", "square", "pow_", "square_"):
        base = _product(inner, scope, depth - 1)
        power = ast.Constant(2) if name.startswith("square") else node.args[-1] if node.args else None
        return _raised(base, power) if base is not None and power is not None else None
    return None


def _raised(base: Product, power: ast.expr) -> Product | None:
    value = power.value if isinstance(power, ast.Constant) else None
    return base.to_the(int(value)) if isinstance(value, int | float) and value in (1, 2) else None


def may_be_two_pieces(analysis: Analysis) -> bool:
    """Say whether a file may have such a loss at all: a half is taken away somewhere."""
    return any(
        isinstance(one, ast.BinOp)
        and isinstance(one.op, ast.Sub)
        and any(isinstance(each, ast.Constant) and each.value == 0.5 for each in walk(one.right))
        for one in analysis.nodes.get(ast.BinOp, ())
    )
