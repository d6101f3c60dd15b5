"""What NumPy's functions of random numbers return."""

from __future__ import annotations

from trainworthy.check.static.facts import Call
from trainworthy.check.static.tensors import sizes
from trainworthy.check.static.values import Const, Sequence, Shape, Tensor, Value

_FLOATS = frozenset({"rand", "randn", "random", "normal", "uniform", "random_sample", "standard_normal"})
_OTHERS = frozenset({"choice", "randint", "binomial"})
_SIZE_AT = {"normal": 2, "uniform": 2, "choice": 1, "randint": 2, "binomial": 2}


def drawn(name: str, call: Call) -> Value | None:
    """Return an array of drawn numbers; None if it may be one number, or nothing is known of the function."""
    if name in _OTHERS:
        size = call.argument(_SIZE_AT[name], "size")
        known = isinstance(size, Sequence) or (isinstance(size, Const) and isinstance(size.value, int))
        shape = sizes((size,)) if known and size is not None else None
        return None if shape is None else Tensor(library="numpy.ndarray", shape=shape, made_by=call)
    if name not in _FLOATS or (not call.args and "size" not in call.keywords):
        return None
    return Tensor(library="numpy.ndarray", shape=_shape(name, call), dtype="float", made_by=call)


def _shape(name: str, call: Call) -> Shape | None:
    if name in ("rand", "randn"):
        return sizes(call.args)
    size = call.argument(_SIZE_AT.get(name, 0), "size")
    return None if size is None else sizes((size,))
