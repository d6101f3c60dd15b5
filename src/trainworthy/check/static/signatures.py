"""Names and keyword arguments of torch and NumPy, from a table: the static half never imports them.

The table is written by ``python benchmarks/signatures.py`` with the libraries installed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

_TABLE = Path(__file__).with_name("signatures.json")
# Arguments that earlier versions had, and that code for several versions still passes.
_EARLIER_ARGUMENTS = frozenset({"verbose", "size_average", "reduce", "_stacklevel", "nondeterministic", "weights_only"})
# Names that NumPy dropped in 2.0: code for an older NumPy is not wrong.
_EARLIER_NAMES = frozenset(
    "float_ complex_ unicode_ string_ Inf Infinity infty NaN NINF PINF PZERO NZERO asfarray cast source lookfor who "
    "set_numeric_ops alltrue sometrue product cumproduct in1d row_stack trapz find_common_type round_ msort issctype "
    "maximum_sctype obj2sctype sctype2char safe_eval recfromcsv recfromtxt issubclass_ issubsctype deprecate disp "
    "byte_bounds compare_chararrays nbytes set_string_function tracemalloc_domain mat compat singlecomplex longfloat "
    "clongfloat cfloat longcomplex asscalar rank".split()
)


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


def names_of(library: str) -> frozenset[str] | None:
    """Return the public names of a module; None if there is no table of it."""
    return _names(library)


@lru_cache(maxsize=32)
def _names(library: str) -> frozenset[str] | None:
    names = _table()["names"].get(library)
    return None if names is None else frozenset(names) | _EARLIER_NAMES


def keywords_of(name: str) -> Sequence[str] | None:
    """Return the arguments of a class or function; None if it is not known or takes any."""
    arguments = _table()["arguments"].get(name)
    return None if arguments is None else [*arguments, *_EARLIER_ARGUMENTS]
