"""Some random generators are seeded and others are not.

What it finds:
    `torch.manual_seed` is called, and `random` or `np.random` draws without a seed anywhere in the file, or in a file
    of the project that this one imports; `env.action_space.sample()` in a program that seeds its environment with
    `env.seed(...)` or `env.reset(seed=...)`, and not the space. Off by default.

Why:
    The run looks repeatable and is not: augmentation and shuffling differ from run to run.

How sure:
    Certain within the file: nothing that it imports of the project seeds the library. A space has a generator of its
    own, which an environment's seed does not reach. Off by default: another program may seed all three, and what is
    drawn may be a picture to show (so it was in 5 of 18 places that it names in 33 public repositories).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import random

import torch

torch.manual_seed(0)
x = torch.rand(4)
if random.random() < 0.5:  # <- TW660
    x = x.flip(0)
"""

GOOD = """\
import random

import torch

random.seed(0)
torch.manual_seed(0)
x = torch.rand(4)
if random.random() < 0.5:
    x = x.flip(0)
"""

_SEEDS = {"random": ("random.seed",), "numpy.random": ("numpy.random.seed",)}
_MAKERS = ("seed", "Random", "SystemRandom", "default_rng", "RandomState", "Generator", "getstate", "setstate",
           "get_state", "set_state", "SeedSequence")  # fmt: skip


@rule(code="TW660", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at draws of libraries that nobody seeds."""
    if "manual_seed" not in analysis.source.words or analysis.source.words & {"seed_everything", "set_seed"}:
        return
    for library, seeds in _SEEDS.items():
        if any(True for _ in analysis.calls(*seeds)) or _is_handed_on(analysis.source, seeds):
            continue
        for call in analysis.all_calls:
            owner, _, name = call.name.rpartition(".")
            if owner == library and name not in _MAKERS:
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"`{library}` draws without a seed, though torch has one",
                    fix=f"{seeds[0].replace('numpy', 'np')}(seed)",
                )
                break
        else:
            yield from _elsewhere(analysis, library, seeds[0])
    yield from _spaces(analysis)


def _is_handed_on(source: Source, seeds: tuple[str, ...]) -> bool:
    """Say whether a function that seeds is named without a call: it may be called under another name."""
    spelt = {spelling for seed in seeds for spelling in (seed, seed.replace("numpy", "np"))}
    named = [one for one in nodes_of(source.tree, ast.Attribute) if unparsed(one) in spelt]
    called = {id(one.func) for one in nodes_of(source.tree, ast.Call)} if named else set()
    return any(id(one) not in called for one in named)


def _elsewhere(analysis: Analysis, library: str, seed: str) -> Iterator[Hit]:
    """Yield the seed of torch in a program, if what it imports of the project draws by a library that nobody seeds."""
    own = next(analysis.calls("torch.manual_seed"), None)
    others = [one for one in analysis.sources if one is not analysis.source]
    if own is None or own.context.source is not analysis.source or any(_seeds(one, seed) for one in others):
        return
    drawn = next(((source, call) for source in others for call in _draws(source, library)), None)
    if drawn is not None:
        source, call = drawn
        yield Hit(
            place=analysis.place(own.node, own.context),
            message=f"torch is seeded here, and `{library}`, which the program draws by, is not",
            evidence=(Evidence("it draws here", source.place(call)),),
            fix=f"{seed.replace('numpy', 'np')}(seed)",
        )


def _seeds(source: Source, seed: str) -> bool:
    return f"{seed.replace('numpy', 'np')}(" in source.code or f"{seed}(" in source.code


def _draws(source: Source, library: str) -> Iterator[ast.Call]:
    """Yield the draws of a library in a file that imports it."""
    name = library.replace("numpy", "np")
    if f"{name}." not in source.code or library.partition(".")[0] not in source.words:
        return
    imported = {alias.name for one in nodes_of(source.tree, ast.Import) for alias in one.names}
    for one in walk(source.tree) if library.partition(".")[0] in imported else ():
        func = one.func if isinstance(one, ast.Call) else None
        if not isinstance(one, ast.Call) or not isinstance(func, ast.Attribute) or func.attr in _MAKERS:
            continue
        if unparsed(func.value) in (name, library):
            yield one


def _spaces(analysis: Analysis) -> Iterator[Hit]:
    """Yield draws from the action space of an environment that is seeded, when the space is not."""
    if "action_space" not in analysis.source.words or "action_space.seed" in analysis.source.code:
        return
    seeded = {}
    for one in analysis.nodes.get(ast.Call, []):
        func = one.func if isinstance(one, ast.Call) else None
        if isinstance(one, ast.Call) and isinstance(func, ast.Attribute):
            by_reset = func.attr == "reset" and any(each.arg == "seed" for each in one.keywords)
            if by_reset or (func.attr == "seed" and one.args):
                seeded[unparsed(func.value)] = one
    for one in analysis.nodes.get(ast.Call, []):
        text = unparsed(one.func) if isinstance(one, ast.Call) and getattr(one.func, "attr", "") == "sample" else ""
        environment, _, rest = text.partition(".action_space")
        if rest == ".sample" and environment in seeded:
            yield Hit(
                place=analysis.place(one),
                message=f"`{environment}` is seeded, and its action space, which draws by itself, is not",
                evidence=(Evidence("the seed", analysis.place(seeded[environment])),),
                fix=f"`{environment}.action_space.seed(seed)`",
            )
            return
