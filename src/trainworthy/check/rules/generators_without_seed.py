"""Some random generators are seeded and others are not.

What it finds:
    `torch.manual_seed` is called, and `random` or `np.random` draws without a seed anywhere in the file. Off by
    default.

Why:
    The run looks repeatable and is not: augmentation and shuffling differ from run to run.

How sure:
    Certain within the file. Off by default: a helper elsewhere may seed all three, and what is drawn may be a picture
    to show (so it was in 5 of 18 places that it names in 33 public repositories).
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

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
        if any(True for _ in analysis.calls(*seeds)):
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
