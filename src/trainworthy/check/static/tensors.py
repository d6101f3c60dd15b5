"""Shapes, types and activations through operators, indexing, attributes and methods of tensors and arrays."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence as Items

from trainworthy.check.static.facts import Call
from trainworthy.check.static.values import UNKNOWN, Activation, Const, Sequence, Shape, Tensor, Value

ACTIVATIONS: dict[str, Activation] = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
}
# Methods that neither change numbers nor forget what made them.
_SAME_NUMBERS = frozenset(
    "contiguous clone to cuda cpu float double half bfloat16 type type_as detach requires_grad_ squeeze unsqueeze view "
    "reshape permute transpose flatten unflatten expand repeat t swapaxes swapdims movedim numpy unbind chunk split "
    "index_select gather".split()
)
# The logarithm of a softmax, and its exponential.
_INVERSE: dict[tuple[str, Activation | None], Activation] = {
    ("exp", "log_softmax"): "softmax",
    ("log", "softmax"): "log_softmax",
}
# After these the last axis is another one.
_MOVES_AXES = frozenset(
    "squeeze unsqueeze view reshape permute transpose flatten unflatten expand repeat t swapaxes swapdims "
    "movedim".split()
)
_TO_FLOAT = frozenset({"float", "double", "half", "bfloat16"})
_SAME_SHAPE = frozenset(
    "contiguous clone to cuda cpu float double half bfloat16 int long bool detach requires_grad_ exp log abs sqrt tanh "
    "relu sigmoid softmax log_softmax neg copy clamp astype type type_as numpy".split()
)
_COMPARES = frozenset("gt lt ge le eq ne greater less greater_equal less_equal not_equal".split())
_NO_GRAPH = frozenset({"detach", "numpy", "data", "item", "tolist"})


def activation_kept(owner: Tensor) -> bool:
    """Say whether `made_by` is the call of an activation or a loss, which views do not change."""
    return owner.activation is not None or owner.loss


def attribute_of_tensor(owner: Tensor, name: str) -> Value | None:
    """Return ``tensor.name`` where it is no method."""
    if name in ("T", "mT", "H") and owner.shape is not None:
        return dataclasses.replace(owner, shape=tuple(reversed(owner.shape)))
    if name == "T":
        return owner
    if name == "data":
        return dataclasses.replace(owner, loss=False)
    if name == "shape" and owner.shape is not None:
        return Sequence("tuple", tuple(UNKNOWN if size is None else Const(size) for size in owner.shape))
    if name in ("shape", "grad", "device", "dtype", "ndim", "is_cuda", "requires_grad", "grad_fn", "size_"):
        return UNKNOWN
    return None


def indexed(owner: Tensor, node: ast.expr, index: Value) -> Value:
    """Return ``tensor[index]``."""
    made_by = owner.made_by if activation_kept(owner) else None
    return dataclasses.replace(owner, shape=_index_shape(owner.shape, node, index), made_by=made_by)


def _index_shape(shape: Shape | None, node: ast.expr, index: Value) -> Shape | None:
    if shape is None or not shape:
        return None
    if isinstance(index, Const) and isinstance(index.value, int) and not isinstance(index.value, bool):
        return shape[1:]
    if isinstance(node, ast.Slice) and node.lower is None and node.upper is None and node.step is None:
        return shape
    if isinstance(node, ast.Slice):
        return (None, *shape[1:])
    return None


def binary(op: ast.operator, left: Value, right: Value) -> Value:
    """Return the value of ``left op right``."""
    if isinstance(left, Const) and isinstance(right, Const):
        return _fold(op, left.value, right.value)
    tensors = [one for one in (left, right) if isinstance(one, Tensor)]
    if not tensors or isinstance(op, ast.MatMult):
        return UNKNOWN if not tensors else _matmul(left, right, tensors[0])
    first = tensors[0]
    shape = broadcast(_shape_of(left), _shape_of(right))
    dtype = first.dtype if len(tensors) == 1 or tensors[1].dtype == first.dtype else None
    if isinstance(op, ast.Div):
        dtype = "float"
    elif dtype == "bool" and not isinstance(op, ast.BitAnd | ast.BitOr | ast.BitXor):
        dtype = "bool" if len(tensors) == 2 else None
    # A loss stays one when it is scaled by a number or another loss is added.
    loss = any(one.loss for one in tensors)
    return Tensor(library=first.library, shape=shape, dtype=dtype, loss=loss)


def _matmul(left: Value, right: Value, first: Tensor) -> Value:
    a, b = _shape_of(left), _shape_of(right)
    shape: Shape | None = None
    if a is not None and b is not None and a and b:
        if len(a) == 1 and len(b) == 1:
            shape = ()
        elif len(a) == 2 and len(b) <= 2:
            shape = (a[0], *b[1:])
    return Tensor(library=first.library, shape=shape, dtype="float")


def _fold(op: ast.operator, a: object, b: object) -> Value:
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    if numbers and isinstance(a, int | float) and isinstance(b, int | float):
        if isinstance(op, ast.Add):
            return Const(a + b)
        if isinstance(op, ast.Sub):
            return Const(a - b)
        if isinstance(op, ast.Mult):
            return Const(a * b)
        if isinstance(op, ast.Div | ast.FloorDiv) and b != 0:
            return Const(a / b if isinstance(op, ast.Div) else a // b)
    return UNKNOWN


def compared(operands: Items[Value]) -> Value:
    """Return the value of a comparison."""
    tensors = [one for one in operands if isinstance(one, Tensor)]
    if not tensors:
        return UNKNOWN
    shape = broadcast(_shape_of(operands[0]), _shape_of(operands[1])) if len(operands) == 2 else None
    return Tensor(library=tensors[0].library, shape=shape, dtype="bool")


def _shape_of(value: Value) -> Shape | None:
    if isinstance(value, Tensor):
        return value.shape
    return () if isinstance(value, Const) and isinstance(value.value, int | float) else None


def broadcast(a: Shape | None, b: Shape | None) -> Shape | None:
    """Return the shape of an elementwise operation; None if it is not known or there is none."""
    if a is None or b is None:
        return None
    longest = max(len(a), len(b))
    out: list[int | None] = []
    for m, n in zip((1,) * (longest - len(a)) + a, (1,) * (longest - len(b)) + b, strict=True):
        if m == 1:
            out.append(n)
        elif n in (1, m):
            out.append(m)
        elif m is None or n is None:
            out.append(n if m is None else m)
        else:
            return None
    return tuple(out)


def call_method(owner: Tensor, name: str, call: Call) -> Value:
    """Return ``tensor.name(...)``."""
    activation = ACTIVATIONS.get(name)
    if activation is not None:
        return Tensor(library=owner.library, shape=owner.shape, dtype="float", activation=activation, made_by=call)
    turned = _INVERSE.get((name, owner.activation))
    if turned is not None:
        return dataclasses.replace(owner, activation=turned)
    if name in ("item", "tolist", "size", "dim", "numel", "backward", "shape"):
        return UNKNOWN
    if name in _COMPARES and len(call.args) == 1 and not call.keywords:
        return compared((owner, call.args[0]))
    if name in ("add", "add_") and owner.dtype == "bool" and len(call.args) == 1 and not call.keywords:
        return binary(ast.Add(), owner, call.args[0])
    shape = _method_shape(owner, name, call)
    keeps = name in _SAME_NUMBERS
    dtype = "float" if name in _TO_FLOAT else owner.dtype if keeps or name in ("abs", "clamp") else None
    if name in ("astype", "type", "to", "type_as"):
        dtype = None
    library = "numpy.ndarray" if name == "numpy" else owner.library
    return Tensor(
        library=library,
        shape=shape,
        dtype=dtype,
        activation=owner.activation if keeps else None,
        made_by=owner.made_by if keeps and (activation_kept(owner) or name not in _MOVES_AXES) else None,
        loss=owner.loss and name not in _NO_GRAPH,
        layer=owner.layer if keeps else None,
    )


def _method_shape(owner: Tensor, name: str, call: Call) -> Shape | None:
    shape = owner.shape
    if name in ("view", "reshape"):
        return sizes(call.args)
    if shape is None:
        return None
    if name in _SAME_SHAPE:
        return shape
    if name == "flatten" and not call.args and not call.keywords:
        return (_product(shape),)
    if name in ("squeeze", "unsqueeze"):
        return _squeezed(shape, name, call)
    if name in ("sum", "mean", "max", "min", "prod", "std", "var") and not call.args and not call.keywords:
        return ()
    if name in ("t", "transpose") and len(shape) <= 2 and owner.library == "torch.Tensor" and len(call.args) in (0, 2):
        return tuple(reversed(shape))
    return None


def _squeezed(shape: Shape, name: str, call: Call) -> Shape | None:
    at = call.constant(0, "dim")
    if not isinstance(at, int):
        whole = not call.args and not call.keywords and None not in shape
        return tuple(size for size in shape if size != 1) if name == "squeeze" and whole else None
    rank = len(shape) + (name == "unsqueeze")
    at = at + rank if at < 0 else at
    if not 0 <= at < rank:
        return None
    if name == "unsqueeze":
        return (*shape[:at], 1, *shape[at:])
    if shape[at] is None:
        return None
    return shape[:at] + shape[at + 1 :] if shape[at] == 1 else shape


def _product(shape: Shape) -> int | None:
    total = 1
    for size in shape:
        if size is None:
            return None
        total *= size
    return total


def sizes(args: Items[Value]) -> Shape | None:
    """Read sizes given one by one or as one tuple; -1 and what is not known are None."""
    if len(args) == 1 and isinstance(args[0], Sequence):
        if args[0].items is None:
            return None
        args = args[0].items
    if not args:
        return None
    found: list[int | None] = []
    for one in args:
        value = one.value if isinstance(one, Const) else None
        if isinstance(one, Sequence | Tensor) or (isinstance(one, Const) and not isinstance(value, int)):
            return None
        found.append(value if isinstance(value, int) and value >= 0 else None)
    return tuple(found)
