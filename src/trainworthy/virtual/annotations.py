"""Shape annotations of a function, read from its source: ``x: Float[Tensor, "batch time 64"]``.

jaxtyping need not be installed and nothing is evaluated; what is not written in place is not read.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, NamedTuple

KINDS = frozenset(
    "Float Int Integer UInt Bool Complex Num Inexact Real Shaped Float16 Float32 Float64 BFloat16 Int8 Int16 Int32 "
    "Int64 UInt8 TensorType".split()
)
RETURN = "return"


class Annotation(NamedTuple):
    """A dtype family (``Float``), the names of the dimensions, and the line."""

    kind: str
    names: str
    line: int


def annotations_of(function: Any) -> dict[str, Annotation]:
    """Return the shape annotations of a function by parameter, and of what it returns; {} if there are none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    try:
        lines, start = inspect.getsourcelines(code)  # type: ignore[arg-type]
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    node = tree.body[0] if tree.body else None
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return {}
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    written = {one.arg: one.annotation for one in arguments}
    written[RETURN] = node.returns
    found = {}
    for name, annotation in written.items():
        read = _read(annotation, start - 1)
        if read is not None:
            found[name] = read
    return found


def _read(node: ast.expr | None, above: int) -> Annotation | None:
    """Read ``Float[Tensor, "b t"]``, also in quotes, in ``Optional[...]`` or beside ``None``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        line = node.lineno
        try:
            node = ast.parse(node.value, mode="eval").body
        except SyntaxError:
            return None
        inner = _read(node, 0)
        return inner._replace(line=line + above) if inner is not None else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _only([_read(node.left, above), _read(node.right, above)])
    if not isinstance(node, ast.Subscript):
        return None
    name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    if name in ("Optional", "Union"):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _only([_read(part, above) for part in parts])
    if name in KINDS and isinstance(node.slice, ast.Tuple) and len(node.slice.elts) == 2:
        names = node.slice.elts[1]
        if isinstance(names, ast.Constant) and isinstance(names.value, str):
            return Annotation(name, names.value, node.lineno + above)
    return None


def _only(found: list[Annotation | None]) -> Annotation | None:
    """Of several, none can be held against a value."""
    known = [one for one in found if one is not None]
    return known[0] if len(known) == 1 else None
