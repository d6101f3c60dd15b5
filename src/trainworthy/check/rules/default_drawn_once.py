"""A parameter's default is drawn at random, or read from the clock, once for all calls.

What it finds:
    `def __init__(self, seed=np.random.randint(10_000))`, `noise=torch.randn(8)`, `run_id=uuid.uuid4()`,
    `started=datetime.now()` or `time.time()` as a default; also as a field of a dataclass.

Why:
    A default is computed when the function is defined. Every environment gets the same seed, every call the same noise,
    every run of one process the same name.

How sure:
    Certain that it is drawn once. Silent where the function is defined within another one that takes arguments, which
    may be called anew for each, about a generator that is drawn from later (`np.random.RandomState()`), and about a
    dataclass of which the program makes one object, as of its settings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, function_around, functions_of
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import numpy as np
import torch


class Task:
    def __init__(self, name, seed=np.random.randint(100_000)):  # <- TW683
        self.name = name
        self.generator = torch.Generator().manual_seed(int(seed))
"""

GOOD = """\
import numpy as np
import torch


class Task:
    def __init__(self, name, seed=None):
        self.name = name
        seed = np.random.randint(100_000) if seed is None else seed
        self.generator = torch.Generator().manual_seed(int(seed))
"""

_DRAWS = {
    "random": "random randint randrange uniform gauss choice choices sample normalvariate getrandbits".split(),
    "np.random": "rand randn randint random uniform normal choice permutation random_sample".split(),
    "torch": "rand randn randint randperm normal bernoulli rand_like randn_like".split(),
    "uuid": ["uuid1", "uuid4"],
    "time": ["time", "time_ns", "perf_counter", "monotonic", "strftime"],
    "datetime": ["now", "today", "utcnow"],
    "datetime.datetime": ["now", "today", "utcnow"],
    "secrets": ["randbelow", "token_hex"],
}
_WRITTEN = frozenset(f"{module}.{name}" for module, names in _DRAWS.items() for name in names) | {"uuid4", "uuid1"}
_CLOCK = ("time", "datetime")


@rule(code="TW683", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at defaults of parameters and of fields."""
    if analysis.source.words.isdisjoint({"torch", "numpy"}):
        return
    for function in functions_of(analysis.nodes):
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
        pairs += [(one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
        drawn = [(one.arg, call) for one, value in pairs if (call := _drawn(analysis.source, value)) is not None]
        around = function_around(analysis.parents, function) if drawn else None
        if around is None or not _takes_arguments(around):
            for name, call in drawn:
                yield _hit(analysis, name, call, "call")
    for cls in analysis.nodes.get(ast.ClassDef, []):
        data = isinstance(cls, ast.ClassDef) and any("dataclass" in unparsed(one) for one in cls.decorator_list)
        if not data or not isinstance(cls, ast.ClassDef) or _is_made_once(analysis, cls):
            continue
        for field in cls.body:
            value = field.value if isinstance(field, ast.AnnAssign) else None
            found = _drawn(analysis.source, value) if value is not None else None
            if found is not None and isinstance(field, ast.AnnAssign):
                yield _hit(analysis, unparsed(field.target), found, "object")


def _hit(analysis: Analysis, name: str, call: ast.Call, of: str) -> Hit:
    what = "read from the clock" if unparsed(call.func).partition(".")[0] in _CLOCK else "drawn"
    fix = f"`{name}=None`, and draw it in the function."
    return Hit(
        place=analysis.place(call),
        message=f"the default of `{name}` is {what} once, when this is defined, not for each {of}",
        fix="`field(default_factory=...)`." if of == "object" else fix,
    )


def _is_made_once(analysis: Analysis, cls: ast.ClassDef) -> bool:
    """Say whether one object of a class is made, where the class is defined, and nothing else here makes any."""
    calls = [one for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call)]
    made = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == cls.name]
    parents = analysis.parents
    return len(made) == 1 and function_around(parents, made[0]) is function_around(parents, cls)


def _takes_arguments(function: Def) -> bool:
    given = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
    return any(one not in ("self", "cls") for one in given)


def _drawn(source: Source, value: ast.expr) -> ast.Call | None:
    """Return the call that draws in a default; one within a lambda draws later."""
    if any(isinstance(one, ast.Lambda) for one in walk(value)):
        return None
    return next(
        (one for one in nodes_of(value, ast.Call) if full_name(source, one.func).replace("numpy.", "np.") in _WRITTEN),
        None,
    )
